"""The primitives: compiled ones are what `Plain` says, on any array namespace."""

from dataclasses import dataclass

import numpy as np
import pytest

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.fourier import shift_factors
from ptycho_plugin.reconstruction.plain import Plain


@dataclass
class Case:
    """A block of frames, random throughout, in an object that their patches share."""

    modes: int
    side: int
    shared: bool
    frames: int = 4

    def __post_init__(self):
        self.rng = np.random.default_rng(7)
        self.corners = self.rng.integers(0, 4, (self.frames, 2))

    def waves(self, *shape):
        return (self.rng.standard_normal(shape) + 1j * self.rng.standard_normal(shape)).astype(np.complex64)

    def exits(self):
        return self.waves(self.frames, self.modes, self.side, self.side)

    def far(self):
        """Far fields of about one photon a pixel and mode."""
        return self.side * self.exits()

    def probes(self):
        return self.exits()[: 1 if self.shared else None]

    def object(self):
        return self.waves(self.side + 5, self.side + 3)

    def sums(self):
        """What receives sums in the object, not empty at first."""
        return self.object(), self.light(self.side + 5, self.side + 3)

    def light(self, *shape):
        return self.rng.uniform(0, 3, shape).astype(np.float32)

    def amplitudes(self):
        """A fifth of the pixels was not measured."""
        amplitudes = self.light(self.frames, self.side, self.side)
        return np.where(self.rng.uniform(size=amplitudes.shape) < 0.8, amplitudes, np.float32(-1))

    def shifts(self):
        return shift_factors(self.rng.uniform(-0.5, 0.5, (self.frames, 2)), self.side)

    def ways(self):
        return self.rng.standard_normal((self.frames, 2)).astype(np.float32)

    def frequencies(self):
        return np.fft.fftfreq(self.side).astype(np.float32)

    def noise_power(self):
        """Of some frames more than any distance, of one nothing."""
        return np.array([0, 1e9, 0.1, 1], np.float32) * np.float32(self.side**2)


def compare(poisson, background=0.5):
    return lambda c: [c.far(), c.amplitudes(), np.float32(background), poisson, c.far()]


def expand(poisson, background=0.5):
    return lambda c: [c.far(), c.far(), c.amplitudes(), np.float32(background), poisson]


ARGUMENTS = {
    "shift": lambda c: [c.exits()[0], c.shifts(), c.exits()],
    "add_shifted_back": lambda c: [c.exits(), c.shifts(), c.exits()[0]],
    "shift_changes": lambda c: [
        c.exits()[0],
        c.exits()[0],
        c.shifts(),
        c.ways(),
        c.frequencies(),
        c.exits(),
    ],
    "slopes_along_ways": lambda c: [
        c.exits(),
        c.exits()[0],
        c.shifts(),
        c.frequencies(),
        np.zeros((c.frames, 2)),
    ],
    "multiply": lambda c: [c.exits(), c.waves(c.side, c.side)],
    "multiply_separable": lambda c: [c.exits(), c.shifts()],
    "exit_waves": lambda c: [c.probes(), c.object(), c.corners, c.exits()],
    "reflect": lambda c: [c.probes(), c.object(), c.corners, c.exits(), c.exits()],
    "modulus": lambda c: [c.far(), c.amplitudes(), c.noise_power()],
    "advance": lambda c: [c.exits(), c.exits(), c.probes(), c.object(), c.corners, *c.sums()],
    "to_object": lambda c: [c.exits(), c.probes(), c.corners, *c.sums()],
    "to_probe": lambda c: [c.exits(), c.object(), c.corners, c.exits()[0], c.light(c.side, c.side)],
    "to_probes": lambda c: [c.exits(), c.object(), c.corners, c.exits(), c.light(c.side, c.side)],
    "compare (poisson)": compare(poisson=True),
    "compare (gaussian)": compare(poisson=False),
    "compare (no background)": compare(poisson=True, background=0),
    "change_of_exit_waves": lambda c: [c.probes(), c.probes(), c.object(), c.object(), c.corners, c.exits()],
    "expand (poisson)": expand(poisson=True),
    "expand (gaussian)": expand(poisson=False),
    "expand (no background)": expand(poisson=True, background=0),
}


def lies_on_machine(argument):
    """Whether it is an array, but for corners, which stay on the host."""
    return isinstance(argument, np.ndarray) and argument.dtype.kind in "fc"


@pytest.mark.parametrize("shared", [True, False], ids=["one probe", "a probe for each"])
@pytest.mark.parametrize(("modes", "side"), [(1, 16), (3, 15), (2, 1)])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_kernels_and_plain_primitives_are_the_same(name, modes, side, shared, machine):
    arguments = ARGUMENTS[name](Case(modes, side, shared))
    plain = [machine.array(a) if lies_on_machine(a) else a for a in arguments]
    primitive = name.split()[0]
    returned = getattr(kernels, primitive)(*arguments)
    expected = getattr(machine.primitives, primitive)(*plain)
    for found, wanted in zip([*arguments, returned], [*plain, expected], strict=True):
        if wanted is not None:
            wanted = machine.host(wanted) if lies_on_machine(found) else wanted
            scale = max(1.0, np.abs(wanted).max())
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * scale)


def test_no_primitive_is_left_out():
    assert {name.split()[0] for name in ARGUMENTS} == {name for name in vars(Plain) if name[0] != "_"}


@pytest.mark.parametrize("poisson", [True, False])
def test_compare_works_in_place(poisson):
    far, amplitudes, background, poisson, out = compare(poisson)(Case(2, 16, shared=False))
    kernels.compare(far, amplitudes, background, poisson, out)
    kernels.compare(far, amplitudes, background, poisson, far)
    np.testing.assert_array_equal(far, out)


def test_distances_are_summed_over_columns_in_double_precision():
    """Thousands of faint pixels beside a bright column: one float32 sum would lose them."""
    side = 64
    far = np.full((1, 1, side, side), 1e-2 * side, np.complex64)
    far[..., 0] = 1e3 * side
    found = kernels.compare(far, np.zeros((1, side, side), np.float32), np.float32(0), True, far)
    assert found == pytest.approx(side * 1e6 + side * (side - 1) * 1e-4, rel=1e-9)
