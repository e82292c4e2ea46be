"""Planned transforms, and sub-pixel shifts between two of them.

Far fields are kept in the transform's own order (zero angle first) and scale (``side`` times the
orthonormal one): frames are brought into that order once, when they are added, and the primitives
divide where photons are counted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from ptycho_plugin.errors import ReconstructionError

# Where dask is installed, pyfftw offers transforms for it, and takes 4 s and 150 MB to import it: not here.
_has_dask = "dask.array.fft" in sys.modules
if not _has_dask:
    sys.modules["dask.array.fft"] = None  # type: ignore[assignment]
import pyfftw  # noqa: E402

if not _has_dask:
    del sys.modules["dask.array.fft"]

Waves = NDArray[np.complex64]
FFTW_VERSION = str(pyfftw.fftw_version)
EFFORT = "FFTW_PATIENT"
"""Transforms of 192 x 192 are a fifth faster than with FFTW_MEASURE, of 512 x 512 a third, for seconds of
planning, once on a machine."""
_planner = threading.Lock()  # FFTW learns and plans for one thread at a time
_log = logging.getLogger(__name__)


class Transforms:
    """In-place two-dimensional transforms of square waves, for one thread.

    FFTW times several plans and keeps the fastest, so that another process could get other last bits.
    What it learned is therefore kept in a file of the user's cache, and every plan is made of that.

    Parameters
    ----------
    side : int
        Rows, and columns, of a wave.

    Raises
    ------
    ReconstructionError
        If the file cannot be used.
    """

    def __init__(self, side: int) -> None:
        with _planner:
            learned = _wisdom(side)
            try:
                with _no_other_wisdom():
                    pyfftw.import_wisdom((b"", learned, b""))
                    self._forward, self._inverse = _plans(side, EFFORT, "FFTW_WISDOM_ONLY")
            except RuntimeError:
                raise ReconstructionError(
                    f"{wisdom_file(side)} holds no plan for transforms of {side} x {side}: delete it"
                ) from None

    def forward(self, waves: Waves) -> Waves:
        """Return the far fields of waves ``(..., row, column)``, which they take the place of."""
        return _each(self._forward, waves)

    def inverse(self, far: Waves) -> Waves:
        """Return the bare inverse transforms of ``(..., row, column)``, in their place."""
        return _each(self._inverse, far)


def zeros(shape: tuple[int, ...]) -> Waves:
    """Return zeros, complex64, that lie in memory as the plans expect."""
    return pyfftw.zeros_aligned(shape, np.complex64)


def wisdom_hash(side: int) -> str:
    """Return the sha256 of what FFTW learned for transforms of some side: it decides the last bits."""
    with _planner:
        return hashlib.sha256(_wisdom(side)).hexdigest()


def _each(plan: pyfftw.FFTW, waves: Waves) -> Waves:
    # One at a time: a result does not depend on how many lie side by side.
    for wave in waves.reshape(-1, *waves.shape[-2:]):
        plan.update_arrays(wave, wave)
        plan.execute()
    return waves


def _plans(side: int, *effort: str) -> tuple[pyfftw.FFTW, pyfftw.FFTW]:
    wave = zeros((side, side))
    # In a stack of waves the second one may lie elsewhere than on the boundary that FFTW likes.
    flags = effort if wave.nbytes % pyfftw.simd_alignment == 0 else (*effort, "FFTW_UNALIGNED")
    forward = pyfftw.FFTW(wave, wave, axes=(0, 1), direction="FFTW_FORWARD", flags=flags)
    inverse = pyfftw.FFTW(wave, wave, axes=(0, 1), direction="FFTW_BACKWARD", flags=flags)
    return forward, inverse


@contextmanager
def _no_other_wisdom() -> Iterator[None]:
    """Set aside what the process has learned about transforms, and give it back: it may be another's."""
    before = pyfftw.export_wisdom()
    pyfftw.forget_wisdom()
    try:
        yield
    finally:
        pyfftw.forget_wisdom()
        pyfftw.import_wisdom(before)


def wisdom_file(side: int) -> Path:
    """Return where this machine keeps what FFTW learned for transforms of some side."""
    effort = EFFORT.removeprefix("FFTW_").lower()
    name = f"fftw-{FFTW_VERSION}-{platform.node()}-{side}-{effort}.wisdom"
    return platformdirs.user_cache_path("ptycho_plugin") / name


@cache
def _wisdom(side: int) -> bytes:
    """Return what FFTW learned once on this machine: of several processes the first one counts."""
    file = wisdom_file(side)
    if file.exists():
        return file.read_bytes()
    _log.info("planning transforms of %d x %d pixels, once on this machine", side, side)
    with _no_other_wisdom():
        _plans(side, EFFORT)
        learned: bytes = pyfftw.export_wisdom()[1]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent) as whole:
            whole.write(learned)
            whole.flush()
            with suppress(FileExistsError):
                os.link(whole.name, file)
    except OSError as error:
        _log.warning("%s cannot be written (%s): another process may get other last bits", file, error)
        return learned
    return file.read_bytes()


def detector_order(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return frames with the direct beam at ``[side//2, side//2]`` in the transform's order."""
    return np.fft.ifftshift(frames, axes=(-2, -1))


def shift_factors(fractions: NDArray[np.float64], side: int) -> NDArray[np.complex64]:
    """Return the far-field factors that move a wave by fractions of a pixel.

    The factor of a far-field pixel is the product of its row's and its column's. It is divided by
    side^2, so that the bare inverse transform of a moved far field is a moved wave.

    Parameters
    ----------
    fractions : ndarray, (frame, 2), float64
        Shift ``(row, column)`` in pixels; a growing shift moves to growing indices.
    side : int
        Rows and columns of the wave.

    Returns
    -------
    ndarray, (frame, 2, side), complex64
        Factors of the rows, then of the columns.
    """
    phases = np.exp(-2j * np.pi * fractions[:, :, None] * np.fft.fftfreq(side))
    return (phases / side).astype(np.complex64)
