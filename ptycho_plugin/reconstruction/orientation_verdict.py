"""From trials of hypotheses to one of them, or to the reason why it cannot be one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from ptycho_plugin.orientation import PositionSign
from ptycho_plugin.reconstruction.orientation_evidence import (
    LARGEST_CHANCE,
    Evidence,
    FoundOrientation,
    Hypothesis,
    Trial,
)


def judge(
    trials: Sequence[Trial],
    contrast: Evidence | None,
    *,
    known_position_sign: PositionSign | None,
    frames: int,
) -> FoundOrientation:
    """Return what the evidence leaves of the hypotheses.

    Parameters
    ----------
    trials : sequence of Trial
        Best first.
    contrast : Evidence, optional
        Whether the best trial's map has the sign of matter.
    known_position_sign : PositionSign, optional
    frames : int
    """
    evidence = tuple(_evidence(trials, contrast))
    candidates = tuple(_left(trials, evidence))
    chosen = candidates[0] if len(candidates) == 1 else None
    return FoundOrientation(
        orientation=None if chosen is None else chosen.orientation,
        position_sign=None if chosen is None else chosen.position_sign,
        verdict=_ambiguity(trials, evidence, candidates) if chosen is None else _answer(chosen, evidence),
        candidates=candidates,
        evidence=evidence,
        trials=tuple(trials),
        known_position_sign=known_position_sign,
        frames=frames,
    )


def class_evidence(trials: Sequence[Trial]) -> Evidence:
    """Return whether the best trial, of trials with the best first, is ahead of all other classes."""
    best = trials[0]
    return _against("class", "data consistency", best, [t for t in trials if not t.same_class(best)])


def _evidence(trials: Sequence[Trial], contrast: Evidence | None) -> Iterator[Evidence]:
    best, *others = trials
    rivals = [trial for trial in others if trial.same_class(best)]
    inverses = [trial for trial in rivals if trial.is_inverse(best) and not trial.is_conjugate(best)]
    yield class_evidence(trials)
    yield _against("conjugation", "start probe", best, [t for t in rivals if t.is_conjugate(best)])
    if contrast is not None:
        yield contrast
    if inverses:
        yield _against("inversion", "start probe", best, inverses)


def _against(
    question: Literal["class", "conjugation", "inversion"],
    source: Literal["data consistency", "start probe"],
    best: Trial,
    rivals: Sequence[Trial],
) -> Evidence:
    next_best = min(rivals, key=lambda trial: trial.residual)
    return Evidence(
        question=question,
        source=source,
        effect=next_best.residual / best.residual - 1,
        standard_errors=next_best.standard_errors,
        chance=next_best.chance,
        decides=next_best.chance <= LARGEST_CHANCE,
    )


def _left(trials: Sequence[Trial], evidence: Sequence[Evidence]) -> Iterator[Hypothesis]:
    """Yield the hypotheses that nothing speaks against."""
    best = trials[0]
    if not _decides("class", evidence):
        tied = [trial for trial in trials if trial.chance > LARGEST_CHANCE]
        yield from (_hypothesis(trial) for trial in tied)
        return
    votes = {found.effect < 0 for found in evidence if found.question == "conjugation" and found.decides}
    for trial in trials:
        is_left = trial.same_class(best)
        if len(votes) == 1:
            is_left &= trial.is_conjugate(best) in votes
        if _decides("inversion", evidence):
            is_left &= not trial.is_inverse(best)
        if is_left:
            yield _hypothesis(trial)


def _decides(question: str, evidence: Sequence[Evidence]) -> bool:
    return any(found.decides for found in evidence if found.question == question)


def _hypothesis(trial: Trial) -> Hypothesis:
    return Hypothesis(orientation=trial.orientation, position_sign=trial.position_sign)


def _answer(chosen: Hypothesis, evidence: Sequence[Evidence]) -> str:
    grounds = [
        f"{found.question} by {found.source} ({_strength(found)})" for found in evidence if found.decides
    ]
    return f"{chosen}: {', '.join(grounds)}"


def _strength(found: Evidence) -> str:
    if found.source == "denser is more negative":
        return f"correlation {abs(found.effect):.2f} of phase and modulus"
    return f"the next R is {found.effect:.1%} higher, {found.standard_errors:.1f} standard errors"


def _ambiguity(
    trials: Sequence[Trial], evidence: Sequence[Evidence], candidates: Sequence[Hypothesis]
) -> str:
    if not _decides("class", evidence):
        return (
            f"ambiguous: the frames fit {_hypothesis(trials[0])} best, but no better than chance allows "
            f"({_strength(evidence[0])}): take more frames or photons, and check beam centre, positions and "
            "start probe"
        )
    tied = " and ".join(map(str, candidates))
    return f"ambiguous between {tied}: {', and '.join(_missing(evidence, candidates))}"


def _missing(evidence: Sequence[Evidence], candidates: Sequence[Hypothesis]) -> Iterator[str]:
    """Yield what would tell the candidates of one class apart."""
    first, *others = candidates
    if any(first.is_conjugate(other) for other in others):
        if _decides("conjugation", evidence):
            yield "start probe and contrast contradict one another: check the sign of the probe's defocus"
        else:
            yield "neither start probe nor contrast tells conjugates apart: give a start probe with defocus"
    if any(first.is_inverse(other) for other in others):
        yield "a symmetric start probe does not tell the stage's sign: give the position sign"
