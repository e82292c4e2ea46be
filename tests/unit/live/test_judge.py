"""A region between two repeats: maps are made once, kept, and compared."""

import json
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from event_model import RunRouter

from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.io.repeat_file import read_repeat
from ptycho_plugin.live import judge as module
from ptycho_plugin.live.judge import judge, kept_map
from ptycho_plugin.live.question import MeasuredRepeat, Question
from ptycho_plugin.live.spool import SpoolWriter
from ptycho_plugin.metadata import START_KEY
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans.scan import ptycho_scan
from ptycho_plugin.postprocess.frc import ring_correlation
from ptycho_plugin.postprocess.repeats import RepeatSeries
from ptycho_plugin.postprocess.stopping import ResolutionReached, StopCriteria
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
RINGS = ConcentricRings(radial_step_um=0.25, height_um=1.5, width_um=1.5)
QUICK = ReconstructionOptions(
    difference_map_iterations=0, least_squares_iterations=15, maximum_likelihood_iterations=5
)
EASY = StopCriteria(damage=None, resolution=ResolutionReached(resolution=9e-6))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frames")


@pytest.fixture(scope="module")
def spool(module_engine: RunEngine, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of three runs: a repeat, and another that broke off and was measured again."""
    folder = tmp_path_factory.mktemp("spool")
    beamline = simulated_beamline(frames, time_factor=0.0, geometry=GEOMETRY, optic=OPTIC)
    row, column = beamline.place_um("sample")
    module_engine(bps.mv(beamline.coarse.y, row, beamline.coarse.x, column))
    for name, turn in (("first", 0.0), ("second", 8.5), ("rest", 8.5)):
        documents: list[Any] = []
        rings = RINGS.model_copy(update={"turn_deg": turn})
        scan = ptycho_scan(beamline, trajectory=rings, centre_um=(0.2, -0.1))
        keep = lambda *document, to=documents: to.append(document)  # noqa: E731
        module_engine(scan, RunRouter([lambda *_, keep=keep: ([keep], [])]))
        if name == "rest":
            documents[0][1][START_KEY]["continues"] = ["second"]
        writer = SpoolWriter(folder / name)
        for document in documents[: len(documents) // 2] if name == "second" else documents:
            writer.append(*document)
        writer.close()
    return folder


@pytest.fixture
def question(spool: Path) -> Iterator[Question]:
    yield Question(
        repeats=(
            MeasuredRepeat(run=spool / "first", dose_before=0.0, dose_after=1.0, photons=1e6),
            MeasuredRepeat(run=spool / "rest", dose_before=1.0, dose_after=2.5, photons=1e6),
        ),
        criteria=EASY,
        recipe=QUICK,
    )
    for kept in spool.glob("*/repeat-*.h5"):
        kept.unlink()


def test_repeats_are_reconstructed_once_and_compared(
    question: Question, spool: Path, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = judge(question, frames, None)
    assert verdict.stop
    assert "the average of 2 repeats resolves" in verdict.reason
    repeats = [read_repeat(kept_map(spool / name, QUICK)) for name in ("first", "rest")]
    assert [(repeat.dose_before, repeat.dose_after) for repeat in repeats] == [(0.0, 1.0), (1.0, 2.5)]
    ((first, second),) = RepeatSeries(repeats).pairs()
    assert ring_correlation(first, second).correlation[2:6].min() > 0.8
    monkeypatch.setattr(module, "reconstruct", None)
    assert judge(question, frames, None) == verdict


def test_maps_of_another_recipe_are_not_taken_for_its_own(
    question: Question, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(question, frames, None)
    recipes: list[ReconstructionOptions] = []

    def reconstruct(scan: Any, recipe: ReconstructionOptions) -> Any:
        recipes.append(recipe)
        return reconstruct_truly(scan, recipe)

    reconstruct_truly = module.reconstruct
    monkeypatch.setattr(module, "reconstruct", reconstruct)
    other = QUICK.model_copy(update={"maximum_likelihood_iterations": 1})
    judge(question.model_copy(update={"recipe": other}), frames, None)
    assert recipes == [other, other]


@pytest.mark.parametrize("documents", [0, 1])
def test_a_repeat_that_took_nothing_is_named(
    documents: int, question: Question, spool: Path, frames: Path
) -> None:
    lines = (spool / "first/documents.jsonl").read_text().splitlines(keepends=True)
    empty = spool / f"empty-{documents}"
    empty.mkdir()
    (empty / "documents.jsonl").write_text("".join(lines[:documents]))
    measured = MeasuredRepeat(run=empty, dose_before=0.0, dose_after=1.0, photons=1e6)
    with pytest.raises(InputError, match="holds no exposure"):
        judge(question.model_copy(update={"repeats": (measured,)}), frames, None)


@pytest.mark.parametrize(
    ("asked", "said"),
    [("{}", "Question lacks repeats"), ("nonsense", "Question"), ('{"repeats": []}', "Question")],
)
def test_a_question_that_is_none_is_told(
    asked: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["judge", "--tiled", "http://127.0.0.1:9", "--data", "."])
    monkeypatch.setattr(sys, "stdin", StringIO(asked))
    assert module.main() == 1
    assert said in json.loads(capsys.readouterr().out)["error"]
