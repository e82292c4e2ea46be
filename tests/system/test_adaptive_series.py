"""A film that dies is left alone: series, ledger, judging process and Tiled together."""

from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine

from ptycho_plugin import (
    AdaptiveStop,
    Budget,
    CalibrationStore,
    Ledger,
    RegionMatrix,
    calibrate_flux,
    dose_series,
    simulated_beamline,
)
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.publishing.server import LocalTiledServer
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
RINGS = ConcentricRings(radial_step_um=0.25, height_um=1.5, width_um=1.5)
QUICK = ReconstructionOptions(
    difference_map_iterations=0, least_squares_iterations=20, maximum_likelihood_iterations=10
)
DYING = SimulationOptions(degrades=True, photons_per_second=25e6, seed=0)
"""Each exposure is five of the published scan's."""


@pytest.fixture
def simulated(tiled: Any, data_folder: Path) -> Any:
    return simulated_beamline(
        data_folder,
        time_factor=0.0,
        geometry=GEOMETRY,
        optic=OPTIC,
        options=DYING,
        calibrations=CalibrationStore(tiled),
    )


def test_a_region_that_dies_is_closed(
    tiled_server: LocalTiledServer,
    tiled: Any,
    data_folder: Path,
    simulated: Any,
    tmp_path: Path,
    engine: RunEngine,
    make_live: Any,
) -> None:
    spool = tmp_path / "spool"
    live = make_live(spool=spool)
    engine.subscribe(live)
    engine(calibrate_flux(simulated))
    rule = AdaptiveStop(tiled_server.uri, spool=spool, data=data_folder, recipe=QUICK)
    with Ledger(tmp_path / "dose.sqlite", new=True) as ledger:
        ledger.samples.mount("film")

        def series() -> list[str]:
            plan = dose_series(
                simulated,
                ledger,
                "film",
                matrix=RegionMatrix(areas=["1"], regions=["A"], repeats=4, reach_um=1.5),
                trajectory=RINGS,
                budget=Budget(dose=1e7, material="PMMA", formula="C5H8O2"),
                options=QUICK,
                stop_rule=rule,
            )
            return [uid for uid in engine(plan) if live.wait(uid).raw_path]

        uids = series()
        (region,) = ledger.samples.regions("film")
        assert len(uids) == 2
        reasons = [tiled["raw", uid].stop.get("reason") for uid in uids]
        assert not reasons[0]
        assert "of the phase contrast is lost" in reasons[1]
        assert ledger.scans.closed(region).reason == reasons[1]
        assert series() == []  # what is left of its budget is given to none
