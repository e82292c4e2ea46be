"""``ptycho serve`` as a beamline runs it: for whom, how secret, and until when."""

import queue
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import websockets.exceptions
import websockets.sync.client

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.connection import connect
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.publishing.server_keys import SCOPES, VIEWER, WRITER, key_file

PATIENCE_S = 60
PTYCHO = str(Path(sys.executable).parent / "ptycho")


class Served:
    """A running ``ptycho serve``."""

    def __init__(self, folder: Path, readable: Path) -> None:
        self.folder, self.log = folder, folder.parent / "log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [PTYCHO, "serve", str(folder), "--readable", str(readable)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    @property
    def address(self) -> str:
        return (self.folder / "address").read_text().strip()

    def key(self, name: str) -> str:
        return key_file(self.folder, name).read_text().strip()

    def end(self, how: int) -> int:
        self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        self.said += self.process.communicate(timeout=PATIENCE_S)[0]
        return self.process.returncode


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served") / "tiled", data_folder)
    yield served
    if served.process.poll() is None:
        served.end(signal.SIGKILL)


@contextmanager
def client_with(served: Served, name: str) -> Iterator[Any]:
    client = connect(served.address, served.key(name))
    try:
        yield client
    finally:
        client.context.close()


@pytest.fixture
def writer(served: Served) -> Iterator[Any]:
    with client_with(served, WRITER) as client:
        yield client


@pytest.fixture
def viewer(served: Served) -> Iterator[Any]:
    with client_with(served, VIEWER) as client:
        yield client


# Tiled 0.2.20 connects as websockets 17 no longer likes it.
@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")
def test_a_viewer_reads_and_sees_what_the_writer_writes(
    writer: Any, viewer: Any, make_scan: Any, tmp_path: Path
) -> None:
    scan = make_scan()
    write_document = RawRunWriter(writer)
    for name, document in scan.documents(count=3):
        write_document(name, document)
    assert len(dataset_from_tiled(viewer, scan.uid)) == 3
    assert [name for name, _ in viewer["raw", scan.uid].documents()][-1] == "stop"

    array = writer.write_array(np.zeros((4, 5)), key="seen")
    seen: queue.Queue[Any] = queue.Queue()

    def see(update: Any) -> None:
        seen.put(update.data())

    subscription = viewer["seen"].subscribe()
    subscription.new_data.add_callback(see)
    subscription.start_in_thread(0)
    array.write(np.ones((4, 5)))
    assert [float(seen.get(timeout=PATIENCE_S).mean()) for _ in range(2)] == [0, 1]
    subscription.disconnect()


def test_a_viewer_changes_nothing(writer: Any, viewer: Any) -> None:
    array = writer.write_array(np.zeros(3), key="untouched", metadata={"mine": True})
    of_the_viewer = viewer["untouched"]
    for change in (
        lambda: viewer.create_container("another"),
        lambda: of_the_viewer.write(np.ones(3)),
        lambda: of_the_viewer.update_metadata({"mine": False}),
        lambda: of_the_viewer.delete(external_only=False),
    ):
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            change()
    np.testing.assert_array_equal(array.read(), np.zeros(3))
    assert writer["untouched"].metadata["mine"]


def test_nobody_else_reads(served: Served, writer: Any) -> None:
    writer.write_array(np.zeros(3), key="secret")
    with pytest.raises(PublishingError, match="refused the API key"):
        connect(served.address, "0" * 64)
    for headers in ({}, {"Authorization": f"Apikey {'0' * 64}"}):
        for path in ("metadata/secret", "array/full/secret", "search/"):
            assert httpx.get(f"{served.address}/{path}", headers=headers).status_code == 401
    stream = f"{served.address}/stream/single/secret".replace("http", "ws", 1)
    with (
        pytest.raises(websockets.exceptions.InvalidStatus),
        websockets.sync.client.connect(stream, additional_headers={"Authorization": f"Apikey {'0' * 64}"}),
    ):
        pass


def test_pages_of_other_origins_may_not_ask(served: Served) -> None:
    headers = {"Authorization": f"Apikey {served.key(VIEWER)}", "Origin": "http://elsewhere.example"}
    answer = httpx.get(f"{served.address}/metadata/", headers=headers).raise_for_status()
    assert answer.headers.get("access-control-allow-origin") is None


def test_it_answers_on_the_loopback_interface_alone(served: Served) -> None:
    assert served.address.startswith("http://127.0.0.1:")


def test_a_second_server_is_refused_in_one_sentence(served: Served) -> None:
    second = subprocess.run([PTYCHO, "serve", str(served.folder)], capture_output=True, text=True)
    assert second.returncode == 2
    assert second.stderr == (
        f"ptycho: another server has the folder {served.folder}: use it, "
        f"its address is in {served.folder / 'address'}\n"
    )


def test_a_taken_port_is_named(served: Served, tmp_path: Path) -> None:
    port = served.address.rpartition(":")[2].partition("/")[0]
    other = subprocess.run([PTYCHO, "serve", str(tmp_path), "--port", port], capture_output=True, text=True)
    assert other.returncode == 2
    assert f"no server can listen on 127.0.0.1, port {port}: Address already in use" in other.stderr


def test_what_was_written_outlives_a_killed_server(served: Served, writer: Any, data_folder: Path) -> None:
    writer.create_container("before")
    keys = [served.key(name) for name in SCOPES]
    assert served.end(signal.SIGKILL) == -signal.SIGKILL
    with closing(sqlite3.connect(served.folder / "catalog.db")) as catalog:
        # Together they sync every commit.
        assert catalog.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert catalog.execute("PRAGMA synchronous").fetchone() == (2,)
    again = Served(served.folder, data_folder)
    with client_with(again, VIEWER) as client:
        assert "before" in client
    assert keys == [again.key(name) for name in SCOPES]
    assert again.end(signal.SIGINT) == 0
    assert not (served.folder / "address").exists()


def test_it_ends_while_clients_hold_on_and_has_shown_no_key(tmp_path: Path, data_folder: Path) -> None:
    served = Served(tmp_path / "tiled", data_folder)
    keys = [served.key(name) for name in SCOPES]
    process = Path("/proc", str(served.process.pid))
    shown = [(process / name).read_text() for name in ("cmdline", "environ")]
    for key in keys:
        httpx.get(f"{served.address}/metadata/?api_key={key}").raise_for_status()
        httpx.get(f"{served.address}/metadata/none?api_key={key}")
    stream = f"{served.address}/stream/single/?api_key={keys[0]}".replace("http", "ws", 1)
    header = {"Authorization": f"Apikey {served.key(VIEWER)}"}
    with websockets.sync.client.connect(stream, additional_headers=header):
        assert served.end(signal.SIGTERM) == 0
    shown += [served.said, served.log.read_text()]
    assert not any(key in text for key in keys for text in shown)
    assert str(key_file(served.folder, VIEWER)) in served.said
    assert "Traceback" not in shown[-1]
    assert not (served.folder / "address").exists()
