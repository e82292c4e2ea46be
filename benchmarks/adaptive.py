"""The command: when an adaptive series stops, on simulated films whose truth is known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log
from statistics import mean
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.repeated_scans import RepeatedScans, Setting
from benchmarks.report import Figure, print_table
from ptycho_plugin.postprocess.repeats import RepeatSeries
from ptycho_plugin.postprocess.stopping import DamageWatch, ResolutionReached
from ptycho_plugin.simulation.dying_film import DyingFilm

FIXED = 5
"""Repeats of the published protocol."""
NOISES = (0.25, 0.5, 1.0)
"""Of one repeat's map over the contrast; the published scan's is some 0.2."""
LONGEST = 8
"""Repeats: the most enduring film has lost a tenth of its contrast after 6.3."""
TENTH = 0.1
BRIGHT = Setting(side=64, photons=1e6)
"""Published photons: films die."""
FAINT = Setting(side=96, photons=1e4)
"""A hundredth of the photons, which then limit the resolution; nothing dies."""


@dataclass(frozen=True, slots=True)
class Stop:
    """After which repeat a series stopped, and should have; one more than there were, if not at all."""

    after: int
    due: int

    @property
    def early(self) -> bool:
        """Whether it stopped before it should have."""
        return self.after < self.due

    @property
    def late(self) -> bool:
        """Whether it went on for more than one repeat longer."""
        return self.after > self.due + 1


def main(
    maps: Annotated[int, typer.Option(help="Seeds of dying maps: blurred and noisy phases.")] = 20,
    dying: Annotated[int, typer.Option(help="Seeds of dying films that are scanned and reconstructed.")] = 20,
    faint: Annotated[int, typer.Option(help="Seeds of films in a faint beam, for the resolution.")] = 20,
    wanted_nm: Annotated[float, typer.Option(help="Resolution (frc_05, half period) in a faint beam.")] = 50,
) -> None:
    """Judge series after every repeat, and say what is true; about an hour. The last line is JSON."""
    figures = [figure for noise in NOISES if maps for figure in _of_maps(maps, noise)]
    figures += _of_dying(dying) if dying else []
    figures += _of_faint(faint, wanted_nm * 1e-9) if faint else []
    print_table(figures)
    print(json.dumps({figure.name: figure.value for figure in figures}))


def _of_maps(seeds: int, noise: float) -> Iterator[Figure]:
    """Yield how many series of simulated maps were stopped too early and too late."""
    films = [DyingFilm(seed, noise=noise) for seed in range(seeds)]
    stops = [Stop(_stopped_after(film), ceil(-log(1 - TENTH) * film.critical_repeats)) for film in films]
    yield from _counted(stops, f"maps_noise_{noise:g}")


def _stopped_after(film: DyingFilm) -> int:
    series = RepeatSeries()
    for repeat in film.repeats(LONGEST):
        series.add(repeat)
        if DamageWatch().judge(series).stop:
            return len(series)
    return LONGEST + 1


def _of_dying(seeds: int) -> Iterator[Figure]:
    """Yield the same of films that were scanned, and reconstructed, until they should have been stopped."""
    table = Table("seed", "truly lost, %", "10 % lost after", "stopped after", "reason")
    stops = []
    for seed in _each(seeds, "dying films"):
        scans, lost, reason, after = RepeatedScans(seed, BRIGHT), [0.0], "", LONGEST + 1
        while len(scans.series) < LONGEST and (lost[-1] < TENTH or after > LONGEST):
            scans.repeat()
            lost.append(scans.lost())
            verdict = DamageWatch().judge(scans.series)
            if verdict.stop and after > LONGEST:
                after, reason = len(scans.series), verdict.reason
        due = next((number for number, part in enumerate(lost) if part >= TENTH), LONGEST + 1)
        stops.append(Stop(after, due))
        table.add_row(str(seed), _listed(lost[1:], 100), str(due), str(after), reason)
    Console(width=200).print(table)
    yield from _counted([stop for stop in stops if stop.due <= LONGEST], "dying")
    yield Figure("dying_enduring", sum(stop.due > LONGEST for stop in stops), "-", "lost less in all repeats")


def _of_faint(seeds: int, wanted: float) -> Iterator[Figure]:
    """Yield how soon a series stops that is resolved as wanted, and what a joint reconstruction saves."""
    table = Table("seed", "average, nm", "joint, nm", "reached after", "jointly", "stopped after", "reason")
    rule, stops, joints = ResolutionReached(resolution=wanted), [], []
    for seed in _each(seeds, "faint beam"):
        scans, average, joint, reason, after = RepeatedScans(seed, FAINT), [], [], "", FIXED + 1
        for _ in range(FIXED):
            scans.repeat()
            average.append(scans.resolution())
            if not joint or joint[-1] > wanted:
                joint.append(scans.joint_resolution())
            verdict = rule.judge(scans.series, scans.pixel)
            if verdict.stop and after > FIXED:
                after, reason = len(scans.series), verdict.reason
        stops.append(Stop(after, _first(average, wanted)))
        joints.append(_first(joint, wanted))
        table.add_row(
            str(seed),
            _listed(average, 1e9),
            _listed(joint, 1e9),
            str(stops[-1].due),
            str(joints[-1]),
            str(after),
            reason,
        )
    Console(width=200).print(table)
    # The promise is for what the fixed protocol reaches at its second or third repeat.
    looked_at = [i for i, stop in enumerate(stops) if stop.due in (2, 3)]
    chosen = [stops[i] for i in looked_at]
    yield Figure("faint_reached_at_2_or_3", len(chosen), "20", f"of {seeds} films, {wanted * 1e9:g} nm")
    yield from _counted(chosen, "faint")
    if not chosen:
        return
    spent = mean(min(stop.after, FIXED) for stop in chosen) / FIXED
    yield Figure("faint_dose_spent", round(spent, 3), "0.6", f"of {FIXED} repeats, on average")
    saved = mean(1 - min(joints[i], FIXED) / min(stops[i].due, FIXED) for i in looked_at)
    yield Figure("faint_joint_saving", round(saved, 3), "-", "of the repeats until the average is as fine")


def _each(seeds: int, what: str) -> Iterable[int]:
    return track(range(seeds), what, console=Console(stderr=True))


def _first(resolutions: Sequence[float], wanted: float) -> int:
    """Return the number of the first repeat that reaches a resolution."""
    return next((number for number, r in enumerate(resolutions, 1) if r <= wanted), FIXED + 1)


def _counted(stops: Sequence[Stop], name: str) -> Iterator[Figure]:
    after = Counter(stop.after - stop.due for stop in stops)
    told = ", ".join(f"{after[n]} after {n:+d}" for n in sorted(after))
    yield Figure(f"{name}_false_stops", sum(stop.early for stop in stops), "0", f"repeats: {told}")
    yield Figure(f"{name}_missed_stops", sum(stop.late for stop in stops), "0", "more than one repeat late")


def _listed(values: Sequence[float], scale: float) -> str:
    return " ".join(f"{scale * value:.1f}" for value in values)


if __name__ == "__main__":
    typer.run(main)
