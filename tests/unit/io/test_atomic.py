import hashlib
from pathlib import Path

import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.io.atomic import check_writable, keep, replacing


def test_the_file_appears_when_the_block_succeeds(tmp_path):
    path = tmp_path / "out.txt"
    with replacing(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_half_written_is_left(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("before")

    def write_half():
        with replacing(path) as part:
            part.write_text("ha")
            raise error

    with pytest.raises(error):
        write_half()
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]
    assert path.read_text() == "before"


def test_a_path_that_cannot_be_written_is_refused_beforehand(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        check_writable(tmp_path / "none" / "out.h5")


def test_a_read_only_file_is_refused_beforehand(tmp_path):
    path = tmp_path / "out.h5"
    path.touch(mode=0o444)
    with pytest.raises(InputError, match="is read-only"):
        check_writable(path)


def test_a_read_only_folder_is_refused_beforehand(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir(mode=0o555)
    with pytest.raises(InputError, match="archive is read-only"):
        check_writable(folder / "out.h5")


def test_a_relative_path_and_an_existing_file_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.h5").touch()
    check_writable(Path("out.h5"))
    assert [file.name for file in tmp_path.iterdir()] == ["out.h5"]


def test_a_kept_file_bears_the_digest_of_its_bytes_and_is_read_only(tmp_path):
    def kept(content: bytes):
        part = tmp_path / ".part.h5"
        part.write_bytes(content)
        return keep(part, "run")

    one = kept(b"one")
    assert one.sha256 == hashlib.sha256(b"one").hexdigest()
    assert (one.path.name, one.size) == (f"run.{one.sha256[:12]}.h5", 3)
    assert one.path.stat().st_mode & 0o777 == 0o444
    assert kept(b"one") == one
    other = kept(b"other")
    assert {file.name for file in tmp_path.iterdir()} == {one.path.name, other.path.name}
    assert one.path.read_bytes() == b"one"


def test_what_is_not_there_cannot_be_kept(tmp_path):
    with pytest.raises(InputError, match=r"none\.h5 could not be kept"):
        keep(tmp_path / "none.h5", "run")
