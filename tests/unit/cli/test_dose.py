import json
import re
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from ptycho_plugin.io import write_result
from ptycho_plugin.ledger import Beam, Budget, CalibrationUsed, Delivered, Intent, Ledger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FLUX = CalibrationUsed(key="flux-1", date=NOON, monitor="i0", energy_eV=6200, gain=1, relative_sigma=0.01)
BEAM = Beam(energy_eV=6200, monitor="i0", gain=1, calibration=FLUX)
DONE = {"opened": NOON, "closed": NOON, "open_s": 0.2, "photons": 1e6, "photons_uncertainty": 1e4}
PLACES = (0.2 * np.indices((11, 11)).reshape(2, -1).T - 1.0).tolist()
"""A square of 2 x 2 um with 25e6 photons per um2."""


@pytest.fixture
def ledger_file(tmp_path):
    """A sample with a region that was scanned, one that a crash left, one without a budget, and a map."""
    path = tmp_path / "dose.sqlite"
    with Ledger(path, new=True) as ledger:
        ledger._database._connection.execute("PRAGMA synchronous = OFF")
        samples = ledger.samples
        samples.mount("film")
        a, b, _ = (
            samples.place_region("film", "1", name, stage_um=(100, at), reach_um=3)
            for name, at in (("A", 0), ("B", 50), ("C", 100))
        )
        samples.set_budget(a, Budget(dose=50e3, material="PMMA", formula="C5H8O2"))
        samples.set_budget(b, Budget(dose=1e3, material="PMMA", formula="C5H8O2"))

        def intend(on, run, number, row, column, **more):
            entry = {"open_s": 0.2, "photons_at_most": 1.2e6, "beam": BEAM, **more}
            return ledger.intend(
                Intent(on=on, run_uid=run, point=number, start_um=(100 + row, column), **entry)
            )

        for number, (row, column) in enumerate(PLACES):
            ledger.confirm(intend(a, "scan", number, row, column), Delivered(**DONE))
        aligning = intend("film", "map", 0, 0.0, 20.0, kind="alignment")
        ledger.confirm(aligning, Delivered(**DONE))
        ledger.confirm(intend(b, "cut", 0, 0.0, 50.0), Delivered(**DONE))
        intend(b, "cut", 1, 0.0, 50.0)
    path.chmod(0o444)
    return path


@pytest.fixture(autouse=True)
def untouched(ledger_file):
    before = ledger_file.read_bytes()
    yield
    assert ledger_file.read_bytes() == before
    assert not list(ledger_file.parent.glob("*-session-*"))


def test_status_tells_every_photon(ptycho, ledger_file):
    status, stdout, _ = ptycho("dose", "status", ledger_file, "--json")
    assert status == 0
    a, b, c, beside = json.loads(stdout.splitlines()[-1])["rows"]
    assert [row["exposures"] for row in (a, b, c, beside)] == [len(PLACES), 2, 0, 1]
    assert [row["uncertain"] for row in (a, b, c, beside)] == [0, 1, 0, 0]
    assert (b["photons"], beside["photons"], beside["region"]) == (2.2e6, 1e6, None)
    assert a["peak_kGy"] == pytest.approx(25e18 * 6200 * 1.602e-19 * 1.354 * 1e-3, rel=1e-2)
    assert a["remaining_kGy"] == pytest.approx(a["budget_kGy"] - a["peak_kGy"])
    assert b["remaining_kGy"] < 0
    assert "peak_kGy" not in c, "no budget names a material"


def test_status_is_a_table_that_says_what_it_rests_on(ptycho, ledger_file):
    status, stdout, _ = ptycho("dose", "status", ledger_file, "--sample", "film")
    assert status == 0
    line = next(line for line in stdout.splitlines() if " A " in line)
    assert line.split()[:5] == ["film", "1", "A", "121", "0"]
    assert "'film': 1 exposures with 1e+06 photons beside all regions." in stdout
    assert "Illumination: a point, for want of a stated one, so that each dose is an upper bound." in stdout
    assert "{" not in stdout


def test_a_result_s_probe_is_the_illumination(ptycho, ledger_file, tmp_path, small_result):
    write_result(tmp_path / "map.h5", small_result, {})
    point, probe = (
        json.loads(ptycho("dose", "status", ledger_file, "--json", *options)[1])["rows"][0]
        for options in ((), ("--probe", tmp_path / "map.h5"))
    )
    assert probe["peak_kGy"] < point["peak_kGy"]
    assert probe["illumination"] == f"the probe of {tmp_path / 'map.h5'}"


def test_the_map_is_a_picture_or_arrays(ptycho, ledger_file, tmp_path):
    for name in ("map.png", "map.h5"):
        status, stdout, _ = ptycho("dose", "map", ledger_file, "film", "1", "A", "-o", tmp_path / name)
        assert status == 0
        assert json.loads(stdout)["output"] == str(tmp_path / name)
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(tmp_path / "map.h5") as file:
        dose, pixel = file["dose"], file["dose"].attrs["pixel"]
        assert (
            dose[()].max()
            == file.attrs["peak"]
            == pytest.approx(1e3 * json.loads(stdout)["peak_kGy"], rel=1e-4)
        )
        assert dose.attrs["units"] == "Gy"
        assert file["fluence"][()].sum() * pixel**2 == pytest.approx(1e6 * len(PLACES))
        np.testing.assert_allclose(file["points"][()] * 1e6, PLACES, atol=1e-9)
        assert file.attrs["photons_uncertainty"] == pytest.approx(1e4 * len(PLACES))
        assert json.loads(file["provenance"][()])["source"]["path"] == str(ledger_file)


def test_the_report_says_what_was_counted_and_computed(ptycho, ledger_file):
    stated = ("--material", "PMMA:C5H8O2:1.188", "--material", "CdSe:CdSe:5.82", "--thickness-um", 24)
    status, stdout, _ = ptycho("dose", "report", ledger_file, "film", "1", "A", *stated)
    assert status == 0
    (paragraph,) = stdout.splitlines()
    for sentence in (
        r"Region 'A' in area '1' of 'film' was exposed 121 times from 2026-03-01 12:00 to 12:00 UTC "
        r"\(121 in 1 run of scans\), with the shutter open for 24.2 s in all\.",
        r"It received \(1\.210 ± 0\.012\) x 10\^8 photons of 6\.2 keV, counted by the flux monitor 'i0', "
        r"which had been calibrated against .* at this energy \(run flux-1 of 2026-03-01\)\.",
        r"The calibration's relative uncertainty, 1 %, is common to all its exposures and was added linearly",
        r"Over the scanned field of 2 x 2 µm the mean fluence was \(2\.\d+ ± 0\.02\d\) x 10\^7 photons/µm²\.",
        r"mass photoabsorption coefficient of PMMA \(C5H8O2, 13\.5\d cm²/g at 6\.2 keV\) \(Elam, .* xraydb 4",
        r"half maximum of 0\.5 µm for the range of the photoelectrons\.",
        r"At the surface it was 3\d\.\d+ ± 0\.3\d kGy where it was largest and 30\.\d+ ± 0\.3\d kGy on av",
        r"averaged through 24 µm of PMMA \(1\.188 g/cm³\), in which the beam weakens by total attenuation",
        r"CdSe \(CdSe, 32\d\.\d cm²/g at 6\.2 keV\) that fills the sample would take 79\d\.\d ± 8\.0 kGy",
        r"Of its budget of 50 kGy in PMMA, at least 1\d\.\d+ kGy are left\. Every exposure was confirmed\.$",
    ):
        assert re.search(sentence, paragraph), f"{sentence}\nis not in\n{paragraph}"
    through = re.search(r"attenuation, it was ([\d.]+)", paragraph)
    surface = re.search(r"At the surface it was ([\d.]+)", paragraph)
    assert float(through[1]) / float(surface[1]) == pytest.approx(0.98, abs=2e-3)


def test_the_report_says_what_is_not_known(ptycho, ledger_file):
    paragraph = ptycho("dose", "report", ledger_file, "film", "1", "B")[1]
    assert "It may be up to 9.4" in paragraph
    assert "kGy over its budget of 1 kGy in PMMA." in paragraph
    assert (
        "Nobody has confirmed 1 more exposure that began: the doses hold the upper bound, 1.2 x 10^6"
        in paragraph
    )
    assert "scanned field" not in paragraph, "one place has no area"


@pytest.fixture
def bare_ledger(tmp_path):
    """A sample without a budget, whose region C was left alone; another that only a crash has seen."""
    path = tmp_path / "bare.sqlite"
    with Ledger(path, new=True) as ledger:
        samples = ledger.samples
        samples.mount("film")
        a, _ = (samples.place_region("film", "1", name, stage_um=(0, 0), reach_um=3) for name in "AB")
        samples.mount("other")
        samples.place_region("other", "1", "C", stage_um=(0, 0), reach_um=3)
        samples.mount("new")
        intent = Intent(
            on=a, run_uid="cut", point=0, start_um=(0, 0), open_s=0.2, photons_at_most=1e6, beam=BEAM
        )
        ledger.intend(intent)
    return path


def test_a_report_of_what_nobody_confirmed_says_of_which_region_it_is(ptycho, bare_ledger):
    stdout = ptycho("dose", "report", bare_ledger, "film", "1", "A", "--material", "PMMA:C5H8O2:1.188")[1]
    assert stdout.startswith("Region 'A' in area '1' of 'film' has no exposure that anybody has confirmed.")
    assert "These uncertainties" not in stdout, "there are none"
    assert "Nobody has confirmed 1 exposure that began" in stdout


def test_status_says_what_there_is_nothing_of(ptycho, bare_ledger, tmp_path):
    stdout = ptycho("dose", "status", bare_ledger)[1]
    assert "'new' has no region and no exposure yet." in stdout
    assert "'film' has no" not in stdout
    Ledger(tmp_path / "empty.sqlite", new=True).close()
    assert ptycho("dose", "status", tmp_path / "empty.sqlite")[1] == "No sample has been mounted yet.\n"


def test_a_region_that_was_never_exposed_needs_no_material(ptycho, bare_ledger):
    status, stdout, _ = ptycho("dose", "report", bare_ledger, "other")
    assert (status, stdout) == (0, "Region 'C' in area '1' of 'other' has not been exposed.\n")


def test_the_report_of_a_sample_has_a_paragraph_for_each_region(ptycho, ledger_file):
    stdout = ptycho("dose", "report", ledger_file, "film", "--material", "PS:C8H8:1.04")[1]
    assert [paragraph[:10] for paragraph in stdout.strip().split("\n\n")] == [
        f"Region '{name}'" for name in "ABC"
    ]
    assert stdout.strip().endswith("Region 'C' in area '1' of 'film' has not been exposed.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "{tmp}/none"], "there is no ledger {tmp}/none: check the path\n"),
        (["status", "{ledger}", "--sample", "none"], "the ledger knows no sample 'none', it knows: film"),
        (["map", "{ledger}", "film", "1", "A", "-o", "{tmp}/map.txt"], "name it .png or .h5"),
        (["map", "{ledger}", "film", "1", "D", "-o", "{tmp}/map.png"], "has no region 'D', it has: A, B, C"),
        (["map", "{ledger}", "film", "1", "C", "-o", "{tmp}/map.png"], "has no budget that names a material"),
        (["map", "{ledger}", "film", "1", "A", "-o", "{ledger}/x/map.png"], "there is no folder"),
        (["report", "{ledger}", "film", "2"], "'film' has no regions in an area '2', it has some in: 1"),
        (["report", "{ledger}", "film", "1", "A", "--material", "PMMA"], "give name, formula and g/cm3"),
        (["report", "{ledger}", "film", "1", "A", "--material", ":C5H8O2:1"], "give name, formula and g"),
        (
            ["report", "{ledger}", "film", "1", "A", "--material", "PMMA:C5H8O2:0"],
            "must be a positive number",
        ),
        (["report", "{ledger}", "film", "1", "A", "--material", "glue:Xx2:1"], "not a chemical formula"),
        (
            ["report", "{ledger}", "film", "1", "A", "--thickness-um", "24"],
            "needs a material and its density",
        ),
        (["status", "{ledger}", "--electron-range-um", "0"], "give a probe"),
        (["status", "{ledger}", "--probe", "{ledger}"], "holds no probe with its pixel"),
        (["status", "{ledger}", "--probe", "{ledger}", "--tiled", "x"], "give one of them"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(ptycho, ledger_file, tmp_path, arguments, message):
    filled = [argument.format(ledger=ledger_file, tmp=tmp_path) for argument in arguments]
    status, stdout, stderr = ptycho("dose", *filled)
    assert (status, stdout) == (2, "")
    assert stderr.startswith("ptycho: ")
    assert message.format(tmp=tmp_path) in stderr
    assert len(stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [ledger_file]


def test_a_map_never_takes_the_place_of_its_ledger(ptycho, ledger_file):
    path = ledger_file.rename(ledger_file.with_suffix(".h5"))
    path.chmod(0o644)
    before = path.read_bytes()
    for output in (path, path.parent / "." / path.name):
        status, stdout, stderr = ptycho("dose", "map", path, "film", "1", "A", "-o", output)
        assert (status, stdout) == (2, "")
        assert "is the ledger itself" in stderr
    assert path.read_bytes() == before
    path.rename(ledger_file)
