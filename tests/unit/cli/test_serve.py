"""What the command makes of its arguments, before any server starts."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ptycho_plugin.beamline_file import TiledServer
from ptycho_plugin.cli.serve import serve_tiled
from ptycho_plugin.errors import InputError
from ptycho_plugin.publishing import serving

BEAMLINE = (files("ptycho_plugin.ioc") / "beamline.toml").read_text()
TABLE = '\n[tiled]\nfolder = "of-the-file"\nreadable = ["frames"]\nport = 8000\n'


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[TiledServer]:
    """The settings with which servers would have been started."""
    asked: list[TiledServer] = []
    monkeypatch.setattr(serving, "serve", lambda settings, _: asked.append(settings))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return asked


@pytest.fixture
def beamline(tmp_path: Path) -> Callable[[str], Path]:
    def write(table: str) -> Path:
        path = tmp_path / "beamline.toml"
        path.write_text(BEAMLINE + table)
        return path

    return write


def test_a_folder_is_enough(served: list[TiledServer], capsys: pytest.CaptureFixture[str]) -> None:
    serve_tiled(Path("tiled"))
    assert served == [TiledServer(folder=Path("tiled"), readable=(), host="127.0.0.1", port=0)]
    assert capsys.readouterr().err == ""


def test_what_is_given_goes_before_the_beamline_file(
    served: list[TiledServer], beamline: Callable[[str], Path]
) -> None:
    serve_tiled(beamline=beamline(TABLE))
    serve_tiled(Path("given"), beamline=beamline(TABLE), port=0)
    of_the_file = {"readable": (Path("frames"),)}
    assert served == [
        TiledServer(folder=Path("of-the-file"), port=8000, **of_the_file),
        TiledServer(folder=Path("given"), port=0, **of_the_file),
    ]


def test_another_interface_is_warned_of(
    served: list[TiledServer], capsys: pytest.CaptureFixture[str]
) -> None:
    serve_tiled(Path("tiled"), host="192.0.2.1")
    assert served[0].host == "192.0.2.1"
    assert "put TLS before it" in capsys.readouterr().err


def test_no_folder_is_refused(served: list[TiledServer], beamline: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="give a folder: ptycho serve FOLDER"):
        serve_tiled()
    with pytest.raises(InputError, match=r"beamline\.toml a \[tiled\] table, or the command a folder"):
        serve_tiled(beamline=beamline(""))
    assert not served


@pytest.mark.parametrize(
    "wrong", [{"port": 70000}, {"port": -1}, {"host": ""}, {"host": "two words"}, {"host": "::1"}]
)
def test_an_address_that_cannot_be_is_refused(served: list[TiledServer], wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        serve_tiled(Path("tiled"), **wrong)
    assert not served
