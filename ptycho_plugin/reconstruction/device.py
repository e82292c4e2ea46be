"""Which machine computes a reconstruction, and why: a graphics processor that works, or the processor."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from ptycho_plugin.errors import InputError
from ptycho_plugin.reconstruction.machine import Machine, Namespace, Processor
from ptycho_plugin.reconstruction.options import Device

ASKED_FOR = "asked for"
_log = logging.getLogger(__name__)


def choose_machine(device: Device) -> tuple[Machine, str]:
    """Return the machine that computes a reconstruction, and why it does.

    Parameters
    ----------
    device : "auto", "cpu" or "gpu"
        "auto" takes a graphics processor that works, else the processor.

    Raises
    ------
    InputError
        If "gpu" is asked for and none works.
    """
    if device == "cpu":
        return Processor(), ASKED_FOR
    gpu, why = find_gpu()
    if gpu is not None:
        return Namespace(gpu.xp, str(gpu)), ASKED_FOR if device == "gpu" else why
    if device == "gpu":
        raise InputError(
            f"device 'gpu' cannot be used: {why}; install the extra 'gpu' on a machine with a CUDA driver, "
            "or ask for 'auto' or 'cpu'"
        )
    return Processor(), why


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics processor on which arrays of CuPy live.

    Parameters
    ----------
    xp : module
        CuPy.
    name : str
        The driver's.
    memory : int
        In bytes.
    cuda : str
        Version of the CUDA runtime.
    """

    xp: Any
    name: str
    memory: int
    cuda: str

    def __str__(self) -> str:
        return f"gpu, {self.name}, CuPy {self.xp.__version__}, CUDA {self.cuda}"


@cache
def find_gpu() -> tuple[Gpu | None, str]:
    """Return a graphics processor that works, or None, and a reason; it is looked for, and logged, once."""
    if find_spec("cupy") is None:
        why = "CuPy is not installed"
        _log.info("reconstructions run on the processor: %s", why)
        return None, why
    try:
        gpu = _first_gpu()
    except Exception as error:  # noqa: BLE001  whatever a driver makes CuPy raise: there is none that works
        why = f"CuPy does not work on this machine: {str(error) or type(error).__name__}"
        _log.warning("reconstructions run on the processor: %s", why)
        return None, why
    _log.info("reconstructions run on %s", gpu)
    return gpu, "a GPU that works"


def _first_gpu() -> Gpu:
    import cupy

    runtime = cupy.cuda.runtime
    number = cupy.cuda.Device().id
    major, rest = divmod(runtime.runtimeGetVersion(), 1000)
    properties = runtime.getDeviceProperties(number)
    gpu = Gpu(cupy, properties["name"].decode(), properties["totalGlobalMem"], f"{major}.{rest // 10}")
    _try(Namespace(cupy))
    return gpu


def _try(machine: Machine) -> None:
    """Transform a wave there and back.

    Raises
    ------
    ArithmeticError
        If it is not the same wave.
    """
    wave = np.arange(16, dtype=np.complex64).reshape(1, 1, 4, 4)
    there = machine.fourier(machine.array(wave))
    back = machine.host(machine.inverse_fourier(there)) / wave[0, 0].size
    if not np.allclose(back, wave, atol=1e-4):
        raise ArithmeticError("a wave that was transformed there and back is another one")
