"""A map of few photons finds the film where it is, and every one of them counts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg

from ptycho_plugin.errors import DoseRefusal, InputError, PreflightRefusal
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.plans import DoseGuard, stxm_map
from ptycho_plugin.postprocess.stxm import StxmMap, find_regions, material
from ptycho_plugin.trajectory import Raster

WIDE = Raster(step_um=1.4, height_um=14.0, width_um=14.0)
FEW = Raster(step_um=1.0, height_um=1.0, width_um=2.0)
HALF_FILM_UM = 4.0


def mapped(engine: RunEngine, beamline: Any, **arguments: Any) -> StxmMap:
    found = []

    def plan() -> Iterator[Msg]:
        found.append((yield from stxm_map(beamline, **arguments)))

    engine(plan())
    return found[0]


@pytest.fixture(autouse=True)
def in_the_middle(beamline: Any) -> Iterator[None]:
    """The piezo stage, whose beamline other tests share."""
    yield
    for axis in (beamline.stage.y, beamline.stage.x):
        axis.set(0.0).wait(timeout=5)


@pytest.fixture
def alignment(film: Any) -> DoseGuard:
    return DoseGuard(film.beamline, film.ledger, "film", kind="alignment")


def test_it_finds_an_off_centre_film_and_its_exposures_count_in_a_region_placed_there(
    engine: RunEngine, film: Any, alignment: DoseGuard, documents: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    # The small crop of these tests holds little of what is scattered: more photons than it takes otherwise.
    light = {"exposure_s": 0.1, "transmission": 0.5}
    found = mapped(engine, film.beamline, raster=WIDE, centre_um=(2.0, -2.3), guard=alignment, **light)
    from_middle = np.abs(found.stage_um).max(axis=-1)
    there = material(found)
    assert there[from_middle < HALF_FILM_UM - WIDE.step_um].all()
    assert there[from_middle < HALF_FILM_UM].mean() > 0.85, "its four corners may be lost"
    assert not there[from_middle > HALF_FILM_UM].any()
    (place,) = find_regions(found, size_um=4.0)
    assert np.abs(place).max() <= HALF_FILM_UM - 2.0

    region = film.ledger.samples.place_region("film", "1", "found", stage_um=place, reach_um=2.0)
    exposures = film.ledger.exposures(region)
    inside = np.abs(found.stage_um - np.array(place)).max(axis=-1) <= 2.0
    assert len(exposures) == np.count_nonzero(inside) == 9
    assert set(exposures.kind) == {"alignment"}
    everything = film.ledger.exposures_of_sample("film")
    assert len(everything) == np.prod(WIDE.shape)
    on_film = everything.where(np.abs(everything.positions_um).max(axis=1) <= HALF_FILM_UM)
    assert abs(on_film.photons.sum() - film.received) <= 3 * on_film.photons_uncertainty.sum()

    (start,) = documents.of("start")
    scan = ScanMetadata.from_start(start)
    assert (scan.purpose, scan.trajectory, start["plan_name"]) == ("alignment", WIDE, "stxm_map")
    assert start["sample"] == "film"
    printed = capsys.readouterr().out
    for said in (
        "the largest dose is about",
        "counts in every region",
        "'film' that lies there, now or later",
    ):
        assert said in " ".join(printed.replace("│", "").split())


def test_stage_and_attenuator_come_back(engine: RunEngine, film: Any, alignment: DoseGuard) -> None:
    beamline = film.beamline
    beamline.stage.y.set(1.5).wait(timeout=5)
    mapped(engine, beamline, raster=FEW, guard=alignment)
    assert (beamline.stage.y.position, beamline.attenuator.position) == (1.5, 1.0)
    assert film.ledger.exposures_of_sample("film").photons.max() < 0.11 * 0.024 * 5e6
    assert not film.is_open


def test_the_coarse_stage_maps_where_it_stands(
    engine: RunEngine, film: Any, alignment: DoseGuard, documents: Any
) -> None:
    beamline = film.beamline
    for axis, at_um in ((beamline.stage.y, 0.0), (beamline.stage.x, 0.25), (beamline.coarse.y, 2.0)):
        axis.set(at_um).wait(timeout=5)
    found = mapped(engine, beamline, raster=FEW, stage="coarse", guard=alignment)
    expected = FEW.image(FEW.offsets_um() + np.array([2.0, 0.25]))
    np.testing.assert_allclose(found.stage_um, expected, atol=1e-6)
    kept = film.ledger.exposures_of_sample("film").positions_um
    np.testing.assert_allclose(FEW.image(kept), expected, atol=1e-6)
    assert (beamline.coarse.y.position, beamline.coarse.x.position) == (2.0, 0.0)
    scan = ScanMetadata.from_start(documents.of("start")[0])
    assert scan.position_keys == ("coarse_y", "coarse_x")
    assert [event["data"]["coarse_x"] for event in documents.events()] == [-1, 0, 1, 1, 0, -1]


def test_in_a_region_it_says_what_it_takes_of_the_budget_and_keeps_to_it(
    engine: RunEngine, film: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = DoseGuard(film.beamline, film.ledger, film.region, kind="alignment")
    mapped(engine, film.beamline, raster=FEW, guard=guard)
    printed = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "it takes region 'A' in area '1' of 'film' from 0 to 0.0" in printed
    assert "1000 kGy in PMMA are allowed" in printed
    before = film.received
    film.ledger.samples.set_budget(film.region, film.budget.model_copy(update={"dose": 1.5 * film.peak()}))
    with pytest.raises(DoseRefusal, match="the scan would take region 'A'"):
        mapped(engine, film.beamline, raster=FEW, guard=guard)
    assert film.received == before
    assert film.beamline.attenuator.position == 1.0


def test_what_cannot_be_mapped_is_refused_before_the_shutter_opens(
    engine: RunEngine, film: Any, guard: DoseGuard
) -> None:
    with pytest.raises(InputError, match="counts exposures of kind 'scan': give it kind='alignment'"):
        mapped(engine, film.beamline, raster=FEW, guard=guard)
    with pytest.raises(PreflightRefusal, match="where the stage's limit is 50"):
        mapped(engine, film.beamline, raster=FEW, centre_um=(0.0, 60.0))
    with pytest.raises(InputError, match="transmission"):
        stxm_map(film.beamline, transmission=0.0)
    assert not film.beamline.shutter.openings_s
