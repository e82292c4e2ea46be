"""What a search for the detector's orientation found, and what that rests on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.orientation import DetectorOrientation, PositionSign

NotNegative = Annotated[float, Field(ge=0)]
Chance = Annotated[float, Field(ge=0, le=1)]

LARGEST_CHANCE = 1e-3
"""Evidence that equal hypotheses would give more often than this decides nothing."""


class Hypothesis(CheckedModel):
    """One way in which frames and positions may have to be read.

    The same frames are also explained

    - turned by 180 degrees, by the *conjugates* of object and probe,
    - turned by 180 degrees and with both position signs reversed, by object and probe *inverted*
      through a point,
    - with both position signs reversed alone, by both.

    So sixteen hypotheses are four classes of four, and data consistency tells classes only.
    """

    orientation: DetectorOrientation
    position_sign: PositionSign

    def same_class(self, other: Hypothesis) -> bool:
        """Whether no frame can tell the two apart."""
        turned = self.orientation.followed_by(DetectorOrientation.ROTATE_180)
        return other.orientation in (self.orientation, turned)

    def is_inverse(self, other: Hypothesis) -> bool:
        """Whether, in the same class, one's object is the other's inverted through a point."""
        return self.position_sign != other.position_sign

    def is_conjugate(self, other: Hypothesis) -> bool:
        """Whether, in the same class, one's object is the other's conjugate, inverted or not."""
        return (self.orientation != other.orientation) != self.is_inverse(other)

    def __str__(self) -> str:
        return f"{self.orientation} with {self.position_sign} positions"


class Trial(Hypothesis):
    """How well a hypothesis, with the start probe, explains each group of frames."""

    residual: NotNegative
    """R, the geometric mean over the groups."""
    residuals: tuple[NotNegative, ...]
    """R of each group."""
    standard_errors: NotNegative
    """How far the mean of log R lies above the best trial's, in standard errors of such a mean."""
    chance: Chance
    """That the best of hypotheses that are all equal leaves another so far behind."""


class Evidence(CheckedModel):
    """The answer of one source to one question."""

    question: Literal["class", "conjugation", "inversion"]
    source: Literal["data consistency", "start probe", "denser is more negative"]
    effect: float
    """By which part the next hypothesis' R is larger than the best one's; or, of the last source, the
    correlation of phase and modulus, negative where it speaks for the conjugate of the best trial."""
    standard_errors: float
    chance: Chance
    """That there is nothing to it."""
    decides: bool


class FoundOrientation(CheckedModel):
    """The orientation of detector and stage, or that it is ambiguous, and why.

    Both are those of the frames and positions that were searched: where these had already been
    turned by a recorded orientation, `DetectorOrientation.followed_by` puts the two together.
    """

    orientation: DetectorOrientation | None
    """What brings the frames into scattering orientation; None if it is ambiguous."""
    position_sign: PositionSign | None
    """What makes the positions those of the probe on the object; None if it is ambiguous."""
    verdict: str
    """One sentence."""
    candidates: tuple[Hypothesis, ...]
    """What the evidence leaves."""
    evidence: tuple[Evidence, ...]
    trials: tuple[Trial, ...]
    """Every hypothesis that was tried, best first."""
    known_position_sign: PositionSign | None
    """What was known beforehand."""
    frames: int
    """The first frames of the scan that were looked at."""
