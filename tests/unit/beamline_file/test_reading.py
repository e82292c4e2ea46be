"""A beamline file is read as a whole, or every wrong line of it is named."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ptycho_plugin.beamline_file import Motor, Piezo, read_beamline_file
from ptycho_plugin.errors import InputError
from ptycho_plugin.flux import LOSSLESS, DetectionPath
from ptycho_plugin.ioc.beamline_file import PUBLISHED, beamline_file, write_beamline_file
from ptycho_plugin.ioc.settings import IocSettings
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation
from ptycho_plugin.simulation.options import SimulationOptions

TEXT = PUBLISHED.read_text()


Change = Callable[[dict[str, str]], Path]


@pytest.fixture
def changed(tmp_path: Path) -> Change:
    """Return a function that writes the published file with parts of it replaced."""

    def change(parts: dict[str, str]) -> Path:
        text = TEXT
        for old, new in parts.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = tmp_path / "beamline.toml"
        path.write_text(text)
        return path

    return change


def line_of(text: str) -> int:
    return TEXT[: TEXT.index(text)].count("\n") + 1


def test_the_published_file_is_the_simulated_beamlines(tmp_path: Path) -> None:
    settings = IocSettings(port=5000, repeater_port=5001, directory=tmp_path)
    published = read_beamline_file(PUBLISHED)
    assert published.model_copy(update={"detection": LOSSLESS}) == beamline_file(settings)
    assert isinstance(published.stage.y, Piezo)
    assert isinstance(published.coarse.y, Motor)


def test_a_beamline_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    options = SimulationOptions(orientation=DetectorOrientation.TRANSPOSE, detection=DetectionPath())
    optic = ZonePlate(defocus=1e-4)
    settings = IocSettings(
        port=5000, repeater_port=5001, directory=tmp_path, prefix="A:", options=options, optic=optic
    )
    write_beamline_file(settings, tmp_path / "beamline.toml")
    read = read_beamline_file(tmp_path / "beamline.toml")
    assert read == beamline_file(settings)
    assert (read.optic, read.mounting.detector) == (optic, DetectorOrientation.TRANSPOSE)


def test_every_process_variable_has_the_prefix_and_says_where_it_is_named() -> None:
    variables = read_beamline_file(PUBLISHED).process_variables()
    assert all(one.pv.startswith("PTYCHO:") for one in variables)
    by_name = {one.pv: one for one in variables}
    assert len(by_name) == len(variables)
    assert (by_name["PTYCHO:COARSE:Y.VAL"].entry, by_name["PTYCHO:COARSE:Y.VAL"].units) == ("coarse.y", "um")
    assert by_name["PTYCHO:MONO:ENERGY.RBV"].units == "eV"
    assert not by_name["PTYCHO:SHUTTER:STATUS"].writable


WRONG = {
    "a number out of range": (
        "frame_side = 192 ",
        "frame_side = 2 ",
        "geometry.frame_side = 2 cannot be used",
    ),
    "a unit": ("distance = 2.236 ", "distance = 2236 ", "give metres, e.g. 2.236"),
    "a word": (
        'detector = "as_is"',
        'detector = "upside"',
        "'upside' cannot be used: Input should be 'as_is'",
    ),
    "a misspelt entry": ('gain = "AMP', 'gian = "AMP', "flux.gian is not known: did you mean 'gain'"),
    "a strange entry": ("settle_s = 0.01", "qqqqqqq = 0.01", "stage.qqqqqqq is not known: remove it"),
    "a place of one number": (
        "sample = [0.0, 0.0]",
        "sample = [0.0]",
        "places.sample = [0.0] cannot be used",
    ),
    "a space in a name": ('pv = "OSA:Y"', 'pv = "OSA Y"', "optics.aperture_y.pv = 'OSA Y' cannot be used"),
    "a kind": (
        'y = { kind = "motor", pv = "COARSE:Y" }',
        'y = { kind = "lift" }',
        "coarse.y.kind = 'lift' is not known: say 'motor' or 'piezo'",
    ),
    "an axis that is no table": (
        'y = { kind = "motor", pv = "COARSE:Y" }',
        'y = "COARSE:Y"',
        "coarse.y = 'COARSE:Y' cannot be used: give a table",
    ),
    "a motor that is no table": (
        'y = { kind = "motor", pv = "ZP:Y" }',
        'y = "ZP:Y"',
        "optics.zone_plate_y = 'ZP:Y' cannot be used: give a table",
    ),
    "a centre outside the frame": (
        "beam_centre_px = [945, 737]",
        "beam_centre_px = [945, 1475]",
        "detector.beam_centre_px = [945, 1475] cannot be used: give the direct beam's (row, column)",
    ),
    "no kind": (
        'y = { kind = "motor", pv = "COARSE:Y" }',
        'y = { pv = "COARSE:Y" }',
        "coarse.y.kind is missing",
    ),
    "limits": (
        'x = { kind = "motor", pv = "COARSE:X" }',
        'x = { kind = "motor", pv = "COARSE:X", limits = [5.0, -5.0] }',
        "coarse.x = {'kind': 'motor', 'pv': 'COARSE:X', 'limits': [5.0, -5.0]} cannot be used: limits",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_line_is_named_with_its_number_and_the_remedy(changed: Change, case: str) -> None:
    old, new, said = WRONG[case]
    with pytest.raises(
        InputError, match=rf"beamline.toml cannot be used:(\n.*)*line {line_of(old)}: .*{re.escape(said)}"
    ):
        read_beamline_file(changed({old: new}))


def test_all_wrong_lines_are_named_at_once(changed: Change) -> None:
    path = changed({old: new for old, new, _ in list(WRONG.values())[:7]})
    with pytest.raises(InputError) as refused:
        read_beamline_file(path)
    said = str(refused.value)
    for old, _, sentence in list(WRONG.values())[:7]:
        assert f"line {line_of(old)}: " in said
        assert sentence in said
    assert "flux.gain is missing: add it" in said


def test_what_is_no_beamline_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_beamline_file(tmp_path / "none.toml")
    path = tmp_path / "beamline.toml"
    path.write_text("name = \n")
    with pytest.raises(InputError, match=r"is no TOML: .*line 1"):
        read_beamline_file(path)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_beamline_file(path)
    path.write_text("")
    with pytest.raises(
        InputError, match=r"cannot be used:\n(.*\n)*  name is missing: add it\n  shutter is missing"
    ):
        read_beamline_file(path)
