from pathlib import Path

import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.io.atomic import check_writable, replacing


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
