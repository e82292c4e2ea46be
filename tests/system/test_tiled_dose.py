"""The dose map of a guarded run, in a real Tiled server, and the command that reads its probe there."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ptycho_plugin.devices import Beamline, simulated_beamline
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Budget, Ledger, Region
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans import DoseGuard, calibrate_flux, ptycho_scan
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.raw import dataset_from_tiled, illumination_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
SMALL = ConcentricRings(height_um=0.5, width_um=0.5)


@pytest.fixture
def engine(engine: RunEngine, tiled: Any, tmp_path: Path) -> RunEngine:
    engine.subscribe(RawRunWriter(tiled))
    return engine


@pytest.fixture
def beamline(engine: RunEngine, tiled: Any, data_folder: Path) -> Beamline:
    optic = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
    store = CalibrationStore(tiled)
    beamline = simulated_beamline(
        data_folder, calibrations=store, time_factor=0, geometry=GEOMETRY, optic=optic
    )
    engine(calibrate_flux(beamline, frames=2))
    return beamline


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "dose.sqlite", new=True) as ledger:
        ledger.samples.mount("film")
        yield ledger


@pytest.fixture
def region(ledger: Ledger, beamline: Beamline) -> Region:
    stage_um = beamline.place_um("sample")
    region = ledger.samples.place_region("film", "1", "A", stage_um=stage_um, reach_um=2.0)
    ledger.samples.set_budget(region, Budget(dose=1e6, material="PMMA", formula="C5H8O2"))
    return region


def test_a_guarded_run_keeps_its_dose_map(
    engine: RunEngine, tiled: Any, beamline: Beamline, ledger: Ledger, region: Region
) -> None:
    guard = DoseGuard(beamline, ledger, region, repeat=1)
    (uid,) = engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard, md={"tiled_specs": ["Mine"]}))
    run = tiled["raw", uid]
    found, kept = run.dose_map, guard._account._region.dose.map(ledger.exposures(region), None)
    small = kept.binned(256)
    np.testing.assert_allclose(found.dose[: len(small.dose)], small.dose, atol=1e-3 * kept.peak)
    assert found.grid.pixel == pytest.approx(small.grid.pixel)
    np.testing.assert_allclose(found.grid.corner, small.grid.corner)
    np.testing.assert_allclose(found.points * 1e6, SMALL.offsets_um(), atol=1e-6)
    assert (found.material, found.budget, found.electron_range) == ("PMMA", 1e6, 0.5e-6)
    assert found.peak == pytest.approx(kept.peak)
    assert run["dose"].read()["dose_exposures"].values.tolist() == [len(SMALL.offsets_um())]
    figure = run.plot_dose()
    FigureCanvasAgg(figure).draw()
    assert figure.get_suptitle() == f"region 'A' in area '1', run {uid}"

    assert {spec.name for spec in run.specs} == {"Mine", "GuardedRun", "BlueskyRun"}
    assert len(dataset_from_tiled(tiled, uid)) == len(SMALL.offsets_um()), "it is a run like any other"
    assert [name for name, _ in run.documents()][-1] == "stop"
    assert uid in list(tiled["raw"])


def test_a_map_that_cannot_be_made_is_told_and_stops_nothing(
    engine: RunEngine,
    tiled: Any,
    beamline: Beamline,
    ledger: Ledger,
    region: Region,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError("no room for a picture")

    monkeypatch.setattr("ptycho_plugin.plans.dose_account.map_reading", fail)
    with caplog.at_level(logging.ERROR):
        (uid,) = engine(ptycho_scan(beamline, trajectory=SMALL, guard=DoseGuard(beamline, ledger, region)))
    assert f"the dose map of run {uid} is not kept" in caplog.text
    run = tiled["raw", uid]
    assert run.stop["exit_status"] == "success"
    assert run["dose"].read()["dose_exposures"].values.tolist() == [len(SMALL.offsets_um())]
    with pytest.raises(PublishingError, match=f"run {uid} keeps no dose map"):
        _ = run.dose_map


def test_the_command_finds_the_illumination_in_tiled(
    engine: RunEngine,
    tiled: Any,
    tiled_server: Any,
    beamline: Beamline,
    ledger: Ledger,
    region: Region,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from ptycho_plugin import cli

    guard = DoseGuard(beamline, ledger, region)
    (uid,) = engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard))
    light = illumination_from_tiled(tiled, uid)
    assert beamline.optic is not None
    model, found = beamline.optic.probe(GEOMETRY), light.probe
    np.testing.assert_allclose(found / np.abs(found).max(), model / np.abs(model).max(), atol=1e-5)
    path = tmp_path / "dose.sqlite"
    monkeypatch.setattr(
        "sys.argv", ["ptycho", "dose", "status", str(path), "--json", "--tiled", tiled_server.uri]
    )
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main()
    stdout, stderr = capsys.readouterr()
    (row,) = json.loads(stdout.splitlines()[-1])["rows"]
    assert row["peak_kGy"] == pytest.approx(guard._account._region.dose.peak / 1e3, rel=1e-3)
    assert row["illumination"] == f"the model of the zone plate that run {uid} names"
    assert tiled_server.api_key not in stdout + stderr
