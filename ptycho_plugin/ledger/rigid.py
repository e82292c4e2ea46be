"""How a sample lies on the stage: a shift and an angle, found from marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2

import numpy as np

Position = tuple[float, float]
"""(row, column) in micrometres."""


@dataclass(frozen=True, slots=True)
class RigidTransform:
    """From stage to sample coordinates: ``sample = rotation * stage + shift``.

    A position (row, column) is the complex number ``row + 1j * column``.

    Parameters
    ----------
    rotation : complex
        Of modulus 1.
    shift_um : complex
    """

    rotation: complex = 1 + 0j
    shift_um: complex = 0j

    @property
    def angle(self) -> float:
        """From the row axis towards the column axis, in radians."""
        return atan2(self.rotation.imag, self.rotation.real)

    def to_sample(self, stage_um: Position) -> Position:
        """Return sample coordinates of a stage position, both (row, column) in um."""
        return _pair(self.rotation * complex(*stage_um) + self.shift_um)

    def to_stage(self, sample_um: Position) -> Position:
        """Return the stage position of sample coordinates, both (row, column) in um."""
        return _pair((complex(*sample_um) - self.shift_um) * self.rotation.conjugate())


def find_transform(
    stage_um: Sequence[Position], sample_um: Sequence[Position]
) -> tuple[RigidTransform, float]:
    """Return the transform that takes marks on the stage to marks on the sample, and what it misses.

    Parameters
    ----------
    stage_um, sample_um : sequences of (row, column)
        The same marks, in the same order; two or more that lie apart.

    Returns
    -------
    RigidTransform
        The least-squares one.
    float
        Root mean square distance from the marks, in um.

    Raises
    ------
    ValueError
        If the marks are fewer than two, or lie on one another.

    Notes
    -----
    In the plane the orthogonal Procrustes problem has a closed form: the rotation's phase is that of
    sum conj(stage) * sample about the means. Umeyama, IEEE Trans. PAMI 13, 376 (1991), has it for
    any dimension.
    """
    stage, sample = (np.array(points, np.float64) @ (1, 1j) for points in (stage_um, sample_um))
    overlap = np.vdot(stage - stage.mean(), sample - sample.mean())
    if len(stage) < 2 or overlap == 0:
        raise ValueError("two marks or more, apart from one another, are needed")
    rotation = overlap / abs(overlap)
    shift = sample.mean() - rotation * stage.mean()
    residual = np.sqrt(np.mean(np.abs(rotation * stage + shift - sample) ** 2))
    return RigidTransform(complex(rotation), complex(shift)), float(residual)


def _pair(point: complex) -> Position:
    return point.real, point.imag
