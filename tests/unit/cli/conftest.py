"""The command line as a user runs it, in this process."""

import sys

import pytest

from ptycho_plugin import cli
from ptycho_plugin.io import write_dataset


@pytest.fixture
def ptycho(monkeypatch, capsys):
    """Run the command line; return its exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ptycho", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def scan_file(tmp_path, small_scan):
    write_dataset(tmp_path / "scan.h5", small_scan)
    return tmp_path / "scan.h5"
