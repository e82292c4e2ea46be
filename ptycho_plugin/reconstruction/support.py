"""Where the probe may be: a disc in the middle of its window.

An optic has a finite image. What lies farther out than that is noise, which a few frames, or few
photons, cannot tell from the probe.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import ReconstructionError

LEAST_SHARE = 0.5
"""Of the start probe's power, that a support must hold to be one."""


def probe_support(probe: NDArray[np.complex64], diameter: float | None, pixel: float) -> NDArray[np.float32]:
    """Return 1 where the probe may be, 0 where it is zero.

    Parameters
    ----------
    probe : ndarray, (mode, row, column), complex64
        Start probe.
    diameter : float or None
        In metres, of a disc around the middle pixel ``[side // 2, side // 2]``; None is everywhere.
    pixel : float
        Object pixel in metres.

    Returns
    -------
    ndarray, (row, column), float32

    Raises
    ------
    ReconstructionError
        If most of the start probe lies outside.
    """
    side = probe.shape[-1]
    if diameter is None:
        return np.ones((side, side), np.float32)
    distance_px = np.hypot(*np.indices((side, side)) - side // 2)
    support = (distance_px <= diameter / pixel / 2).astype(np.float32)
    share = np.sum(np.abs(support * probe) ** 2) / np.sum(np.abs(probe) ** 2)
    if share < LEAST_SHARE:
        raise ReconstructionError(
            f"the probe support of {diameter:g} m holds {share:.0%} of the start probe's power; "
            "give a larger diameter, or a start probe in the middle of its window"
        )
    return support
