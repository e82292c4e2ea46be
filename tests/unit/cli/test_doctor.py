"""What the doctor finds on this machine, and on machines that lack something."""

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from ptycho_plugin.cli import checks, doctor
from ptycho_plugin.cli.checks import Finding, State, examine
from ptycho_plugin.reconstruction import device, fourier
from ptycho_plugin.reconstruction.fourier import wisdom_hash


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fourier._wisdom.cache_clear()
    yield tmp_path
    fourier._wisdom.cache_clear()


def test_a_machine_that_can_reconstruct_is_told_by_one_line_of_json(ptycho):
    status, stdout, _ = ptycho("doctor", "--json")
    found = json.loads(stdout)
    assert status == 0
    assert len(stdout.splitlines()) == 1
    assert found["can_reconstruct"] is True
    assert found["device"].startswith(("cpu, ", "gpu, "))
    assert found["device"] == found["checks"]["reconstruction"]["facts"]["device"]
    assert {check["state"] for check in found["checks"].values()} <= {"good", "missing"}
    assert set(found["checks"]) == {name for name, _ in checks.standard_checks(Path())}


def test_people_get_a_table_and_a_sentence(ptycho):
    status, stdout, _ = ptycho(
        "doctor",
    )
    assert status == 0
    assert all(f"│ {name} " in stdout for name, _ in checks.standard_checks(Path()))
    assert stdout.splitlines()[-1].startswith("A reconstruction runs on ")


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_machine_that_cannot_ends_with_another_status(ptycho, monkeypatch, how):
    def broken():
        raise ImportError("libfftw3f.so is missing")

    monkeypatch.setattr(doctor, "standard_checks", lambda _: [("reconstruction", broken)])
    status, stdout, _ = ptycho("doctor", *how)
    assert status == 1
    assert "ImportError: libfftw3f.so is missing" in stdout
    if how:
        assert json.loads(stdout)["device"] is None
    else:
        assert stdout.splitlines()[-1].startswith("No reconstruction can run")


def test_a_check_that_fails_does_not_keep_others_from_being_made():
    def broken():
        raise OSError("no such disk")

    found = examine([("one", broken), ("other", lambda: Finding(State.GOOD, "is there"))])
    assert found == {
        "one": Finding(State.BAD, "OSError: no such disk"),
        "other": Finding(State.GOOD, "is there"),
    }


def test_wisdom_is_named_where_it_is_stored(cache_home):
    before = checks.fftw()
    learned = wisdom_hash(checks.STANDARD_SIDE)
    after = checks.fftw()
    assert (before.state, before.facts["sha256"]) == (State.GOOD, None)
    assert "not stored yet" in before.sentence
    assert (after.state, after.facts["sha256"]) == (State.GOOD, learned)
    assert learned[:12] in after.sentence


def test_wisdom_that_cannot_be_stored_is_missing(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder can be made of this")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(checks, "TemporaryFile", partial(_refuse, "read-only file system"))
    found = checks.fftw()
    assert found.state is State.MISSING
    assert "set XDG_CACHE_HOME" in found.sentence


def _refuse(why, **_options):
    raise OSError(why)


def test_a_gpu_s_name_and_memory_or_why_there_is_none(monkeypatch):
    there = device.Gpu(SimpleNamespace(__version__="14.2.0"), "Stand-in 1", 8 << 30, "12.9")
    monkeypatch.setattr(device, "find_gpu", lambda: (there, "a GPU that works"))
    assert checks.gpu().sentence == "gpu, Stand-in 1, CuPy 14.2.0, CUDA 12.9, 8 GiB"
    monkeypatch.setattr(device, "find_gpu", lambda: (None, "no driver"))
    assert checks.gpu() == Finding(State.MISSING, "no driver", {"name": None, "why": "no driver"})


def test_a_machine_may_have_no_tiled_server(monkeypatch):
    assert checks.tiled_server().state is State.GOOD
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    assert checks.tiled_server().state is State.MISSING


def test_room_for_scans_is_looked_for_where_the_spool_would_be_made(tmp_path, monkeypatch):
    found = checks.disk(tmp_path / "not" / "yet")
    assert found.facts["folder"] == str(tmp_path)
    assert found.facts["free_bytes"] > 0
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e9))
    assert checks.disk(tmp_path).state is State.MISSING
    assert "1 GiB free" in checks.disk(tmp_path).sentence


def test_kernels_are_kept_in_a_folder_that_is_named():
    assert checks.numba().facts["cache"] in checks.numba().sentence
