"""What of a trajectory came where, told by numbers alone."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.devices.beamline import Captured
from ptycho_plugin.dose import Photons
from ptycho_plugin.plans.landing import NOT_REACHED, Landing, Rate
from ptycho_plugin.plans.trajectory_light import TrajectoryLight

POINTS = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
GATE_S, WAY_S, PER_S, CLOSING_S = 0.2, 0.05, 1000.0, 0.004
LIGHT = TrajectoryLight.along(POINTS, GATE_S, np.full(2, WAY_S), CLOSING_S)
COARSE_UM = (100.0, 0.0)
NOW = datetime.now(UTC)


class Calibration:
    """A count is a photon, 1 % uncertain."""

    def photons(self, counts: float) -> Photons:
        return Photons(counts, 0.01 * counts)


def intents() -> list[Any]:
    return [
        SimpleNamespace(
            start_um=tuple(start), end_um=tuple(end), open_s=seconds, photons_at_most=1.1 * PER_S * seconds
        )
        for (start, end), seconds in zip(
            LIGHT.shifted(COARSE_UM).paths_um.tolist(), LIGHT.seconds.tolist(), strict=True
        )
    ]


def landing(
    gates: int, lit_s: float, *, counts: Any = None, begun: int | None = None, told: int = 0
) -> Landing:
    starts = np.arange(gates) * (GATE_S + WAY_S)
    captured = Captured(
        POINTS[:gates],
        np.full(gates, PER_S * GATE_S) if counts is None else np.array(counts),
        np.stack([starts, starts + GATE_S], axis=1),
        gates if begun is None else begun,
    )
    rate: Any = Rate(Calibration(), PER_S, COARSE_UM)
    return Landing(intents(), captured, told, rate, (NOW, NOW), lit_s, jitter_s=0.0005)


WHOLE_S = 3 * GATE_S + 2 * WAY_S


def photons(rows: dict[int, Any]) -> float:
    return sum(row.photons for row in rows.values() if not isinstance(row, str))


def test_light_alternates_between_points_and_ways() -> None:
    assert LIGHT.seconds.tolist() == pytest.approx([GATE_S, WAY_S, GATE_S, WAY_S, GATE_S + CLOSING_S])
    assert LIGHT.paths_um[::2].tolist() == [[point, point] for point in POINTS.tolist()]
    assert LIGHT.paths_um[1::2].tolist() == np.stack([POINTS[:-1], POINTS[1:]], axis=1).tolist()
    assert LIGHT.transit_s == pytest.approx(2 * WAY_S)


def test_a_single_point_has_no_way() -> None:
    light = TrajectoryLight.along(POINTS[:1], GATE_S, np.empty(0), CLOSING_S)
    assert light.seconds.tolist() == pytest.approx([GATE_S + CLOSING_S])
    assert light.transit_s == 0


def test_a_whole_one_is_all_that_came_while_the_shutter_was_open() -> None:
    rows = landing(3, WHOLE_S + CLOSING_S, told=3).outcomes()
    assert sorted(rows) == [0, 1, 2, 3, 4]
    assert [row.frame for _, row in sorted(rows.items())] == ["saved", "none", "saved", "none", "saved"]
    assert photons(rows) == pytest.approx(PER_S * (WHOLE_S + CLOSING_S))
    assert rows[4].photons == pytest.approx(PER_S * (GATE_S + CLOSING_S))
    assert rows[4].open_s == pytest.approx(GATE_S + CLOSING_S)
    assert rows[1].start_um == (100.0, 0.0)
    assert rows[1].end_um == (100.0, 1.0)


def test_one_that_was_stopped_left_light_on_its_way_and_reached_no_more() -> None:
    rows = landing(1, GATE_S + 0.03, told=1).outcomes()
    assert [rows[row] for row in (2, 3, 4)] == [NOT_REACHED] * 3
    assert (rows[1].frame, rows[1].open_s) == ("none", pytest.approx(0.03))
    assert photons(rows) == pytest.approx(PER_S * (GATE_S + 0.03))
    assert landing(1, GATE_S, told=1).outcomes()[1] == NOT_REACHED


def test_light_before_the_first_gate_fell_on_the_first_point() -> None:
    rows = landing(0, 0.01).outcomes()
    assert (rows[0].frame, rows[0].photons) == ("none", pytest.approx(PER_S * 0.01))
    assert rows[0].photons_uncertainty >= 0.1 * rows[0].photons
    assert [rows[row] for row in (1, 2, 3, 4)] == [NOT_REACHED] * 4


def test_a_shutter_that_closed_early_leaves_the_rest_dark() -> None:
    rows = landing(3, GATE_S + 0.02, counts=[PER_S * GATE_S, 0, 0], told=3).outcomes()
    assert rows[1].open_s == pytest.approx(0.02)
    assert rows[1].photons == pytest.approx(PER_S * 0.02)
    assert [rows[row].photons for row in (2, 3, 4)] == [0, 0, 0]


def test_a_gate_that_was_cut_is_left_uncertain_and_lost_where_more_came_than_its_bound() -> None:
    rows = landing(1, GATE_S + WAY_S + 0.1, begun=2, told=1).outcomes()
    assert sorted(rows) == [0, 1, 3, 4]
    assert rows[1].open_s == pytest.approx(WAY_S)
    longer = landing(1, GATE_S + WAY_S + 5.0, begun=2, told=1).outcomes()
    assert (longer[2].frame, longer[2].photons) == ("lost", pytest.approx(1.1 * PER_S * 5.0))
    first = landing(0, 0.1, begun=1).outcomes()
    assert sorted(first) == [1, 2, 3, 4]


def test_frames_that_nobody_told_of_are_lost() -> None:
    rows = landing(3, WHOLE_S, told=1).outcomes()
    assert [rows[row].frame for row in (0, 2, 4)] == ["saved", "lost", "lost"]


def test_the_rate_is_that_of_the_lit_gates() -> None:
    assert landing(3, WHOLE_S, counts=[100, 200, 300]).photons_per_s == pytest.approx(1000)
    assert landing(3, 2 * GATE_S + WAY_S, counts=[100, 200, 0]).photons_per_s == pytest.approx(750)
    assert landing(0, 0.1).photons_per_s is None
