"""A final result cannot be changed unnoticed, and one that was cut off in its writing is written once."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tiled.utils import path_from_uri

from ptycho_plugin.cli import main
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.io.result_file import read_metadata
from ptycho_plugin.publishing import results as module
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.publishing.results import ResultWriter
from ptycho_plugin.publishing.run_facts import facts_of_run
from ptycho_plugin.publishing.schema import arrays_of
from ptycho_plugin.publishing.seal import array_sha256, record_of, record_sha256
from ptycho_plugin.publishing.verification import verify_results
from ptycho_plugin.reconstruction.result import Result


@pytest.fixture
def results(data_folder: Path) -> Path:
    """A folder of result files that the server may read."""
    return data_folder / "results of the beamline"


@pytest.fixture
def publish(tiled: Any, raw_run: Any, small_result: Result, results: Path) -> Callable[..., Any]:
    """Publish a result of a run of its own; return its node."""

    def publish(folder: Path | None = results) -> Any:
        start = raw_run(sample="film")
        ResultWriter(tiled, start["uid"], facts_of_run(start), folder).write_final(small_result)
        return tiled["reconstructions", start["uid"]]

    return publish


def faults(tiled: Any, node: Any) -> list[str]:
    (found,) = verify_results(tiled, [node.path_parts[-1]])
    return [f"{kind}: {what}" for kind, what in found.faults]


def file_of(node: Any) -> Path:
    (source,) = node["phase"].data_sources()
    return path_from_uri(source.assets[0].data_uri)


def test_tiled_serves_the_final_result_from_a_file_that_nobody_writes_again(
    tiled: Any, publish: Any, small_result: Result, results: Path
) -> None:
    node = publish()
    seal = node.metadata["seal"]
    file = results / seal["file"]["name"]
    assert file_of(node) == file
    assert file.stat().st_mode & 0o777 == 0o444
    assert (seal["storage"], seal["reason"], seal["file"]["size"]) == ("file", "", file.stat().st_size)
    assert file.name == f"{node.path_parts[-1]}.{seal['file']['sha256'][:12]}.h5"
    assert node.specs[0].version == "2"
    for name, array in arrays_of(small_result).items():
        assert node[name].data_sources()[0].management == "external"
        np.testing.assert_array_equal(node[name].read(), array, strict=True)
        assert node.metadata["checksums"][name] == array_sha256(node[name].read())
    assert set(node) == set(node.metadata["checksums"])
    assert read_metadata(file) == record_of(node.metadata)
    assert not list(results.glob(".*")), "nothing half written is left"
    assert faults(tiled, node) == []


@pytest.fixture
def restored(tiled: Any, small_result: Result, results: Path) -> Iterator[Any]:
    """A published result whose run is not in Tiled; file and metadata are put right again afterwards."""
    if "reconstructions/restored" not in tiled:
        ResultWriter(tiled, "restored", {"sample": "film"}, results).write_final(small_result)
    node = tiled["reconstructions", "restored"]
    file, metadata = file_of(node), dict(node.metadata)
    content = file.read_bytes()
    yield node
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    file.chmod(0o444)
    node.replace_metadata(metadata, drop_revision=True)


def rewrite(change: Callable[[bytes], bytes], node: Any) -> None:
    file = file_of(node)
    file.chmod(0o644)
    file.write_bytes(change(file.read_bytes()))
    file.chmod(0o444)


def edited(content: bytes, edit: Callable[[h5py.File], None]) -> bytes:
    opened = io.BytesIO(content)
    with h5py.File(opened, "r+") as file:
        edit(file)
    return opened.getvalue()


def other_pixel(file: h5py.File) -> None:
    file["phase"][3, 4] += 1e-3


def other_sample_in_file(file: h5py.File) -> None:
    metadata = json.loads(file["metadata"][()])
    del file["metadata"]
    file["metadata"] = json.dumps({**metadata, "sample": "another"})


def flipped_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def alter(node: Any, **metadata: Any) -> None:
    node.update_metadata(metadata, drop_revision=True)


def sign_again(node: Any, **metadata: Any) -> None:
    """Change metadata as somebody would who knows of the record's digest."""
    alter(node, **metadata)
    digest = record_sha256(record_of(node.metadata))
    alter(node, seal={**node.metadata["seal"], "record_sha256": digest})


def unseal(node: Any) -> None:
    metadata = {key: value for key, value in node.metadata.items() if key != "seal"}
    node.replace_metadata(metadata, drop_revision=True)


FILE = "the file {file} has other bytes than were sealed"
UNSEALED = "its metadata have no seal: it is of schema version 1, or somebody removed it"
RECORD = "the metadata in Tiled are not those that were sealed"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda node: rewrite(flipped_bit, node), [("changed", FILE)]),
        (
            lambda node: rewrite(lambda content: edited(content, other_pixel), node),
            [("changed", FILE), ("changed", "'phase', as Tiled serves it, is not what was published")],
        ),
        (
            lambda node: rewrite(lambda content: edited(content, other_sample_in_file), node),
            [("changed", FILE), ("changed", "the metadata 'sample' in Tiled are not those in the file")],
        ),
        (
            lambda node: rewrite(lambda content: content[:1000], node),
            [("changed", FILE), ("changed", "the file does not hold the metadata any more")],
        ),
        (lambda node: file_of(node).chmod(0o644), [("writable", "the file {file} is not read-only")]),
        (
            lambda node: file_of(node).unlink(),
            [("missing", "the file {file} is not here, and Tiled cannot give it out")],
        ),
        (
            lambda node: alter(node, sample="another"),
            [("changed", RECORD), ("changed", "the metadata 'sample' in Tiled are not those in the file")],
        ),
        (
            lambda node: sign_again(node, sample="another"),
            [("changed", "the metadata 'sample' in Tiled are not those in the file")],
        ),
        (
            lambda node: alter(node, note="good"),
            [("changed", RECORD), ("changed", "the metadata 'note' in Tiled are not those in the file")],
        ),
        (
            lambda node: alter(node, status="live"),
            [("changed", RECORD), ("changed", "the metadata 'status' in Tiled are not those in the file")],
        ),
        (
            lambda node: alter(node, checksums="none"),
            [("changed", RECORD), ("changed", "the metadata 'checksums' in Tiled are not those in the file")],
        ),
        (
            lambda node: alter(node, seal={**node.metadata["seal"], "storage": "tiled", "file": None}),
            [("changed", "'phase' is served from {file.name}")],
        ),
        (
            unseal,
            [("unsealed", "its metadata have no seal: it is of schema version 1, or somebody removed it")],
        ),
    ],
)
def test_what_was_changed_is_found_and_named(
    tiled: Any, restored: Any, change: Callable[[Any], None], told: list[tuple[str, str]]
) -> None:
    file = file_of(restored)
    change(restored)
    found = faults(tiled, restored)
    for kind, sentence in told:
        assert f"{kind}: {sentence.format(file=file)}" in found


def test_what_is_put_right_again_is_as_published(tiled: Any, restored: Any) -> None:
    """After all that the tests above have done to it."""
    assert faults(tiled, restored) == ["unlinked: the raw run restored is not in Tiled"]


def test_an_array_that_was_replaced_removed_or_added_is_named(tiled: Any, publish: Any) -> None:
    node = publish()
    shape = node["phase"].shape
    for name in ("phase", "error"):
        node[name].delete()
    for name in ("phase", "mask"):
        node.write_array(np.zeros(shape, np.float32), key=name)
    assert sorted(faults(tiled, node)) == [
        "changed: 'mask' is served from storage of Tiled",
        "changed: 'mask', as Tiled serves it, is not what was published",
        "changed: 'phase' is served from storage of Tiled",
        "changed: 'phase', as Tiled serves it, is not what was published",
        "missing: 'error' is gone from Tiled",
    ]


def test_a_result_leads_to_its_run_and_the_run_to_it(tiled: Any, publish: Any) -> None:
    node = publish()
    uid = node.path_parts[-1]
    assert node.run.start["uid"] == uid
    node.run.delete(recursive=True, external_only=False)
    assert faults(tiled, node) == [f"unlinked: the raw run {uid} is not in Tiled"]
    sign_again(node, runs=["another"], run_uid="another")
    found = faults(tiled, node)
    assert "unlinked: it names run another as its own" in found
    assert "unlinked: the raw run another is not in Tiled" in found


def test_in_storage_of_tiled_arrays_and_metadata_are_checked_all_the_same(tiled: Any, publish: Any) -> None:
    node = publish(folder=None)
    seal = node.metadata["seal"]
    assert (seal["storage"], seal["file"]) == ("tiled", None)
    assert "no folder of result files" in seal["reason"]
    assert faults(tiled, node) == []
    node["probe"].write(2 * node["probe"].read())
    assert faults(tiled, node) == ["changed: 'probe', as Tiled serves it, is not what was published"]
    alter(node, sample="another")
    other = "unlinked: 'sample' is 'another', in the start document of its run 'film'"
    probe = "changed: 'probe', as Tiled serves it, is not what was published"
    assert faults(tiled, node) == [f"changed: {RECORD}", probe, other]
    sign_again(node)
    assert faults(tiled, node) == [probe, other]


def test_a_file_that_the_server_may_not_read_is_kept_and_tiled_has_the_arrays(
    tiled: Any, publish: Any, small_result: Result, tmp_path: Path
) -> None:
    node = publish(folder=tmp_path / "elsewhere")
    seal = node.metadata["seal"]
    assert seal["storage"] == "tiled"
    assert seal["reason"].startswith("Tiled does not serve the file")
    assert (tmp_path / "elsewhere" / seal["file"]["name"]).is_file()
    np.testing.assert_array_equal(node.phase, small_result.phase)
    assert faults(tiled, node) == []


def test_a_folder_that_cannot_be_written_is_told(tiled: Any, publish: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    node = publish(folder=tmp_path / "taken")
    assert node.metadata["seal"]["reason"].startswith("the folder of result files cannot be written")
    assert faults(tiled, node) == []


class Killed(BaseException):
    """The end of a process."""


class Fuse:
    """Ends the process before a request that changes something in Tiled."""

    def __init__(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        send = client.context.http_client.send

        def send_unless_killed(request: Any, *arguments: Any, **options: Any) -> Any:
            if self.left is not None and request.method != "GET":
                if self.left == 0:
                    raise Killed
                self.left -= 1
            return send(request, *arguments, **options)

        monkeypatch.setattr(client.context.http_client, "send", send_unless_killed)


def test_cut_off_after_any_step_it_is_final_once_in_the_end(
    tiled: Any,
    raw_run: Any,
    small_result: Result,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each attempt goes one step farther than the one before, and finds what that has left."""
    start = raw_run()
    fuse, attempts, key = Fuse(tiled, monkeypatch), 0, f"reconstructions/{start['uid']}"
    while True:
        writer = ResultWriter(tiled, start["uid"], facts_of_run(start), results)
        writer.write_live(small_result)
        fuse.left = attempts
        try:
            writer.write_final(small_result, {"attempt": attempts})
        except Killed:
            attempts += 1
            fuse.left = None
            assert tiled[key].status == "live"
        else:
            break
    assert attempts == len(arrays_of(small_result)) + 3 + 1, "arrays, maps that make room, metadata"
    fuse.left = None
    node = tiled[key]
    assert (node.status, node.metadata["attempt"]) == ("final", attempts)
    assert faults(tiled, node) == []
    # The answer to the last request was lost: the same once more changes nothing, another one is refused.
    ResultWriter(tiled, start["uid"], facts_of_run(start), results).write_final(small_result)
    assert tiled[key].metadata["attempt"] == attempts
    assert list(tiled["reconstructions"]).count(start["uid"]) == 1


@pytest.mark.parametrize("step", ["write_result", "keep"])
def test_cut_off_while_the_file_is_written_nothing_is_final(
    tiled: Any,
    raw_run: Any,
    small_result: Result,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    start = raw_run()
    writer = ResultWriter(tiled, start["uid"], facts_of_run(start), results)
    writer.write_live(small_result)
    done = getattr(module, step)

    def do_and_die(*arguments: Any) -> None:
        done(*arguments)
        raise Killed

    monkeypatch.setattr(module, step, do_and_die)
    with pytest.raises(Killed):
        writer.write_final(small_result)
    monkeypatch.setattr(module, step, done)
    node = tiled["reconstructions", start["uid"]]
    assert node.status == "live"
    ResultWriter(tiled, start["uid"], facts_of_run(start), results).write_final(small_result)
    assert faults(tiled, tiled["reconstructions", start["uid"]]) == []


def test_a_writer_that_was_overtaken_overwrites_nothing(
    tiled: Any, raw_run: Any, small_result: Result, results: Path
) -> None:
    start = raw_run()
    uid = start["uid"]
    slow, fast = (ResultWriter(tiled, uid, facts_of_run(start), results) for _ in range(2))
    slow.write_live(small_result)
    fast.write_final(small_result)
    other = Result(
        **{name: getattr(small_result, name) for name in small_result.__slots__} | {"residual": 0.5}
    )
    other.probe[:] *= 2
    with pytest.raises(PublishingError, match="is final"):
        slow.write_final(other)
    assert faults(tiled, tiled["reconstructions", uid]) == []


@pytest.fixture
def verify(tiled_server: Any, monkeypatch: Any, capsys: Any) -> Callable[..., Any]:
    """``ptycho verify`` of these runs: its exit status, the object that it ends with, and what it says."""
    address, key = split_key(tiled_server.uri)
    monkeypatch.setenv("TILED_API_KEY", key)

    def run(*uids: str) -> Any:
        monkeypatch.setattr("sys.argv", ["ptycho", "verify", address, *uids])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().out
        return ended.value.code, json.loads(said.splitlines()[-1]), said

    return run


def test_the_command_names_what_is_wrong(tiled: Any, publish: Any, verify: Any) -> None:
    sound, changed = publish(), publish()
    alter(changed, sample="another")
    one, two = (node.path_parts[-1] for node in (sound, changed))
    status, told, _ = verify(one)
    digest = sound.metadata["seal"]["file"]["sha256"]
    assert (status, told["checked"], told["sound"], told["sha256"]) == (0, 1, 1, {one: digest})
    status, told, said = verify(one, two, "nothing")
    assert status == 1
    assert {kind: told[kind] for kind in ("checked", "sound", "changed", "missing")} == {
        "checked": 3,
        "sound": 1,
        "changed": 1,
        "missing": 1,
    }
    assert "'sample'" in said
    assert "no published" in said


def test_all_results_are_checked_unless_runs_are_named(tiled: Any, publish: Any, verify: Any) -> None:
    node = publish()
    told = verify()[1]
    assert node.path_parts[-1] in told["sha256"]
    published = [uid for uid, one in tiled["reconstructions"].items() if one.metadata["status"] != "live"]
    assert told["checked"] >= len(published)


def test_however_often_it_is_tried_there_is_one_file(
    tiled: Any,
    raw_run: Any,
    small_result: Result,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = raw_run()
    fuse, writer = Fuse(tiled, monkeypatch), ResultWriter(tiled, start["uid"], facts_of_run(start), results)
    for left in (0, 1, 2):
        fuse.left = left
        with pytest.raises(Killed):
            writer.write_final(small_result)
    fuse.left = None
    writer.write_final(small_result)
    assert len(list(results.glob(f"{start['uid']}.*.h5"))) == 1
    assert faults(tiled, tiled["reconstructions", start["uid"]]) == []
