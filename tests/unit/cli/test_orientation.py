import json

import pytest

from ptycho_plugin.orientation import DetectorOrientation, PositionSign
from ptycho_plugin.reconstruction.orientation_evidence import FoundOrientation


@pytest.fixture
def search(monkeypatch):
    """A stand-in for the search, which records what it was asked."""
    calls = []

    def find(dataset, *, report, **options):
        calls.append((dataset, options))
        report(1, 8)
        return FoundOrientation(
            orientation=DetectorOrientation.TRANSPOSE,
            position_sign=PositionSign.SAMPLE,
            verdict="transpose with sample positions: class by data consistency",
            candidates=(),
            evidence=(),
            trials=(),
            known_position_sign=PositionSign.SAMPLE,
            frames=len(dataset),
        )

    monkeypatch.setattr("ptycho_plugin.reconstruction.orientation_search.find_orientation", find)
    return calls


def test_it_prints_the_verdict_and_one_line_of_json(ptycho, search, scan_file):
    status, stdout, stderr = ptycho("orientation", scan_file)
    assert (status, stderr) == (0, "")
    verdict, answer = stdout.splitlines()
    assert json.loads(answer)["verdict"] == verdict
    assert json.loads(answer)["orientation"] == "transpose"
    assert FoundOrientation.model_validate_json(answer).position_sign is PositionSign.SAMPLE


def test_options_reach_the_search(ptycho, search, scan_file):
    chosen = ("--position-sign", "sample", "--no-denser-is-more-negative", "--frames", 60)
    assert ptycho("orientation", scan_file, *chosen)[0] == 0
    assert search[0][1] == {
        "position_sign": PositionSign.SAMPLE,
        "denser_is_more_negative": False,
        "frames": 60,
    }
    ptycho("orientation", scan_file)
    assert search[1][1] == {"position_sign": None, "denser_is_more_negative": True, "frames": 100}


@pytest.mark.parametrize(
    ("name", "message"),
    [("scan.h5", "12 frames do not tell the orientation"), ("none.h5", "is not a file")],
)
def test_a_mistake_is_one_sentence(ptycho, scan_file, name, message):
    status, stdout, stderr = ptycho("orientation", scan_file.with_name(name))
    assert (status, stdout) == (2, "")
    assert stderr.startswith("ptycho: ")
    assert message in stderr
    assert len(stderr.splitlines()) == 1
