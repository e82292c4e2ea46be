"""Green, amber or red: whether a map can be believed, and what speaks against it.

Green says that nothing out of the ordinary was found, *and* that a map of something else would have been
noticed. Amber says what to look at before the map is used, red that it is not to be used. Every threshold
lies between good scans and scans that were broken on purpose: docs/decisions/0026-verdict.md has the table.

Not everything can be told. A scale of all positions, or a slow drift, is taken up by the probe's defocus, and
shows only where photons are many or the sample is strong: **such a map may be green**. What turns frames by
180 degrees, or reverses both signs of the positions, shows in R and, where the sample absorbs, in its
contrast alone. Without a plan, frames that a file does not hold are not missed.

A verdict costs as much as one or two iterations: see `look_at_frames`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.reconstruction.map_figures import CLIPPED_COUNTS, DARK, ILL_FITTING, MapFigures

Colour = Literal["green", "amber", "red"]
COLOURS: tuple[Colour, ...] = ("green", "amber", "red")
"""From the best to the worst."""

BEAM_OFF_PX, BEAM_FAR_OFF_PX = 1, 3
LEAST_GAIN = 0.02
LEAST_LIKENESS = 0.96
LEAST_OVERLAP = 0.6
FEW_FRAMES, MANY_FRAMES = 0.02, 0.3
WRONG_WAY = 2.0
NO_GRADIENT = 0.7
CURL_OF_NOISE = 3.0
LEAST_SIGNAL = 0.3
TIMES_POISSON = 1.1
MANY_TIMES_POISSON = 1.5
UNEXPLAINED, LARGELY_UNEXPLAINED, MOSTLY_UNEXPLAINED = 0.2, 0.25, 0.5
MISSING, MOSTLY_MISSING = 0.01, 0.5
DARK_FRAMES = 0.1
CLIPPED_COUNTS_SHARE = 0.1


class Reason(NamedTuple):
    """What speaks against a map, and how much."""

    colour: Colour
    sentence: str


class MapVerdict(CheckedModel):
    """A verdict on a map; it prints as its colour and its reasons.

    Parameters
    ----------
    colour : "green", "amber" or "red"
    reasons : tuple of str
        A sentence each, the gravest first; of a green map, what speaks for it.
    figures : MapFigures
        What it is based on.
    """

    colour: Colour
    reasons: tuple[str, ...]
    figures: MapFigures

    def __str__(self) -> str:
        return f"{self.colour}: {'; '.join(self.reasons)}"


def judged(figures: MapFigures) -> MapVerdict:
    """Return the verdict that figures give.

    A live map is judged like a finished one, but for what iterations or frames to come may mend: R is
    amber at most then, and missing frames say nothing.
    """
    found = [reason for criterion in CRITERIA if (reason := criterion(figures)) is not None]
    found.sort(key=lambda reason: COLOURS.index(reason.colour), reverse=True)
    if not found:
        found = [Reason("green", f"{_of_r(figures)}, and nothing else speaks against the map")]
    return MapVerdict(
        colour=found[0].colour, reasons=tuple(reason.sentence for reason in found), figures=figures
    )


def divergence(figures: MapFigures) -> Reason | None:
    """Red where an engine diverged: the map is the last good state on the way there."""
    if figures.stage != "diverged":
        return None
    return Reason("red", "the reconstruction diverged and this is its last good state: see its error")


def misfit(figures: MapFigures) -> Reason | None:
    """Judge R by the R of Poisson noise alone, and by what frames have beyond their mean.

    The first tells that there is a misfit: R was 0.88 to 1.03 times that of noise in good maps (a fit takes
    up noise as well), 1.10 in one of 1e6 photons with a drift refined, 1.06 after 8 + 8 iterations; 1.1 and
    3.3 times in recorded scans. The second tells how much of the sample is missed: a map that knows nothing
    has `MapFigures.unexplained` = 1, good ones had 0.11 or less, recorded ones 0.02 and 0.21, which is amber.
    Red are 0.28 to 0.65 at 4.7 times and more, of a jittering or standing stage and a wrong defocus in a
    small scan of strong speckles, and 0.79 to 0.86 at 1.17 times in the standard case of faint ones.
    """
    if figures.unexplained < UNEXPLAINED and figures.times_poisson < TIMES_POISSON:
        return None
    left = max(figures.unexplained, 0)
    sentence = f"{_of_r(figures)}, and leaves {left:.0%} of what the sample does unexplained"
    if figures.stage == "live":
        return Reason("amber", f"{sentence}: wait for more iterations")
    hopeless = figures.unexplained > MOSTLY_UNEXPLAINED and figures.times_poisson > TIMES_POISSON
    bad = figures.unexplained > LARGELY_UNEXPLAINED and figures.times_poisson > MANY_TIMES_POISSON
    remedy = "check positions, orientation and start probe, or iterate longer"
    return Reason("red" if hopeless or bad else "amber", f"{sentence}: {remedy}")


def noise(figures: MapFigures) -> Reason | None:
    """Judge whether R could tell a wrong map from a right one.

    What frames have beyond their mean must be `LEAST_SIGNAL` of their noise, else a map that knows nothing
    has an R hardly above that of noise: at 1e4 photons a frame (0.005) R of the standard case is 0.96 times
    that, and 0.97 times with transposed or shuffled frames.
    """
    if figures.signal >= LEAST_SIGNAL:
        return None
    return Reason(
        "amber",
        f"the sample's signal is {max(figures.signal, 0):.2g} of the photon noise, less than "
        f"{LEAST_SIGNAL}, from which on R tells a wrong map from a right one: take more photons, or compare "
        "with a repeat",
    )


def beam_centre(figures: MapFigures) -> Reason | None:
    """Judge where the start probe's light fits the mean frame best.

    0 px in all good scans, down to 1000 photons a frame, and exact in scans that were shifted; the likeness
    grew by 0.09 and more there. A recorded scan has 2 px with a gain of 0.01, which says nothing.
    """
    if figures.beam_off_px is None or figures.likeness_gain < LEAST_GAIN:
        return None
    row, column = figures.beam_off_px
    off = max(abs(row), abs(column))
    if off < BEAM_OFF_PX:
        return None
    colour: Colour = "red" if off >= BEAM_FAR_OFF_PX else "amber"
    return Reason(
        colour, f"the beam is ({row}, {column}) px from where it should be: correct the beam centre by that"
    )


def probe(figures: MapFigures) -> Reason | None:
    """Judge the start probe's light by the mean frame, and the probe found by the start probe.

    The likeness was 0.979 to 1 in good simulated scans, 0.93 in a recorded one with a nominal probe, 0.925
    to 0.95 with a distance or an energy that is wrong by 10 %, 0.49 of another optic. Probes overlapped by
    0.91 to 1 in good scans (0.64 in the recorded one), by 0.1 to 0.5 with a wrong defocus or orientation.
    Amber at most: from a poor start probe the right one is often found, which R tells.
    """
    if figures.likeness < LEAST_LIKENESS:
        return Reason(
            "amber",
            f"the start probe's light is like the mean frame by {figures.likeness:.3f}, less than "
            f"{LEAST_LIKENESS}: check the optic, the distance and the energy",
        )
    if figures.probe_overlap < LEAST_OVERLAP:
        return Reason(
            "amber",
            f"the probe that was found overlaps with the start probe by {figures.probe_overlap:.2f}, less "
            f"than {LEAST_OVERLAP}: check the defocus, or measure the probe anew",
        )
    return None


def positions(figures: MapFigures) -> Reason | None:
    """Judge frames that lie at the tolerance, stand still, or fit much worse than the others.

    None of a good scan did; 30 to 50 % lie at the tolerance in a wrong orientation (decision 10), 2 to 35 %
    fit badly with a stage that jitters or stands still.
    """
    for share, what, remedy in (
        (figures.at_tolerance, "lie at the tolerance", "check the orientation, or widen the tolerance"),
        (figures.standing_still, "were measured where the one before was", "check that the stage moves"),
        (figures.ill_fitting, f"fit {ILL_FITTING:g} times worse than most", "check positions and shutter"),
    ):
        if share >= FEW_FRAMES:
            return Reason(
                "red" if share >= MANY_FRAMES else "amber", f"{share:.0%} of the frames {what}: {remedy}"
            )
    return None


def orientation(figures: MapFigures) -> Reason | None:
    """Judge whether the frames' deflections are a gradient as they are read, and the map's contrast matter's.

    Over the least curl of other readings, the curl was 0.42 or less in good scans, recorded ones included;
    6 to 13 in transposed and mirrored ones, 2.7 where it is hardly above that of noise; 0.9 to 1.3 in
    shuffled ones. Turns by 180 degrees leave a gradient: there, phase and modulus correlate negatively.
    """
    if figures.curls is not None:
        as_read, *others = figures.curls
        if as_read > max(CURL_OF_NOISE, WRONG_WAY * min(others)):
            way = ("mirrored", "transposed", "turned by 90 degrees")[others.index(min(others))]
            return Reason(
                "red",
                f"the frames' deflections have {as_read / min(others):.1f} times the curl that they have "
                f"{way}: correct the detector's orientation, or the stage's axes and signs",
            )
        if as_read > max(CURL_OF_NOISE, NO_GRADIENT * min(others)):
            return Reason(
                "amber",
                f"the frames' deflections have {as_read / min(others):.1f} times the curl of another "
                "orientation, like a sample's in none: check that frames and positions belong together",
            )
    if figures.contrast is not None and figures.contrast < 0:
        return Reason(
            "amber",
            f"phase and modulus correlate by {figures.contrast:.2f}, where matter has them rise together: "
            "check the sign of the defocus, and turn the frames by 180 degrees",
        )
    return None


def completeness(figures: MapFigures) -> Reason | None:
    """Judge how many of the planned frames there are: a plan's frame is missing or not, nothing scatters.

    The map is right where there are frames; a file of positions has no plan, and nothing can be missing.
    """
    share = 1 - figures.frames / figures.planned
    if figures.stage == "live" or share < MISSING:
        return None
    return Reason(
        "red" if share >= MOSTLY_MISSING else "amber",
        f"{figures.planned - figures.frames} of {figures.planned} planned frames are missing: continue the "
        "scan",
    )


def light(figures: MapFigures) -> Reason | None:
    """Judge frames without beam: no frame of a good scan has less than 0.9 of the median counts."""
    if not figures.dark:
        return None
    return Reason(
        "red" if figures.dark >= DARK_FRAMES else "amber",
        f"{figures.dark:.0%} of the frames have less than {DARK:.0%} of the usual counts: check the shutter, "
        "and leave them out",
    )


def detector(figures: MapFigures) -> Reason | None:
    """Judge pixels that count on their own, and counts that end at a limit.

    Good scans have none (see `mean_frame.HOT`, and `map_figures.CLIPPED_PX`). Where 9 % of the counts were at
    a limit, the map was off by more than noise; where 38 % were, it had lost the sample's contrast.
    """
    if figures.hot_pixels:
        return Reason(
            "amber",
            f"pixels that count what is neither the beam's nor the sample's: {figures.hot_pixels}, "
            "add them to the mask",
        )
    if figures.clipped:
        return Reason(
            "red" if figures.clipped >= CLIPPED_COUNTS_SHARE else "amber",
            f"{figures.clipped:.1%} of the counts are at the largest one, above {CLIPPED_COUNTS:g}: the "
            "detector saturates, attenuate the beam",
        )
    return None


def _of_r(figures: MapFigures) -> str:
    return f"R is {figures.r_factor:.3g}, {figures.times_poisson:.2f} times that of Poisson noise alone"


CRITERIA: tuple[Callable[[MapFigures], Reason | None], ...] = (
    divergence,
    orientation,
    beam_centre,
    light,
    detector,
    positions,
    probe,
    misfit,
    noise,
    completeness,
)
