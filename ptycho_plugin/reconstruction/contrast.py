"""Whether a map has the sign of matter, where phase and modulus fall together, or that of its conjugate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.groups import halved
from ptycho_plugin.reconstruction.orientation_evidence import LARGEST_CHANCE, Evidence

HALVINGS_OF_MAP = 3
"""Eight tiles."""
LEAST_CORRELATION = 0.2
"""Less is what errors of the probe leave between phase and modulus of a sample that absorbs nothing."""


def contrast_of(transmission: NDArray[np.complex64], trusted: NDArray[np.bool_]) -> Evidence:
    """Return the evidence that a map has the sign of matter, or of its conjugate, from its tiles.

    Parameters
    ----------
    transmission : ndarray, (row, column), complex64
    trusted : ndarray of bool, (row, column)
        Where it can be judged.
    """
    from scipy import stats  # a second that a worker which gets ready need not wait for

    correlations = np.array(list(_correlations(transmission, trusted)))
    test = stats.ttest_1samp(correlations, 0.0)
    mean, chance = float(correlations.mean()), float(test.pvalue)
    return Evidence(
        question="conjugation",
        source="denser is more negative",
        effect=mean,
        standard_errors=float(test.statistic),
        chance=chance,
        decides=chance <= LARGEST_CHANCE and abs(mean) >= LEAST_CORRELATION,
    )


def _correlations(transmission: NDArray[np.complex64], trusted: NDArray[np.bool_]) -> Iterator[float]:
    phase, amplitude = np.angle(transmission), np.abs(transmission)
    places = np.argwhere(trusted)
    for tile in halved(places, HALVINGS_OF_MAP):
        rows, columns = places[tile].T
        yield np.corrcoef(phase[rows, columns], amplitude[rows, columns])[0, 1]
