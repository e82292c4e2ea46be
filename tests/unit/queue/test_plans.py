"""Queued plans run as those of the house do, guarded whatever is queued."""

import json
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from bluesky import RunEngine
from bluesky.simulators import RunEngineSimulator, check_limits
from bluesky.utils import is_plan
from bluesky_queueserver.manager.profile_ops import (
    existing_plans_and_devices_from_nspace,
    load_user_group_permissions,
    validate_plan,
)

from ptycho_plugin import queue
from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.errors import DoseRefusal, InputError, LedgerError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Budget, Ledger
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans.stop_rule import RepeatDone
from ptycho_plugin.plans.stubs import go_to_region
from ptycho_plugin.postprocess.stopping import StopCriteria, Verdict
from ptycho_plugin.queue.plans import queued_plans
from ptycho_plugin.queue.session import Session

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
BUDGET = {"dose": 1e6, "material": "PMMA", "formula": "C5H8O2"}
FIELD = {"kind": "concentric_rings", "height_um": 0.5, "width_um": 0.5}
REGION = {"sample": "film", "area": "1", "region": "A"}


class Quick(Session):
    """A session whose stop rule needs no process."""

    asked: ClassVar[list[StopCriteria]] = []

    def stop_rule(self, criteria: StopCriteria) -> Any:
        self.asked.append(criteria)

        def rule(done: RepeatDone) -> Any:
            yield from ()
            return Verdict(stop=True, reason=f"enough of {done.region.name}")

        return rule


@pytest.fixture
def session(engine: RunEngine, store: Any, tmp_path: Path) -> Iterator[Session]:
    beamline = simulated_beamline(
        tmp_path / "frames", calibrations=store, time_factor=0, geometry=GEOMETRY, optic=OPTIC
    )
    with Ledger(tmp_path / "ledger", new=True) as ledger:
        ledger.samples.mount("film")
        place = beamline.place_um("sample")
        region = ledger.samples.place_region("film", "1", "A", stage_um=place, reach_um=1.5)
        ledger.samples.set_budget(region, Budget(**BUDGET))
        yield Quick(engine, beamline, ledger, "http://127.0.0.1:9/api/v1", tmp_path)


@pytest.fixture
def plans(session: Session) -> dict[str, Any]:
    return queued_plans(session)


@pytest.fixture
def starts(engine: RunEngine) -> list[dict[str, Any]]:
    """The start documents of its runs."""
    documents: list[dict[str, Any]] = []
    engine.subscribe(lambda _, document: documents.append(document), "start")
    return documents


@pytest.fixture
def run(session: Session, plans: dict[str, Any]) -> Any:
    """Return a function that runs a plan with arguments that have been JSON."""

    def run(plan: str, **said: Any) -> Any:
        return session.engine(plans[plan](**json.loads(json.dumps(said))))

    return run


def test_the_queue_server_knows_them_and_every_argument_says_what_it_is(plans: dict[str, Any]) -> None:
    described, devices, *_ = existing_plans_and_devices_from_nspace(nspace=plans)
    assert all(map(is_plan, plans.values()))
    assert (set(described), devices) == (set(plans), {})
    for name, plan in described.items():
        assert "description" in plan
        for argument in plan["parameters"]:
            assert argument["name"] not in ("beamline", "ledger", "guard")
            assert {"description", "annotation"} <= set(argument), name
        required = [one["name"] for one in plan["parameters"] if "default" not in one]
        needed = {argument: 6400.0 if argument == "energy_eV" else "film" for argument in required}
        item = {"name": name, "kwargs": needed}
        assert validate_plan(item, allowed_plans=described, allowed_devices={}) == (True, "")


def test_the_defaults_that_are_shown_can_be_sent(plans: dict[str, Any], run: Any) -> None:
    described, *_ = existing_plans_and_devices_from_nspace(nspace=plans)
    run("calibrate_flux")
    shown = described["ptycho_scan"]["parameters"]
    defaults = {one["name"]: literal_eval(one["default"]) for one in shown if "default" in one}
    run("ptycho_scan", **REGION, **defaults | {"trajectory": FIELD})


def test_a_beamline_is_calibrated_and_a_region_scanned(
    run: Any, session: Session, starts: list[dict[str, Any]], store: Any
) -> None:
    run("find_beam_centre", transmission=0.5)
    (background,) = run("background_frames", frames=2)
    metadata = ScanMetadata.from_start(starts[-1])
    store.runs[background] = metadata, session.beamline.detector.frame_shape
    run("calibrate_flux")
    run("probe_calibration", trajectory=FIELD)
    session.beamline.coarse.y.set(0.0).wait(timeout=5)
    sample = {"name": "film", "thickness_um": 3}
    run("ptycho_scan", **REGION | {"sample": sample}, trajectory=FIELD, background_run=background)
    names = ["find_beam_centre", "background_frames", "calibrate_flux", "probe_calibration", "ptycho_scan"]
    assert [start["plan_name"] for start in starts] == names
    assert starts[-1]["repeat"] == 1
    assert starts[-1]["ptycho"]["coarse_um"] == list(session.beamline.place_um("sample"))
    with pytest.raises(DoseRefusal, match=r"repeat 1 of region 'A' .* is complete"):
        run("ptycho_scan", **REGION, trajectory=FIELD)


def test_an_overview_counts_for_the_sample(run: Any, session: Session) -> None:
    run("calibrate_flux")
    region = session.ledger.samples.region(*REGION.values())
    session.engine(go_to_region(session.beamline, session.beamline.place_um("sample")))
    run("stxm_map", sample="film", raster={"step_um": 0.5, "height_um": 1, "width_um": 1})
    assert list(session.ledger.exposures(region).kind) == ["alignment"] * 9


def test_a_series_stops_by_what_was_queued(run: Any, session: Session, starts: list[dict[str, Any]]) -> None:
    run("calibrate_flux")
    matrix = {"areas": ["1"], "regions": ["A", "B"], "repeats": 2, "region_step_um": [0, 3], "reach_um": 1.5}
    criteria = {"damage": None, "resolution": {"resolution": 3e-8}}
    run("dose_series", sample="film", matrix=matrix, budget=BUDGET, trajectory=FIELD, stop_rule=criteria)
    assert [(start["region"], start["repeat"]) for start in starts[1:]] == [("A", 1), ("B", 1)]
    assert Quick.asked[-1] == StopCriteria(**criteria)


@pytest.mark.parametrize(
    ("plan", "said", "sentence"),
    [
        ("ptycho_scan", {"sample": "film"}, r"^ptycho_scan lacks area: it takes sample, area, region"),
        ("ptycho_scan", REGION | {"repeat": 0}, r"^ptycho_scan: repeat = 0 cannot be used: "),
        ("ptycho_scan", REGION | {"guard": None}, r"^ptycho_scan has no guard: it takes "),
        ("stxm_map", {}, r"^stxm_map lacks sample: it takes "),
        ("dose_series", {"sample": "film", "budget": {"dose": 0}}, r"^dose_series: budget"),
    ],
)
def test_a_bad_argument_is_named_at_the_call(
    plans: dict[str, Any], plan: str, said: Any, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        plans[plan](**said)


def test_a_sample_that_the_ledger_does_not_know_is_named(plans: dict[str, Any]) -> None:
    with pytest.raises(LedgerError, match="the ledger knows no sample 'foil'"):
        plans["ptycho_scan"](**REGION | {"sample": "foil"})


def test_the_permissions_can_be_read(plans: dict[str, Any]) -> None:
    (folder,) = queue.__path__
    groups = load_user_group_permissions(f"{folder}/user_group_permissions.yaml")["user_groups"]
    assert set(groups["primary"]["allowed_plans"]) <= set(plans)
    assert set(groups) == {"root", "primary", "staff"}


@pytest.mark.parametrize(
    ("plan", "said", "exposures"),
    [
        ("find_beam_centre", {}, 1),
        ("background_frames", {"frames": 3}, 3),
        ("calibrate_flux", {"frames": 2}, 2),
        ("probe_calibration", {"trajectory": FIELD}, 6),
        ("ptycho_scan", REGION, 0),
        ("dose_series", {"sample": "film"}, 0),
    ],
)
def test_what_is_only_looked_at_exposes_nothing(
    plans: dict[str, Any], session: Session, plan: str, said: dict[str, Any], exposures: int
) -> None:
    messages = RunEngineSimulator().simulate_plan(plans[plan](**said))
    check_limits(plans[plan](**said))
    detector = session.beamline.detector
    assert sum(one.command == "trigger" and one.obj is detector for one in messages) == exposures
    assert session.beamline.shutter.openings_s == []
    assert not len(session.ledger.exposures(session.ledger.samples.region(*REGION.values())).run_uid)
