"""A GPU is taken where one works; where none does, that is said. NumPy stands in for CuPy here."""

import logging
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.reconstruction import device
from ptycho_plugin.reconstruction.device import choose_machine, find_gpu
from ptycho_plugin.reconstruction.machine import Namespace, Processor
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct

NAME = "gpu, Stand-in 1, CuPy 14.2.0, CUDA 12.9"


class OnDevice(np.ndarray):
    """Like CuPy's arrays, these do not say which namespace they belong to."""

    @property
    def __array_namespace__(self):
        raise AttributeError

    def get(self):
        return np.array(self)


OnDevice.__module__ = "cupy"


class StandIn(ModuleType):
    """What is asked of CuPy, answered by NumPy."""

    __version__ = "14.2.0"

    def __init__(self):
        super().__init__("cupy")
        self.__spec__ = ModuleSpec("cupy", None)
        self.fft = SimpleNamespace(fftn=np.fft.fftn, ifftn=np.fft.ifftn)
        self.cuda = SimpleNamespace(
            Device=lambda: SimpleNamespace(id=0),
            runtime=SimpleNamespace(
                runtimeGetVersion=lambda: 12090,
                getDeviceProperties=lambda number: {"name": b"Stand-in 1", "totalGlobalMem": 8 << 30},
            ),
        )

    def __getattr__(self, name):
        return getattr(np, name)

    def asarray(self, array, copy=None):
        return np.array(array, copy=copy).view(OnDevice)


@pytest.fixture(autouse=True)
def looked_for_anew():
    find_gpu.cache_clear()
    yield
    find_gpu.cache_clear()


@pytest.fixture
def cupy(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    return stand_in


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: None)


def test_a_gpu_that_works_is_taken(cupy):
    machine, why = choose_machine("auto")
    assert isinstance(machine, Namespace)
    assert machine.xp is cupy
    assert (machine.describe(192), why) == (NAME, "a GPU that works")
    assert choose_machine("gpu")[1] == "asked for"


def test_the_processor_can_be_asked_for(cupy):
    cupy.cuda = None  # nobody looks
    machine, why = choose_machine("cpu")
    assert isinstance(machine, Processor)
    assert why == "asked for"


def test_without_cupy_the_processor_is_taken_and_that_is_said(no_cupy, caplog):
    with caplog.at_level(logging.INFO):
        machine, why = choose_machine("auto")
        choose_machine("auto")
    assert isinstance(machine, Processor)
    assert why == "CuPy is not installed"
    assert caplog.messages == ["reconstructions run on the processor: CuPy is not installed"]


def raising(error):
    def fail(*_args, **_options):
        raise error

    return fail


@pytest.mark.parametrize(
    ("part", "broken", "why"),
    [
        ("cuda.Device", raising(RuntimeError("no driver")), "no driver"),
        ("asarray", raising(MemoryError()), "MemoryError"),
        ("fft.ifftn", np.fft.fftn, "there and back is another one"),
    ],
)
def test_a_gpu_that_does_not_work_is_a_warning(cupy, caplog, part, broken, why):
    *owner, name = part.split(".")
    setattr(getattr(cupy, owner[0]) if owner else cupy, name, broken)
    machine, reason = choose_machine("auto")
    assert isinstance(machine, Processor)
    assert reason.startswith("CuPy does not work on this machine: ")
    assert why in reason
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert reason in record.message


def test_a_gpu_that_was_asked_for_and_is_not_there_is_refused(no_cupy):
    with pytest.raises(InputError, match=r"'gpu' cannot be used: CuPy is not installed; install the extra"):
        choose_machine("gpu")


def on(name, scan):
    options = ReconstructionOptions(difference_map_iterations=6, maximum_likelihood_iterations=4, device=name)
    return reconstruct(scan.dataset(), options)


def test_a_whole_reconstruction_runs_where_arrays_do_not_name_their_namespace(cupy, known_scan):
    on_gpu, on_cpu = on("gpu", known_scan), on("cpu", known_scan)
    assert on_gpu.device == f"{NAME} (asked for)"
    assert on_gpu.residual == pytest.approx(on_cpu.residual, rel=1e-4)
    assert type(on_gpu.object) is np.ndarray


@pytest.mark.parametrize("subpixel", [False, True], ids=["on the grid", "between pixels"])
def test_a_real_gpu_finds_what_the_processor_does_and_the_same_bits_twice(simulate, subpixel):
    found, why = find_gpu()
    if found is None:
        pytest.skip(f"no GPU at hand: {why}")
    scan = simulate(subpixel=subpixel)
    once, twice, expected = (on(name, scan) for name in ("gpu", "gpu", "cpu"))
    wanted = expected.object[expected.trusted]
    assert np.linalg.norm(once.object[expected.trusted] - wanted) < 1e-4 * np.linalg.norm(wanted)
    np.testing.assert_array_equal(once.object, twice.object)
    np.testing.assert_array_equal(once.errors, twice.errors)


def test_no_other_device_can_be_named():
    with pytest.raises(InputError, match="'auto', 'cpu' or 'gpu'"):
        ReconstructionOptions(device="tpu")
