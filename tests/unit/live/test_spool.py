"""Documents through a file that is read while it is written."""

from pathlib import Path

import numpy as np
import pytest

from ptycho_plugin.live.spool import FILE_NAME, SpoolReader, SpoolWriter


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
