"""The server's process: it starts, says why it did not, and never outlives its parent."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.connection import connect, split_key
from ptycho_plugin.publishing.server import LocalTiledServer

PARENT = """
import sys
from ptycho_plugin.publishing.server import LocalTiledServer
with LocalTiledServer(sys.argv[1]) as server:
    print(server._process.pid, flush=True)
    sys.stdin.read()
"""
END_S = 60


def test_it_is_reached_with_its_key_only(tiled_server: LocalTiledServer) -> None:
    address, key = split_key(tiled_server.uri)
    assert key == tiled_server.api_key
    assert address.startswith("http://127.0.0.1:")
    with pytest.raises(PublishingError, match="refused the API key"):
        connect(address, api_key="0" * 64)


def test_a_missing_key_is_asked_for(tiled_server: LocalTiledServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILED_API_KEY", raising=False)
    with pytest.raises(PublishingError, match="asks for an API key"):
        connect(split_key(tiled_server.uri)[0])


def test_its_key_is_not_shown(tiled_server: LocalTiledServer, tiled: Any) -> None:
    assert list(tiled) is not None
    assert tiled_server.api_key not in repr(tiled_server)
    process = tiled_server._process
    assert process is not None
    shown = [Path(f"/proc/{process.pid}/cmdline"), *tiled_server.directory.glob("*.log")]
    assert len(shown) > 1
    assert not any(tiled_server.api_key in path.read_text() for path in shown)


def test_a_server_that_cannot_start_says_where_to_read_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(PublishingError, match="did not start") as raised, LocalTiledServer(tmp_path):
        pass
    log = tmp_path / "server.log"
    assert str(log) in str(raised.value)
    assert "FileExistsError" in log.read_text()


def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    server = os.pidfd_open(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    ended, _, _ = select.select([server], [], [], END_S)
    os.close(server)
    parent.stdin.close()
    parent.stdout.close()
    assert ended
