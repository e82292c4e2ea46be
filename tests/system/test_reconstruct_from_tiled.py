"""``ptycho reconstruct RUN_UID --tiled ADDRESS``: a run of a real server, and what it says otherwise."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import event_model
import h5py
import httpx
import numpy as np
import pytest

from ptycho_plugin import cli
from ptycho_plugin.io import write_dataset
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.publishing.server import LocalTiledServer
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct

FRAMES = 12
SHORT = ("--difference-map", 4, "--maximum-likelihood", 2)
OPTIONS = ReconstructionOptions(difference_map_iterations=4, maximum_likelihood_iterations=2)
ARRAYS = ("object", "probe", "phase", "amplitude", "positions", "positions_px", "error")
OPTIC = ("--zone-plate", 100, 200, 20, 500)

Answer = tuple[int, str, str]
Command = Callable[..., Answer]


@pytest.fixture(scope="module")
def writer(tiled: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return RawRunWriter(tiled)


@pytest.fixture(scope="module")
def write(writer: Any, make_scan: Any) -> Callable[..., str]:
    """Write a run to Tiled and return its uid; keyword arguments change its metadata."""

    def one(count: int = FRAMES, start: dict[str, Any] | None = None, **changes: Any) -> str:
        scan = make_scan(**changes)
        for name, document in scan.documents(count, start):
            writer(name, document)
        return str(scan.uid)

    return one


@pytest.fixture(scope="module")
def run(write: Callable[..., str]) -> str:
    """The uid of a scan of `FRAMES` frames."""
    return write()


@pytest.fixture
def ptycho(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the command line; return its exit status, stdout and stderr."""
    monkeypatch.delenv("TILED_API_KEY", raising=False)

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["ptycho", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture
def refused(ptycho: Command, tmp_path: Path) -> Callable[..., str]:
    """Return the one sentence of a command that writes nothing."""

    def sentence(run: str, address: str, *more: object) -> str:
        status, stdout, stderr = ptycho(
            "reconstruct", run, "--tiled", address, "-o", tmp_path / "map.h5", *more
        )
        assert (status, stdout, list(tmp_path.iterdir())) == (2, "", [])
        assert stderr.startswith("ptycho: ")
        assert len(stderr.splitlines()) == 1
        return stderr

    return sentence


def test_a_run_and_its_file_give_the_same_bits(
    ptycho: Command, tiled: Any, tiled_server: LocalTiledServer, run: str, tmp_path: Path
) -> None:
    dataset = dataset_from_tiled(tiled, run)
    write_dataset(tmp_path / "scan.h5", dataset)
    result = reconstruct(dataset, OPTIONS)

    of_run = ptycho("reconstruct", run, "--tiled", tiled_server.uri, "-o", tmp_path / "run.h5", *SHORT)
    of_file = ptycho("reconstruct", tmp_path / "scan.h5", "-o", tmp_path / "file.h5", *SHORT)

    assert of_run[0] == of_file[0] == 0
    assert json.loads(of_run[1].splitlines()[-1])["frames"] == FRAMES
    with h5py.File(tmp_path / "run.h5") as one, h5py.File(tmp_path / "file.h5") as other:
        for name in ARRAYS:
            assert one[name][()].tobytes() == other[name][()].tobytes()
        np.testing.assert_array_equal(one["object"][()], result.object)
        np.testing.assert_array_equal(one["probe"][()], result.probe)


@pytest.mark.parametrize("form", [["--tiled", "{uri}"], ["--tiled={uri}"]])
def test_the_key_is_nowhere_and_the_run_and_its_address_are_kept(
    ptycho: Command, tiled_server: LocalTiledServer, run: str, tmp_path: Path, form: list[str]
) -> None:
    output, (address, key) = tmp_path / "map.h5", split_key(tiled_server.uri)
    named = [part.format(uri=tiled_server.uri) for part in form]
    status, stdout, stderr = ptycho("reconstruct", run, *named, "-o", output, *SHORT)
    assert status == 0
    assert key is not None
    assert key not in stdout + stderr
    assert key.encode() not in output.read_bytes()
    with h5py.File(output) as file:
        made_by = json.loads(file["provenance"][()])
    assert made_by["source"] == {"run_uid": run, "tiled": address}
    assert f"reconstruct {run} --tiled" in made_by["command"]
    assert address in made_by["command"]


def test_the_key_in_the_environment_will_do(
    ptycho: Command,
    tiled_server: LocalTiledServer,
    run: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, key = split_key(tiled_server.uri)
    monkeypatch.setenv("TILED_API_KEY", str(key))
    status, stdout, stderr = ptycho("reconstruct", run, "--tiled", address, "-o", tmp_path / "map.h5", *SHORT)
    assert status == 0
    assert str(key) not in stdout + stderr
    assert str(key).encode() not in (tmp_path / "map.h5").read_bytes()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://127.0.0.1:9", "cannot be reached (ConnectError)"),
        ("scan.h5", "is no address of a Tiled tree"),
        ("http://127.0.0.1:abc", "is no address of a Tiled tree"),
    ],
)
def test_where_no_server_is(refused: Callable[..., str], address: str, sentence: str) -> None:
    stderr = refused("some-uid", f"{address}?api_key=0secret0")
    assert sentence in stderr
    assert "0secret0" not in stderr


def test_a_missing_and_a_wrong_key(refused: Callable[..., str], tiled_server: LocalTiledServer) -> None:
    address, _ = split_key(tiled_server.uri)
    assert "asks for an API key: set TILED_API_KEY" in refused("some-uid", address)
    stderr = refused("some-uid", f"{address}?api_key={'0' * 64}")
    assert "refused the API key" in stderr
    assert "0" * 64 not in stderr


@pytest.mark.parametrize("suffix", ["", "/primary", "/../x"])
def test_what_names_no_run(
    refused: Callable[..., str], tiled_server: LocalTiledServer, run: str, suffix: str
) -> None:
    name = f"{run}{suffix}" if suffix else ""
    assert f"there is no run {name!r}" in refused(name, tiled_server.uri)


def test_an_address_where_the_uid_should_be(refused: Callable[..., str]) -> None:
    stderr = refused("http://127.0.0.1:9?api_key=0secret0", "http://127.0.0.1:9?api_key=0secret0")
    assert "give the uid of its run" in stderr
    assert "0secret0" not in stderr


def test_an_item_of_a_tree_is_no_tree(
    refused: Callable[..., str], tiled_server: LocalTiledServer, run: str
) -> None:
    address, key = split_key(tiled_server.uri)
    frames = f"{address}/metadata/raw/{run}/primary/pilatus?api_key={key}"
    assert "is no tree but a single item" in refused(run, frames)


@pytest.mark.parametrize(
    ("run_is", "sentence"),
    [
        ({"count": 1, "start": {"ptycho": {}}}, "cannot be used"),
        ({"count": 1, "purpose": "background", "probe": None}, "is of purpose 'background'"),
        ({"count": 0}, "ended before its first exposure was complete"),
        ({"count": 1}, "these look like one single place"),
    ],
)
def test_a_run_that_cannot_be_reconstructed(
    refused: Callable[..., str],
    tiled_server: LocalTiledServer,
    write: Callable[..., str],
    run_is: dict[str, Any],
    sentence: str,
) -> None:
    assert sentence in refused(write(**run_is), tiled_server.uri)


def test_a_run_of_another_plan(
    refused: Callable[..., str], tiled_server: LocalTiledServer, writer: Any
) -> None:
    run = event_model.compose_run(metadata={"plan_name": "count"})
    writer("start", run.start_doc)
    writer("stop", run.compose_stop())
    assert "is not a ptychographic scan" in refused(run.start_doc["uid"], tiled_server.uri)


def test_a_run_without_a_probe_needs_a_zone_plate(
    refused: Callable[..., str],
    ptycho: Command,
    tiled_server: LocalTiledServer,
    write: Callable[..., str],
    tmp_path: Path,
) -> None:
    uid = write(probe=None)
    stderr = refused(uid, tiled_server.uri)
    assert f"run {uid} holds no start probe" in stderr
    assert "--zone-plate" in stderr
    output = tmp_path / "map.h5"
    status, *_ = ptycho("reconstruct", uid, "--tiled", tiled_server.uri, "-o", output, *SHORT, *OPTIC)
    assert status == 0
    assert output.is_file()


@pytest.fixture(scope="module")
def shared_server(
    tiled_server: LocalTiledServer, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server of the same runs with users and keys of several rights."""
    import uvicorn
    from tiled.catalog import from_uri
    from tiled.config import Authentication, Database
    from tiled.server.app import build_app
    from tiled.server.simple import ThreadedServer

    folder = tmp_path_factory.mktemp("shared")
    catalog = from_uri(
        tiled_server.directory / "catalog.db", writable_storage=[folder], readable_storage=[data_folder]
    )
    users = {
        "provider": "house",
        "authenticator": "tiled.authenticators:DictionaryAuthenticator",
        "args": {"users_to_passwords": {"alice": "a word"}},
    }
    app = build_app(
        catalog,
        authentication=Authentication(providers=[users], secret_keys=["0" * 64]),
        server_settings={
            "database": Database(uri=f"sqlite:///{folder / 'users.db'}", init_if_not_exists=True)
        },
    )
    server = ThreadedServer(uvicorn.Config(app, port=0, loop="asyncio", log_config=None))
    with server.run_in_thread() as address:
        while httpx.get(f"{address}/healthz").is_error:
            time.sleep(0.1)
        yield address


@pytest.fixture(scope="module")
def weak_key(shared_server: str) -> str:
    """A key that may know what there is, and read nothing of it."""
    from tiled.client.context import Context, password_grant

    context, _ = Context.from_any_uri(shared_server)
    with context:
        sign_in = context.server_info.authentication.providers[0].links["auth_endpoint"]
        tokens = password_grant(context.http_client, sign_in, "house", "alice", "a word")
        context.configure_auth(tokens, remember_me=False)
        return str(context.create_api_key(scopes=["read:metadata"])["secret"])


def test_a_key_without_the_rights(
    refused: Callable[..., str], shared_server: str, weak_key: str, run: str
) -> None:
    stderr = refused(run, f"{shared_server}?api_key={weak_key}")
    assert "refused the API key" in stderr
    assert weak_key not in stderr


def test_a_server_with_users_asks_for_a_key_too(
    refused: Callable[..., str], shared_server: str, run: str
) -> None:
    assert "asks for an API key: set TILED_API_KEY" in refused(run, shared_server)
