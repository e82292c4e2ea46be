"""Hardware-timed scans over Channel Access: what the twin says the sample received, the ledger says."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted

from ptycho_plugin.devices.beamline import Beamline
from ptycho_plugin.errors import LostFrameError
from ptycho_plugin.flux import LOSSLESS, FluxCalibration
from ptycho_plugin.ioc import IocProcess
from ptycho_plugin.ledger import Budget, Ledger, Region
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.live.join import Exposure, RunDocuments
from ptycho_plugin.plans import DoseGuard, ptycho_fly_scan
from ptycho_plugin.plans import fly as fly_module
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.9, width_um=0.9)
POINTS = SMALL.offsets_um()
EXPOSURE_S = 0.06


class Line:
    """The beamline, a ledger that knows its film, and what the twin says."""

    def __init__(self, ioc: IocProcess, beamline: Beamline, ledger: Ledger, region: Region) -> None:
        self.beamline, self.ledger, self.region = beamline, ledger, region
        self._prefix = ioc.settings.prefix
        self.run = RunDocuments()
        self.joined: list[Exposure] = []
        self.stop: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        import epics

        return epics.get_pv(self._prefix + name, connect=True, timeout=10).get(use_monitor=False, timeout=10)

    def put(self, name: str, value: Any) -> None:
        import epics

        epics.get_pv(self._prefix + name, connect=True, timeout=10).put(value, wait=True, timeout=10)

    def __call__(self, name: str, document: Any) -> None:
        """Join the documents of the last run."""
        if name == "start":
            self.run, self.joined = RunDocuments(), []
        self.joined += self.run.add(name, document)
        if name == "stop":
            self.stop = document

    def scan(self, repeat: int) -> Iterator[Msg]:
        guard = DoseGuard(self.beamline, self.ledger, self.region, repeat=repeat)
        return ptycho_fly_scan(self.beamline, trajectory=SMALL, exposure_s=EXPOSURE_S, guard=guard)

    def assert_told(self, before: float) -> Any:
        """The ledger's photons of the last run are those that the sample received."""
        assert self.get("SHUTTER:STATUS") == 0
        exposures = self.ledger.exposures_of_run(self.run.start["uid"])
        told, sigma = exposures.photons.sum(), exposures.photons_uncertainty.sum()
        assert set(exposures.status) <= {"done", "withdrawn"}
        assert abs(told - (self.get("TWIN:PHOTONS") - before)) <= 3 * sigma
        return exposures.where(exposures.kind == "scan")

    def assert_in_step(self) -> None:
        """Each frame has the position of its point."""
        planned = POINTS[list(self.run.scan.points)]
        places = np.reshape([exposure.stage_um for exposure in self.joined], (-1, 2))
        np.testing.assert_allclose(places, planned[: len(places)], atol=0.01)
        assert [exposure.frame for exposure in self.joined] == list(range(len(places)))


@pytest.fixture(scope="module")
def beamline(ioc: IocProcess) -> Beamline:
    from ptycho_plugin.devices.epics import epics_beamline

    beamline = epics_beamline(ioc.beamline_file, ioc.directory)
    true = ioc.settings.options.monitor_counts_per_photon
    calibration = FluxCalibration(
        photons_per_count=1 / true,
        relative_sigma=0.005,
        scatter=0.005,
        counts_per_frame=true * beamline.photons_per_second * EXPOSURE_S,
        frames=10,
        exposure_s=EXPOSURE_S,
        energy_eV=beamline.geometry.energy_eV,
        gain=1.0,
        transmission=1.0,
        path=LOSSLESS,
        run_uid="flux-run",
        date=datetime.now(UTC),
    )
    beamline.flux.calibration.set(calibration.model_dump_json()).wait(timeout=5)
    return beamline


@pytest.fixture
def line(engine: RunEngine, ioc: IocProcess, beamline: Beamline, tmp_path: Path) -> Iterator[Line]:
    with Ledger(tmp_path / "film.ledger", new=True) as ledger:
        ledger.samples.mount("film")
        place = beamline.place_um("sample")
        region = ledger.samples.place_region("film", "1", "A", stage_um=place, reach_um=1.5)
        ledger.samples.set_budget(region, Budget(dose=1e7, material="PMMA", formula="C5H8O2"))
        line = Line(ioc, beamline, ledger, region)
        engine.subscribe(line)
        yield line
        line.put("TWIN:FAULT", "none")


def at_gate(line: Line, number: int, interrupt: Callable[[], object]) -> Callable[[Msg], None]:
    """Interrupt once so many gates of the trajectory have ended."""
    kicked: list[bool] = []

    def hook(message: Msg) -> None:
        kicked.extend([True] if message.command == "kickoff" else [])
        if kicked and len(line.beamline.scanner.captured) >= number:
            kicked.clear()
            interrupt()

    return hook


def test_a_trajectory_over_the_wire_is_told_as_the_twin_counts_it(engine: RunEngine, line: Line) -> None:
    before = line.get("TWIN:PHOTONS")
    engine(line.scan(1))
    exposures = line.assert_told(before)
    assert set(exposures.frame) == {"saved"}
    assert line.ledger.scans.progress(line.region, 1).is_complete
    assert len(line.joined) == len(POINTS)
    line.assert_in_step()
    (uri, dataset, _, _), *_ = line.joined
    with FrameFiles(Path("/")) as files:
        sums = [
            files.read(uri, dataset, index, (slice(None), slice(None))).clip(0).sum()
            for index in range(len(POINTS))
        ]
    assert np.array(sums) == pytest.approx(np.full(len(POINTS), sums[0]), rel=0.1)
    assert line.beamline.detector.cam.trigger_mode.get(as_string=True) == "Internal"  # as it was found


def test_a_pause_over_the_wire_stops_before_the_next_gate(engine: RunEngine, line: Line) -> None:
    before = line.get("TWIN:PHOTONS")
    engine.msg_hook = at_gate(line, 2, lambda: engine.loop.create_task(engine._request_pause_coro()))
    with pytest.raises(RunEngineInterrupted):
        engine(line.scan(1))
    engine.msg_hook = None
    assert line.get("SHUTTER:STATUS") == 0
    assert 2 <= len(line.beamline.scanner.captured) < len(POINTS)
    in_pause = line.get("TWIN:PHOTONS")
    time.sleep(0.2)
    assert line.get("TWIN:PHOTONS") == in_pause
    engine.resume()
    line.assert_told(before)
    assert line.ledger.scans.progress(line.region, 1).done == tuple(range(len(POINTS)))
    assert len(line.joined) == len(POINTS)
    line.assert_in_step()


@pytest.mark.parametrize("fault", ["miss_trigger", "drop_frame"])
def test_a_frame_that_is_missing_over_the_wire_shifts_none(
    engine: RunEngine, line: Line, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fly_module, "FRAME_LATE_S", 1.0)
    before = line.get("TWIN:PHOTONS")
    engine.msg_hook = at_gate(line, 2, lambda: line.put("TWIN:FAULT", fault))
    said = f"{len(POINTS)} gates, and the detector wrote {len(POINTS) - 1} frames"
    with pytest.raises(LostFrameError, match=said):
        engine(line.scan(1))
    engine.msg_hook = None
    assert line.stop["exit_status"] == "fail"
    assert said in line.stop["reason"]
    exposures = line.assert_told(before)
    assert set(exposures.frame) <= {"saved", "lost"}
    assert len(line.joined) == np.count_nonzero(exposures.frame == "saved") < len(POINTS)
    line.assert_in_step()


def test_a_stage_that_stalls_in_mid_path_ends_the_run_in_the_dark(engine: RunEngine, line: Line) -> None:
    before = line.get("TWIN:PHOTONS")
    engine.msg_hook = at_gate(line, 2, lambda: line.put("TWIN:FAULT", "stall PIEZO:Y"))
    with pytest.raises(Exception, match="Status"):
        engine(line.scan(1))
    engine.msg_hook = None
    assert "PIEZO:Y did not arrive at point" in line.stop["reason"]
    assert line.get("SHUTTER:STATUS") == 0
    exposures = line.ledger.exposures_of_run(line.run.start["uid"])
    assert exposures.photons.sum() > line.get("TWIN:PHOTONS") - before
    progress = line.ledger.scans.progress(line.region, 1)
    assert len(progress.done) >= 2
    assert progress.left
    line.assert_in_step()
    line.put("TWIN:FAULT", "none")
    engine(line.scan(1))
    progress = line.ledger.scans.progress(line.region, 1)
    assert sorted((*progress.done, *progress.uncertain, *progress.lost)) == list(range(len(POINTS)))
    line.assert_in_step()
