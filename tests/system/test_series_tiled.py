"""A dose series into a real Tiled server over two sessions, and its runs back from the group."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted

from ptycho_plugin import Budget, Ledger, RegionMatrix, calibrate_flux, dose_series
from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans import RepeatDone
from ptycho_plugin.postprocess.stopping import Verdict
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.publishing.series_client import DoseSeries
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
RINGS = ConcentricRings(height_um=0.5, width_um=0.5)
MATRIX = RegionMatrix(areas=("1",), regions=("A", "B"), repeats=2, region_step_um=(0.0, 3.0), reach_um=1.2)
BUDGET = Budget(dose=1e5, material="PMMA", formula="C5H8O2")


def closes_b(done: RepeatDone) -> Iterator[Msg]:
    yield from bps.null()
    return Verdict(stop=done.region.name == "B", reason=f"enough after {done.dose_after:.0f} Gy")


def test_a_series_that_was_aborted_goes_on_in_another_session_and_is_one_group(
    engine: RunEngine, tiled: Any, data_folder: Path, tmp_path: Path
) -> None:
    beamline: Any = simulated_beamline(data_folder, time_factor=0, geometry=GEOMETRY, optic=OPTIC)
    engine(calibrate_flux(beamline))
    with Ledger(tmp_path / "ledger", new=True) as ledger:
        ledger.samples.mount("film")

    def session() -> Any:
        token = engine.subscribe(RawRunWriter(tiled))
        with Ledger(tmp_path / "ledger") as ledger:
            plan = dose_series(
                beamline, ledger, "film", matrix=MATRIX, trajectory=RINGS, budget=BUDGET, stop_rule=closes_b
            )
            try:
                return engine(plan)
            finally:
                engine.unsubscribe(token)

    exposures = iter(range(100))

    def abort_in_b(message: Msg) -> None:
        if message.command == "trigger" and message.obj is beamline.detector and next(exposures) == 14:
            engine.loop.create_task(engine._abort_coro("the test says so"))

    engine.msg_hook = abort_in_b
    with pytest.raises(RunEngineInterrupted):
        session()
    engine.msg_hook = None
    (last,) = session()

    uid = tiled["raw", last].start["series"]["uid"]
    series = tiled["series", uid]
    assert isinstance(series, DoseSeries)
    assert repr(series) == "<DoseSeries of 'film', 4 runs>"
    assert series.metadata["matrix"]["repeats"] == 2
    turned = RINGS.model_copy(update={"turn_deg": 8.5})
    assert series.metadata["forecast"]["points"] == 2 * len(RINGS.offsets_um()) + 2 * len(turned.offsets_um())
    assert [run.start["repeat"] for run in series.runs(region="A")] == [1, 2]
    first, second = series.runs(region="B", repeat=1)
    assert (first.stop["exit_status"], second.stop["exit_status"]) == ("abort", "success")
    assert second.start["uid"] == last
    assert second.stop["reason"].startswith("enough after ")
    joined = dataset_from_tiled(tiled, last)
    np.testing.assert_allclose(joined.positions, RINGS.offsets_um() * 1e-6, atol=1e-9)
    assert joined.frames.sum(axis=(1, 2)).min() > 0
