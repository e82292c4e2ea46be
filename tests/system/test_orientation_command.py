"""``ptycho orientation`` as a user runs it, in a process of its own, on recorded scans."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ptycho_plugin.io import read_dataset, write_dataset
from ptycho_plugin.orientation import DetectorOrientation, PositionSign
from ptycho_plugin.reconstruction.orientation_evidence import Hypothesis
from ptycho_plugin.reconstruction.orientation_search import read_as

PTYCHO = Path(sys.executable).with_name("ptycho")


@pytest.mark.parametrize(
    ("name", "turned", "back", "sign"),
    [
        (
            "aps_siemens_star.h5",
            DetectorOrientation.TRANSPOSE_FLIP_ROWS,
            DetectorOrientation.TRANSPOSE_FLIP_COLUMNS,
            PositionSign.PROBE,
        ),
        (
            "standard_case.h5",
            DetectorOrientation.ROTATE_180,
            DetectorOrientation.ROTATE_180,
            PositionSign.SAMPLE,
        ),
    ],
)
def test_a_recorded_scan_tells_how_it_was_mounted(shared_data, tmp_path, name, turned, back, sign):
    """One mounting of each: the others read the same frames under other names."""
    if not (shared_data / name).is_file():
        pytest.skip(f"{name} is not in {shared_data}")
    mounting = Hypothesis(orientation=turned, position_sign=sign)
    write_dataset(tmp_path / "scan.h5", read_as(read_dataset(shared_data / name), mounting))
    arguments = [PTYCHO, "orientation", tmp_path / "scan.h5", "--position-sign", sign]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["orientation"], found["position_sign"]) == (back, sign)
    assert max(trial["chance"] for trial in found["trials"][1:]) < 1e-6


def test_a_scan_without_a_start_probe_is_one_sentence(shared_data):
    file = shared_data / "petra_p25_nearfield.cxi"
    if not file.is_file():
        pytest.skip(f"{file.name} is not in {shared_data}")
    done = subprocess.run([PTYCHO, "orientation", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no start probe" in done.stderr
    assert len(done.stderr.splitlines()) == 1
