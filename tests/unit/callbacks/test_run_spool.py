"""Every document is on the disk when the RunEngine goes on."""

import logging
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import event_model
import pytest

from ptycho_plugin.callbacks import RunSpool
from ptycho_plugin.errors import InputError
from ptycho_plugin.live.bell import Listener
from ptycho_plugin.live.spool import FILE_NAME, SpoolReader, may_grow


@pytest.fixture
def spool(tmp_path: Path) -> Any:
    spool = RunSpool(tmp_path / "spool")
    yield spool
    spool.close()


def documents(uid: str = "run-1") -> Any:
    run = event_model.compose_run(uid=uid)
    yield "start", run.start_doc
    stream = run.compose_descriptor(
        name="primary", data_keys={"x": {"dtype": "number", "shape": [], "source": "test"}}
    )
    yield "descriptor", stream.descriptor_doc
    yield "event", stream.compose_event(data={"x": 1.0}, timestamps={"x": 0.0})
    yield "stop", run.compose_stop()


def names(folder: Path) -> list[str]:
    return [name for name, _ in SpoolReader(folder).read()]


def test_each_document_is_synchronous(spool: RunSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        real(file)
        synced.append(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    for count, (name, document) in enumerate(documents(), start=1):
        spool(name, document)
        path = spool.folder / "run-1" / FILE_NAME
        assert synced.count(path.stat().st_ino) == count
    folders = {path.stat().st_ino for path in (spool.folder, spool.folder / "run-1")}
    assert folders <= set(synced)  # or the file's name could be gone
    assert names(spool.folder / "run-1") == ["start", "descriptor", "event_page", "stop"]


def test_a_run_may_grow_until_it_is_closed(spool: RunSpool) -> None:
    for name, document in documents():
        spool(name, document)
        assert may_grow(spool.folder / "run-1") is (name != "stop")


def test_the_end_of_the_process_leaves_a_run_to_others(spool: RunSpool) -> None:
    spool(*next(documents()))
    spool.close()
    assert not may_grow(spool.folder / "run-1")


def test_runs_do_not_mix(spool: RunSpool) -> None:
    for pair in zip(documents("run-1"), documents("run-2"), strict=True):
        for name, document in pair:
            spool(name, document)
    assert names(spool.folder / "run-1") == names(spool.folder / "run-2")
    (_, start), *_ = SpoolReader(spool.folder / "run-2").read()
    assert start["uid"] == "run-2"


def test_each_document_rings(spool: RunSpool) -> None:
    spool(*next(documents("nobody-hears-this")))
    listener = Listener(spool.folder)
    other, own = os.pipe()
    for name, document in documents():
        spool(name, document)
        # Without a ring it would be the other file that is ready, after its time.
        assert listener.wait(other, at_most=60) == []
    os.write(own, b"x")
    assert listener.wait(other, at_most=60) == [other]
    listener.close()
    spool(*next(documents("run-2")))
    assert names(spool.folder / "run-2") == ["start"]
    for file in (other, own):
        os.close(file)


def test_a_uid_that_is_no_name_is_refused(spool: RunSpool) -> None:
    with pytest.raises(InputError, match=r"^the run's uid '../elsewhere' cannot name a folder"):
        spool("start", {"uid": "../elsewhere", "time": 0.0})
    assert list(spool.folder.iterdir()) == []


def test_a_run_that_began_before_is_no_error(spool: RunSpool, caplog: pytest.LogCaptureFixture) -> None:
    _, *rest = documents()
    for name, document in rest[:1]:
        spool(name, document)
    assert "no run that began since" in caplog.text


Usage = namedtuple("Usage", "free")


def test_a_full_disk_refuses_a_run_before_it_begins_and_says_so_long_before(
    spool: RunSpool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(4e9))
    with caplog.at_level(logging.WARNING):
        spool(*next(documents()))
    assert "4.0 GB are free" in caplog.text
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1e8))
    with pytest.raises(InputError, match="make room before the next run"):
        spool(*next(documents("run-2")))
    assert not (spool.folder / "run-2").exists()


def test_a_document_that_cannot_be_written_is_raised(spool: RunSpool) -> None:
    (name, start), (_, descriptor), *_ = documents()
    spool(name, start)
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        spool("descriptor", {**descriptor, "odd": object()})
    assert names(spool.folder / "run-1") == ["start"]
