"""A trajectory under the guard: reserved as a whole, and told as the sample received it."""

from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from ptycho_plugin.plans import DoseGuard, ptycho_fly_scan
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)
POINTS = SMALL.offsets_um()
REPEAT = 3


@pytest.fixture
def fly(film: Any) -> Any:
    """Return the same call of a new session's; keyword arguments change it."""

    def fly(**changes: Any) -> Any:
        guard = DoseGuard(film.beamline, film.ledger, film.region, repeat=changes.pop("repeat", REPEAT))
        return ptycho_fly_scan(film.beamline, **{"trajectory": SMALL, "guard": guard, **changes})

    return fly


def test_a_trajectory_is_in_the_ledger_as_the_sample_received_it(
    engine: RunEngine, film: Any, documents: Any, fly: Any
) -> None:
    engine(fly())
    exposures = film.assert_told()
    points = exposures.where(exposures.kind == "scan")
    ways = exposures.where(exposures.kind == "transit")
    assert points.point.tolist() == list(range(len(POINTS)))
    assert set(points.frame) == {"saved"}
    np.testing.assert_allclose(points.start_um, POINTS, atol=1e-6)
    np.testing.assert_allclose(ways.start_um, POINTS[:-1], atol=1e-6)
    np.testing.assert_allclose(ways.end_um, POINTS[1:], atol=1e-6)
    assert ways.open_s == pytest.approx(film.beamline.transits_s(POINTS))
    events = documents.events()
    assert [event["seq_num"] for event in events] == list(range(1, len(POINTS) + 1))
