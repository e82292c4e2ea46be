"""An engine finds the same on every machine, whatever the order and the grouping of its frames."""

import array_api_strict
import numpy as np
import pytest

from ptycho_plugin.reconstruction import driver
from ptycho_plugin.reconstruction.blocks import expected_noise
from ptycho_plugin.reconstruction.difference_map import DifferenceMap
from ptycho_plugin.reconstruction.driver import Reconstruction
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.gauge import in_slices, with_more_modes
from ptycho_plugin.reconstruction.machine import Namespace, Processor, namespace_of
from ptycho_plugin.reconstruction.maximum_likelihood import MaximumLikelihood, residual_of
from ptycho_plugin.reconstruction.options import ReconstructionOptions

ITERATIONS = 4


def ran(machine, blocks_of, scan, noise, order=slice(None)):
    """Errors, object and probe after some iterations of either engine."""
    frames = scan.frames[order].astype(np.float32)
    frames[2, 5, 6] = -1
    probe = with_more_modes(scan.probe.astype(np.complex64), 2)
    flat = np.ones((1, *scan.object.shape), np.complex64)
    expected = expected_noise(scan.frames.mean(axis=0))
    forward = ForwardModel(machine, scan.geometry, slice_distance=1e-5)
    blocks = blocks_of(forward, frames, scan.positions_px[order], expected, modes=2)
    start = Estimate(machine.array(flat), machine.array(probe))
    difference_map = DifferenceMap(start, forward)
    difference_map.add(blocks, power=start.probe_power)
    errors = [difference_map.step(update_probe=True) for _ in range(ITERATIONS)]
    two_slices = in_slices(difference_map.estimate, 2)
    likelihood = MaximumLikelihood(two_slices, blocks, forward, noise=noise, background=0.5)
    errors += [likelihood.step() for _ in range(ITERATIONS)]
    errors += [residual_of(likelihood.estimate, blocks, forward, background=0.5)]
    found = likelihood.estimate
    return np.array(errors), machine.host(found.object), machine.host(found.probe)


def assert_the_same(found, expected):
    """To what rounding in single precision grows to in some iterations."""
    for one, other in zip(found, expected, strict=True):
        assert np.linalg.norm(one - other) < 1e-4 * np.linalg.norm(other)


@pytest.mark.parametrize("subpixel", [False, True], ids=["on the grid", "between pixels"])
@pytest.mark.parametrize("noise", ["poisson", "gaussian"])
def test_machines_agree(simulate, blocks_of, machine, subpixel, noise):
    scan = simulate(subpixel=subpixel)
    expected = ran(Processor(), blocks_of, scan, noise)
    found = ran(machine, blocks_of, scan, noise)
    assert all(part.dtype == wanted.dtype for part, wanted in zip(found, expected, strict=True))
    assert_the_same(found, expected)


def test_machines_refine_frames_alike(simulate, machine, monkeypatch):
    monkeypatch.setattr(driver, "SEARCHES_FOR_STRAYS", (2,))
    dataset = simulate(subpixel=True).dataset()
    found, expected = (refined(one, dataset) for one in (machine, Processor()))
    np.testing.assert_allclose(found.positions_px, expected.positions_px, atol=1e-3)
    np.testing.assert_allclose(found.intensities, expected.intensities, atol=1e-4)
    assert np.abs(expected.positions - expected.positions_measured).max() > 0.01 * expected.object_pixel


def refined(machine, dataset):
    options = ReconstructionOptions(
        difference_map_iterations=4,
        maximum_likelihood_iterations=4,
        position_tolerance=dataset.geometry.object_pixel,
        refine_intensities=True,
    )
    growing = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, options, machine)
    growing.add(dataset.intensities(), dataset.positions)
    return growing.finish()


def test_the_order_of_frames_does_not_matter(simulate, blocks_of):
    scan = simulate(subpixel=True)
    order = np.random.default_rng(4).permutation(len(scan.frames))
    order[[2, np.flatnonzero(order == 2)[0]]] = 2, order[2]  # the frame with a dead pixel stays where it is
    found = ran(Processor(), blocks_of, scan, "poisson", order)
    assert_the_same(found, ran(Processor(), blocks_of, scan, "poisson"))


def test_a_machine_holds_copies(machine, processor):
    for one in (machine, processor):
        host = np.ones((2, 2), np.complex64)
        array = one.array(host)
        array[0, 0] = 5
        assert host[0, 0] == 1
        assert one.host(array)[0, 0] == 5


def test_rooms_are_kept_by_name_and_shape():
    machine = Processor()
    assert machine.room("a", (2, 2)) is machine.room("a", (2, 2))
    assert machine.room("a", (2, 2)) is not machine.room("b", (2, 2))
    assert machine.room("a", (1, 2)).shape == (1, 2)


def test_machines_say_what_their_bits_depend_on():
    assert Processor().describe(32).startswith("cpu, ")
    assert Namespace(array_api_strict).describe(32) == "array_api_strict"
    assert Namespace(array_api_strict, "gpu, of some kind").describe(32) == "gpu, of some kind"


def test_an_array_s_namespace_is_known(machine):
    assert namespace_of(machine.array(np.zeros(1))) is machine.xp
