"""What a series is said to cost, against numbers worked out by hand."""

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ptycho_plugin.devices import Beamline, simulated_beamline
from ptycho_plugin.errors import DoseRefusal
from ptycho_plugin.ledger import Budget, Ledger
from ptycho_plugin.plans.series_forecast import SeriesForecast, forecast
from ptycho_plugin.plans.series_work import Protocol, series_work
from ptycho_plugin.region_matrix import RegionMatrix
from ptycho_plugin.trajectory import ConcentricRings, RecordedPositions, Trajectory

PHOTONS = 1e6
LINE = RecordedPositions(points_um=((0.0, 0.0), (0.0, 0.5), (0.0, 1.5)))
FOUR = RegionMatrix(areas=("1", "2"), regions=("A", "B"), reach_um=2.0, repeats=2)


@pytest.fixture(scope="module")
def beamline(tmp_path_factory: pytest.TempPathFactory) -> Beamline:
    return simulated_beamline(tmp_path_factory.mktemp("frames"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger", new=True) as ledger:
        ledger.samples.mount("film")
        yield ledger


def expected(
    beamline: Beamline, ledger: Ledger, matrix: RegionMatrix, trajectory: Trajectory, dose: float = 1e9
) -> SeriesForecast:
    protocol = Protocol(trajectory, 8.5, 0.2, beamline.geometry.energy_eV, 1.0)
    budget = Budget(dose=dose, material="PMMA", formula="C5H8O2")
    work = series_work(beamline, ledger, "film", matrix, protocol, budget, again=False)
    probe = beamline.optic.probe(beamline.geometry)  # type: ignore[union-attr]
    return forecast(
        beamline, ledger, work, exposure_s=0.2, photons=PHOTONS, coarse_um=(0.0, -1000.0), probe=probe
    )


def shown(found: SeriesForecast) -> str:
    console = Console(width=80, file=StringIO())
    console.print(found.table())
    return " ".join(console.file.getvalue().split())


def test_the_dose_of_the_published_scan(beamline: Beamline, ledger: Ledger) -> None:
    by_hand = 27.24e3  # 324 x 1e6 photons over 4 x 4 um in PMMA, decision 11
    for repeats in (1, 5):
        matrix = RegionMatrix(areas=("1",), regions=("A",), repeats=repeats)
        (region,) = expected(beamline, ledger, matrix, ConcentricRings()).regions
        assert region.dose_before == 0
        assert region.dose_after == pytest.approx(repeats * by_hand, rel=0.03)


def test_time_and_data(beamline: Beamline, ledger: Ledger) -> None:
    found = expected(beamline, ledger, FOUR, LINE)
    assert (found.repeats, found.points) == (8, 24)
    each = 6 * (0.003 + 0.2 + 0.004 + 0.003) + 5 * 0.01 + (0.5 + 1.0 + 1.5 + 0.5 + 1.0) / 200
    assert found.regions[3].seconds == pytest.approx(each)
    coarse = 4 * 0.1 + (1000 + 50 + 6950 + 50) / 2000
    assert found.seconds == pytest.approx(4 * each + coarse)
    assert found.bytes_at_most == 24 * 1679 * 1475 * 4
    text = shown(found)
    assert "│ 2 B │ 2 │ 6 │ 0 Gy │" in text
    assert "│ total │ 8 │ 24 │" in text
    assert "238 MB of frames, before compression" in text


def test_stages_of_unknown_speed_are_told(beamline: Beamline, ledger: Ledger) -> None:
    unknown = replace(beamline, stage_timing=None, coarse_timing=None)
    found = expected(unknown, ledger, FOUR, LINE)
    assert found.seconds == pytest.approx(24 * 0.21)
    assert found.to_metadata()["seconds_without_moves_of"] == ["piezo", "coarse"]
    assert "without moves of the piezo and the coarse stage" in shown(found)


def test_the_hardware_may_set_the_pace(beamline: Beamline, ledger: Ledger) -> None:
    slow = replace(beamline, stage_timing=None, coarse_timing=None, trigger_period_s=0.5)
    assert expected(slow, ledger, FOUR, LINE).seconds == pytest.approx(24 * 0.5)


def test_what_a_neighbour_will_leave_in_a_region_counts(beamline: Beamline, ledger: Ledger) -> None:
    near = RegionMatrix(areas=("1",), regions=("A", "B"), region_step_um=(0.0, 0.2), repeats=1, reach_um=2.0)
    alone = expected(
        beamline, ledger, RegionMatrix(areas=("1",), regions=("A",), repeats=1, reach_um=2.0), LINE
    )
    both = expected(beamline, ledger, near, LINE)
    for region in both.regions:
        assert region.dose_after == pytest.approx(2 * alone.regions[0].dose_after, rel=0.3)
    single = alone.regions[0].dose_after
    with pytest.raises(DoseRefusal, match=r"and 1 more of the regions.* not one of them would fit"):
        expected(beamline, ledger, near, LINE, dose=1.2 * single).raise_refusal()


def test_a_refusal_says_how_many_repeats_fit(beamline: Beamline, ledger: Ledger) -> None:
    matrix = RegionMatrix(areas=("1",), regions=("A",), reach_um=2.0)
    single = expected(beamline, ledger, matrix.model_copy(update={"repeats": 1}), LINE).regions[0].dose_after
    expected(beamline, ledger, matrix, LINE, dose=5.25 * single).raise_refusal()
    found = expected(
        beamline, ledger, matrix, LINE, dose=5.001 * single
    )  # no room for the last exposure's bound
    assert found.regions[0].fit == 4
    with pytest.raises(
        DoseRefusal, match=r"in 5 repeats, from 0 Gy so far, .* 4 of them would fit; make fewer"
    ):
        found.raise_refusal()
