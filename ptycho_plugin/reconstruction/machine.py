"""What a reconstruction is computed on: arrays, primitives, transforms, and the sharing of work.

An engine is written once. It steps over the primitives of its machine: `kernels` with planned
transforms on the processor, `Plain` on any other array namespace, such as CuPy's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.fourier import FFTW_VERSION, Transforms, wisdom_hash, zeros
from ptycho_plugin.reconstruction.parallel import for_each_share, usable_cores
from ptycho_plugin.reconstruction.plain import Plain

Array = Any
T = TypeVar("T")
Item = TypeVar("Item")

PARTIAL_SUMS = 8
"""Fixed: it decides the order of additions, and with it the last bits of a result."""


class Machine(Protocol):
    """Where arrays live and what works on them."""

    xp: Any
    """Array namespace."""
    primitives: Any
    """`kernels`, or `Plain` of the namespace."""
    frames_per_block: int
    partial_sums: int
    """Shares that `for_each_share` makes."""

    def describe(self, side: int) -> str:
        """Return what computes, and what its last bits depend on, for frames of some side."""

    def array(self, host: NDArray[Any]) -> Array:
        """Return a copy of an array of the host."""

    def host(self, array: Array) -> NDArray[Any]:
        """Return an array on the host."""

    def waves(self, shape: tuple[int, ...]) -> Array:
        """Return zeros, complex64, for waves ``(..., row, column)``."""

    def room(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return this thread's waves of that name, with what was last left in them."""

    def fourier(self, waves: Array) -> Array:
        """Return the bare transforms of waves ``(..., row, column)``, in their place."""

    def inverse_fourier(self, far: Array) -> Array:
        """Return the bare inverse transforms of ``(..., row, column)``, in their place."""

    def for_each_share(self, work: Callable[[int, Sequence[Item]], T], items: Sequence[Item]) -> list[T]:
        """Deal items out into `partial_sums` shares and return ``work(number, share)`` in their order."""


class Processor:
    """NumPy's arrays, compiled kernels and FFTW's transforms, on all cores that may be used."""

    xp: ModuleType = np
    primitives: ModuleType = kernels
    frames_per_block = 6
    partial_sums = PARTIAL_SUMS

    def __init__(self) -> None:
        self._thread = threading.local()

    def describe(self, side: int) -> str:
        """Return the number of threads, and what FFTW has learned for this side."""
        return f"cpu, {usable_cores()} threads, FFTW {FFTW_VERSION} {wisdom_hash(side)[:12]}"

    def array(self, host: NDArray[Any]) -> NDArray[Any]:
        """Return a copy."""
        return host.copy()

    def host(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array itself."""
        return array

    def waves(self, shape: tuple[int, ...]) -> NDArray[np.complex64]:
        """Return zeros, complex64."""
        return zeros(shape)

    def room(self, name: str, shape: tuple[int, ...]) -> NDArray[np.complex64]:
        """Return this thread's waves of that name."""
        return self._own((name, shape), lambda: zeros(shape))

    def fourier(self, waves: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Return bare transforms, in the waves' place."""
        return self._transforms(waves.shape[-1]).forward(waves)

    def inverse_fourier(self, far: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Return bare inverse transforms, in the far fields' place."""
        return self._transforms(far.shape[-1]).inverse(far)

    def for_each_share(self, work: Callable[[int, Sequence[Item]], T], items: Sequence[Item]) -> list[T]:
        """Share work between threads."""
        return for_each_share(work, items, self.partial_sums)

    def _transforms(self, side: int) -> Transforms:
        return self._own(("transforms", side), lambda: Transforms(side))

    def _own(self, key: object, make: Callable[[], Any]) -> Any:
        own: Any = self._thread.__dict__
        if key not in own:
            own[key] = make()
        return own[key]


class Namespace:
    """Any array namespace, the primitives in whole arrays: CuPy's, or one to test them with.

    Parameters
    ----------
    xp : array namespace
        With ``fft`` and assignment to slices.
    name : str, optional
        What computes; by default the namespace's name.
    """

    frames_per_block = 64
    partial_sums = 1

    def __init__(self, xp: Any, name: str | None = None) -> None:
        self.xp = xp
        self.primitives = Plain(xp)
        self._name = name or str(xp.__name__)

    def describe(self, side: int) -> str:  # noqa: ARG002  the same for all
        """Return the name."""
        return self._name

    def array(self, host: NDArray[Any]) -> Array:
        """Return a copy in the namespace."""
        return self.xp.asarray(host, copy=True)

    def host(self, array: Array) -> NDArray[Any]:
        """Return a copy on the host."""
        return array.get() if hasattr(array, "get") else np.asarray(array)

    def waves(self, shape: tuple[int, ...]) -> Array:
        """Return zeros, complex64."""
        return self.xp.zeros(shape, dtype=self.xp.complex64)

    def room(self, name: str, shape: tuple[int, ...]) -> Array:  # noqa: ARG002
        """Return new waves: the namespace's allocator keeps its own."""
        return self.waves(shape)

    def fourier(self, waves: Array) -> Array:
        """Return bare transforms, in the waves' place."""
        waves[...] = self.xp.fft.fftn(waves, axes=(-2, -1), norm="backward")
        return waves

    def inverse_fourier(self, far: Array) -> Array:
        """Return bare inverse transforms, in the far fields' place."""
        far[...] = self.xp.fft.ifftn(far, axes=(-2, -1), norm="forward")
        return far

    def for_each_share(self, work: Callable[[int, Sequence[Item]], T], items: Sequence[Item]) -> list[T]:
        """Return what work returns of all items at once."""
        return [work(0, items)]


def namespace_of(array: Array) -> Any:
    """Return the namespace that an array belongs to; one of CuPy's does not say so itself."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    return import_module(type(array).__module__.partition(".")[0])
