"""The mean of the frames there are: it tells the beam's power, the background, and the noise to expect.

The background is what the mean frame has where it is darkest, an upper bound: some diffraction falls
there as well. It is not refined with object and probe, though it is as much a parameter of the likelihood
(Thibault and Guizar-Sicairos, New J. Phys. 14, 063004 (2012)). A faint speckle of the object explains
single photons better than a constant does, so the likelihood is highest with too little background,
none where it is below some tenths of a count.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import ReconstructionError
from ptycho_plugin.reconstruction.forward import ForwardModel

HOT = 20.0
"""Times what is expected of a pixel: its neighbours' median, and the probe's light in place of theirs. Of
good frames at most 2.4, of a recorded one 10; of pixels made hot on purpose 38 and more."""
NEIGHBOURHOOD_PX = 3
DARKEST = 0.01
"""Of the mean pixel: no pixel is taken to expect less."""
CERTAIN_COUNTS = 100.0
"""Over all frames: a pixel with fewer is bright by chance."""
LEAST_LIGHT = 0.1
"""Of the probe's light that a shift must leave on measured pixels."""
PARTS = 8
"""Of a frame's rows, and of its columns: in one of them there is hardly any diffraction."""


class MeanFrame:
    """The mean of all frames so far, each pixel over the frames that measured it.

    Parameters
    ----------
    forward : ForwardModel
    side : int
        Rows, and columns, of a frame.
    has_background : bool
        Whether pixels count more than the diffraction.
    """

    def __init__(self, forward: ForwardModel, side: int, *, has_background: bool = False) -> None:
        self._forward = forward
        self._has_background = has_background
        self._counts = np.zeros((side, side))
        self._measurements = np.zeros((side, side))

    def with_frames(self, intensities: NDArray[np.float32]) -> Self:
        """Return the mean with more frames ``(n, row, column)``, negative where not measured."""
        measured, more = intensities >= 0, copy(self)
        counts = np.sum(intensities, axis=0, where=measured, dtype=np.float64)
        more.restore(
            {
                "counts": self._counts + counts,
                "measurements": self._measurements + measured.sum(axis=0),
            }
        )
        return more

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Return the sums, to be restored."""
        return {"counts": self._counts, "measurements": self._measurements}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Take over sums."""
        self._counts, self._measurements = state["counts"], state["measurements"]

    @property
    def mean(self) -> NDArray[np.float32]:
        """Counts ``(row, column)``, 0 where no frame measured."""
        return (self._counts / np.maximum(self._measurements, 1)).astype(np.float32)

    @property
    def background(self) -> float:
        """Counts that every pixel has besides the diffraction: those of the darkest part of the frame."""
        if not self._has_background:
            return 0.0
        counts, measurements = _parts(self._counts), _parts(self._measurements)
        measured = 2 * measurements >= measurements.max()
        return float((counts[measured] / measurements[measured]).min())

    def photons(self, probe: NDArray[np.complex64]) -> float:
        """Return the photons of a frame, background apart, those expected on unmeasured pixels included.

        Parameters
        ----------
        probe : ndarray, (mode, row, column), complex64
            Its intensity on the detector tells what share is measured.

        Raises
        ------
        ReconstructionError
            If there are none.
        """
        light, seen = self._light(probe), self._seen
        counts = float(self.mean.sum(dtype=np.float64)) - self.background * int(seen.sum())
        if counts <= 0:
            raise ReconstructionError("no pixel counted a photon more than another; check the shutter")
        return float(counts * light.sum() / light[seen].sum())

    def share_seen(self, probe: NDArray[np.complex64]) -> float:
        """Return what share of a probe's light falls on measured pixels."""
        light = self._light(probe)
        return float(light[self._seen].sum() / light.sum())

    def likeness(self, probe: NDArray[np.complex64]) -> float:
        """Return how alike a probe's light and the mean frame are: from 0 to 1, where they are the same."""
        light, seen = self._light(probe), self._seen
        mean = self._forward.detector.frame_order(self.mean).astype(np.float64)
        scale = np.sqrt(light[seen].sum() * mean[seen].sum())
        return float(np.sum(np.sqrt(light * mean), where=seen) / scale)

    def aligned_likeness(self, probe: NDArray[np.complex64]) -> tuple[float, tuple[int, int]]:
        """Return `likeness` where a probe's light, moved, fits best, and its way there in pixels."""
        light, seen = self._light(probe), self._seen
        mean = np.where(seen, self._forward.detector.frame_order(self.mean), 0).astype(np.float64)
        on_measured = _correlation(seen.astype(np.float64), light)
        scale = np.sqrt(np.maximum(on_measured, LEAST_LIGHT * light.sum()) * mean.sum())
        likenesses = _correlation(np.sqrt(mean), np.sqrt(light)) / scale
        best = np.unravel_index(likenesses.argmax(), likenesses.shape)
        row, column = (
            (int(i) + side // 2) % side - side // 2 for i, side in zip(best, mean.shape, strict=True)
        )
        return float(likenesses.max()), (row, column)

    def hot_pixels(self, probe: NDArray[np.complex64]) -> int:
        """Return how many pixels count what neither their neighbours nor a probe's light account for."""
        from scipy.ndimage import median_filter

        seen = self._seen
        counts, light = (
            np.where(seen, of, 0)
            for of in (self._forward.detector.frame_order(self._counts), self._light(probe))
        )
        around, light_around = (
            np.maximum(median_filter(of, NEIGHBOURHOOD_PX, mode="wrap"), DARKEST * of[seen].mean())
            for of in (counts, light)
        )
        expected = around * np.maximum(light / light_around, 1)
        return int(np.sum(counts > HOT * expected + CERTAIN_COUNTS))

    @property
    def _seen(self) -> NDArray[np.bool_]:
        """Which pixels, in the detector's order, any frame measured."""
        return np.asarray(self._forward.detector.frame_order(self._measurements) > 0)

    def _light(self, probe: NDArray[np.complex64]) -> NDArray[np.float64]:
        """Return a probe's intensity ``(row, column)`` on the detector, in its order."""
        machine = self._forward.machine
        waves = machine.waves((1, *probe.shape))
        waves[...] = machine.array(probe)
        far = machine.host(self._forward.detector.forth(waves))
        return np.asarray(np.sum(np.abs(far, dtype=np.float64) ** 2, axis=(0, 1)))


def _correlation(of: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sum_x of(x) moved(x - shift) for every cyclic shift."""
    return np.asarray(np.fft.ifft2(np.fft.fft2(of) * np.fft.fft2(moved).conj()).real)


def _parts(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over parts of a frame."""
    starts = np.unique(np.linspace(0, len(total), PARTS, endpoint=False).astype(int))
    return np.add.reduceat(np.add.reduceat(total, starts, axis=0), starts, axis=1)
