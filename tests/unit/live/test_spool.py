"""Documents through a file that is read while it is written."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptycho_plugin.live.spool import FILE_NAME, SpoolReader, SpoolWriter, may_grow


def test_documents_come_out_as_they_went_in(tmp_path: Path) -> None:
    writer, document = SpoolWriter(tmp_path / "run"), {"uid": "u", "time": 1.5, "data": {"x": [1, None]}}
    reader = SpoolReader(tmp_path / "run")
    writer.append("start", document)
    assert list(reader.read()) == [("start", document)]
    assert list(reader.read()) == []
    writer.append("stop", {"n": np.float32(0.5), "m": np.int64(3), "a": np.arange(2)})
    assert list(reader.read()) == [("stop", {"n": 0.5, "m": 3, "a": [0, 1]})]
    writer.close()


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    line = '["start", {"name": "ä"}]\n'.encode()
    reader = SpoolReader(tmp_path)
    for length in range(len(line)):
        path.write_bytes(line[:length])
        assert list(reader.read()) == []
    path.write_bytes(line + line[:3])
    assert list(reader.read()) == [("start", {"name": "ä"})]
    assert reader.malformed == 0


@pytest.mark.parametrize("bad", ["{", "[]", '["start"]', "[1, {}]", '["start", 3]', "null", ""])
def test_a_line_that_is_no_document_is_left_out(tmp_path: Path, bad: str) -> None:
    (tmp_path / FILE_NAME).write_text(f'["start", {{}}]\n{bad}\n["stop", {{}}]\n')
    reader = SpoolReader(tmp_path)
    assert [name for name, _ in reader.read()] == ["start", "stop"]
    assert reader.malformed == 1


def test_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    with pytest.raises(TypeError, match="object cannot be written"):
        writer.append("start", {"x": object()})
    writer.close()


def test_a_torn_line_is_cut_off_when_the_run_is_opened_again(tmp_path: Path) -> None:
    whole = '["start", {}]\n'
    for torn in ("", '["st', "x" * 200_000):
        (tmp_path / FILE_NAME).write_text(whole + torn)
        writer = SpoolWriter(tmp_path)
        writer.append("stop", {})
        writer.close()
        assert (tmp_path / FILE_NAME).read_text() == whole + '["stop", {}]\n'
    (tmp_path / FILE_NAME).write_text("y" * 100_000)
    SpoolWriter(tmp_path).close()
    assert (tmp_path / FILE_NAME).read_text() == ""


def test_only_one_writes(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    with pytest.raises(BlockingIOError):
        SpoolWriter(tmp_path)
    writer.append("start", {})
    writer.close()
    assert [name for name, _ in SpoolReader(tmp_path).read()] == ["start"]


def test_a_killed_writer_lets_go(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, time; from ptycho_plugin.live.spool import SpoolWriter\n"
        "writer = SpoolWriter(pathlib.Path(sys.argv[1])); writer.append('start', {})\n"
        "print('there', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert may_grow(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not may_grow(tmp_path)
    assert [name for name, _ in SpoolReader(tmp_path).read()] == ["start"]


def test_a_disk_that_fails_leaves_no_half_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, real = SpoolWriter(tmp_path), os.write
    writer.append("start", {})
    calls = iter([4])

    def write(file: int, content: bytes) -> int:
        for length in calls:  # some bytes at first, then none
            return real(file, content[:length])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space"):
            writer.append("event_page", {"much": "x" * 100})
    writer.append("stop", {})
    writer.close()
    assert [name for name, _ in SpoolReader(tmp_path).read()] == ["start", "stop"]
