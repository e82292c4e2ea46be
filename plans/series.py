"""The published protocol as one plan: areas, regions in each, and repeats of each region."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field
from rich.console import Console

from ptycho_plugin.ledger import Budget, Ledger
from ptycho_plugin.ledger.records import Name
from ptycho_plugin.plans.arguments import (
    AGAIN,
    BackgroundRun,
    BeamlineArgument,
    ExposureSeconds,
    Metadata,
    ProbeName,
    TurnDegrees,
    checked,
)
from ptycho_plugin.plans.bookkeeping import photons_expected
from ptycho_plugin.plans.flux_calibration import calibration_in_force
from ptycho_plugin.plans.illumination import illumination, probe_source
from ptycho_plugin.plans.repeat_scan import RepeatScan
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.series_forecast import SeriesForecast, forecast
from ptycho_plugin.plans.series_work import Protocol, RegionWork, place_regions, series_work
from ptycho_plugin.plans.stop_rule import StopRule, Watch
from ptycho_plugin.plans.stubs import go_to_region, is_run, value_of
from ptycho_plugin.publishing.series import START_KEY
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.region_matrix import RegionMatrix
from ptycho_plugin.trajectory import ConcentricRings, Trajectory
from ptycho_plugin.view.bars import SeriesBar

TURN_DEG = 8.5
"""With which five repeats of the published scan share no point but the centre (decision 14)."""

SampleArgument = Annotated[Sample | Name, Field(description="What is scanned, as the ledger names it.")]


@checked
def dose_series(
    beamline: BeamlineArgument,
    ledger: Ledger,
    sample: SampleArgument,
    *,
    matrix: RegionMatrix = RegionMatrix(),  # noqa: B008  frozen
    exposure_s: ExposureSeconds = 0.2,
    trajectory: Trajectory | None = None,
    turn_deg: TurnDegrees = TURN_DEG,
    budget: Budget | None = None,
    probe: ProbeName | None = None,
    options: ReconstructionOptions = ReconstructionOptions(),  # noqa: B008  frozen
    stop_rule: StopRule | None = None,
    background_run: BackgroundRun | None = None,
    again: Annotated[bool, AGAIN] = False,
    md: Metadata | None = None,
) -> MsgGenerator[str]:
    """Scan every region of a sample repeatedly, each within its budget of dose.

    What it will cost is printed before anything moves. Each repeat is a guarded scan, a run of its own,
    whose start document has area, region, repeat and, under "series", the series. Whatever ended it, the
    same call goes on: complete repeats are left, a half-done one continues at the points that are left.
    Put suspenders around it with ``bpp.suspend_wrapper(dose_series(...), [...])``. Looked at without a
    RunEngine, it is empty.

    Parameters
    ----------
    beamline : Beamline
    ledger : Ledger
    sample : Sample or str
        Its name is one that the ledger knows.
    matrix : RegionMatrix
        A region that the ledger has is scanned where it is, by its area and name; others are placed.
    exposure_s : float
        Exposure of one frame in seconds.
    trajectory : Trajectory, optional
        Of the first repeat; by default the beamline's own, else the published concentric rings.
    turn_deg : float
        By which concentric rings are turned from one repeat to the next, so that they share no artefacts.
    budget : Budget, optional
        For every region; by default the ones that they have.
    probe : str, optional
        As for `ptycho_scan`; dose and reconstructions use the same one.
    options : ReconstructionOptions
    stop_rule : StopRule, optional
        Asked after each repeat whether the region has had enough. Then the ledger closes the region, what is
        left of its budget is given to none, and the series goes on with the next one. A rule that fails is
        given up, aloud.
    background_run : str, optional
        As for `ptycho_scan`.
    again : bool
        Expose points again that earlier runs may have exposed, or did without saving a frame.
    md : mapping, optional
        More entries for every start document.

    Returns
    -------
    str
        The series' uid: where its runs are in Tiled, ``client["series"][uid]``.

    Raises
    ------
    InputError
        At the call, for an argument that cannot be used; before anything moves, if a region has no budget
        or cannot be reached, or as from `ptycho_scan`.
    DoseRefusal
        Before anything moves, if a region cannot end within its budget: it says how many repeats would fit.
    PreflightRefusal
        Before anything moves.
    LedgerError
        If the ledger does not know the sample or where it lies, a repeat was begun with another scan, or as
        from `DoseGuard`.
    PublishingError
        If Tiled does not hold the probe, the mask or the background run.
    """
    if not (yield from is_run()):
        return ""
    source = probe_source(beamline, probe)
    protocol = Protocol(
        trajectory=trajectory or beamline.trajectory or ConcentricRings(),
        turn_deg=turn_deg,
        exposure_s=exposure_s,
        energy_eV=beamline.geometry.energy_eV,
        transmission=(yield from value_of(beamline.attenuator)),
    )
    known, name = (sample, sample.name) if isinstance(sample, Sample) else (None, sample)
    scan = RepeatScan(
        beamline,
        ledger,
        protocol,
        source=source,
        probe=illumination(beamline, source),
        sample=known,
        options=options,
        background_run=background_run,
        again=again,
    )
    work = series_work(beamline, ledger, name, matrix, protocol, budget, again)
    begun = ledger.scans.series(one.region for one in work)
    expected = yield from _expected(scan, work)
    Console().print(expected.table())
    if begun and not expected.points:
        return begun
    expected.raise_refusal()
    yield from scan.check()
    work = place_regions(ledger, work)
    uid = ledger.scans.join_series(one.region for one in work)
    series = {
        "uid": uid,
        "sample": name,
        "matrix": matrix.model_dump(mode="json"),
        "forecast": expected.to_metadata(),
    }
    watch = Watch(stop_rule, beamline, ledger, scan.probe)
    with SeriesBar(expected.points, matrix.repeats) as bar:
        yield Msg("null", bar)  # so that the RunEngine tells it of pauses
        regions = _regions(scan, watch, work, {**(md or {}), START_KEY: series}, bar)
        yield from bpp.subs_wrapper(regions, bar)
    return uid


def _expected(scan: RepeatScan, work: tuple[RegionWork, ...]) -> MsgGenerator[SeriesForecast]:
    """Return what a series will cost, with the flux of the monitor's calibration."""
    beamline, exposure_s = scan.beamline, scan.protocol.exposure_s
    calibration = yield from calibration_in_force(beamline)
    photons = yield from photons_expected(beamline, calibration.photons_per_s, exposure_s)
    coarse_um = (yield from value_of(beamline.coarse.y)), (yield from value_of(beamline.coarse.x))
    return forecast(
        beamline,
        scan.ledger,
        work,
        exposure_s=exposure_s,
        photons=photons,
        coarse_um=coarse_um,
        probe=scan.probe,
    )


def _regions(
    scan: RepeatScan, watch: Watch, work: tuple[RegionWork, ...], md: Mapping[str, Any], bar: SeriesBar
) -> MsgGenerator[None]:
    """Scan what is left of every region."""
    for one in work:
        if one.repeats:
            yield from _region(scan, watch, one, md, bar)


def _region(
    scan: RepeatScan, watch: Watch, work: RegionWork, md: Mapping[str, Any], bar: SeriesBar
) -> MsgGenerator[None]:
    """Scan what is left of a region, until its rule closes it."""

    def is_open() -> bool:
        return scan.ledger.scans.closed(work.region) is None

    for number in work.complete:  # what the rule was asked in an earlier call
        if is_open():  # what a rule waited for, a pause must not make it wait for again
            yield from bpp.rewindable_wrapper(watch.judge(work.region, number), False)
    if is_open():
        yield from go_to_region(scan.beamline, work.stage_um)
    for repeat in work.repeats:
        if is_open():
            last = partial(watch.judge, work.region, repeat.number)
            yield from scan(work.region, repeat.number, md, last)
        else:
            bar.forgo(len(repeat.points_um))
