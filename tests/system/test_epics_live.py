"""A scan over Channel Access is reconstructed while it runs, as any other."""

from typing import Any

import pytest
from bluesky import RunEngine

from ptycho_plugin.cli.demo import _score
from ptycho_plugin.ioc import IocProcess
from ptycho_plugin.plans import ptycho_fly_scan, ptycho_scan
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import ConcentricRings

pytestmark = pytest.mark.usefixtures("healthy")

SMALL = ConcentricRings(height_um=1.6, width_um=1.6)
SHORT = ReconstructionOptions(difference_map_iterations=50, maximum_likelihood_iterations=30)


@pytest.mark.parametrize("plan", [ptycho_scan, ptycho_fly_scan])
def test_its_map_is_as_good_as_that_of_devices_in_process(
    engine: RunEngine,
    ioc: IocProcess,
    wired: Any,
    make_live: Any,
    tiled: Any,
    plan: Any,
) -> None:
    live = make_live(data=ioc.directory)
    engine.subscribe(live)
    engine(plan(wired, trajectory=SMALL, options=SHORT, exposure_s=0.2))
    outcome = live.wait(timeout=120)
    assert outcome.error is None
    reconstruction = tiled["reconstructions"][outcome.uid]
    assert len(reconstruction.positions) == len(SMALL.offsets_um())
    found = _score(reconstruction)
    assert found.phase_error < 0.45
    assert found.frc_05_nm < 27
