"""Whether results in Tiled are what was published; `ptycho_plugin.publishing.seal` says what proves what."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ValidationError

from ptycho_plugin.errors import InputError
from ptycho_plugin.io.atomic import WRITABLE
from ptycho_plugin.io.result_file import read_metadata
from ptycho_plugin.publishing.connection import tiled_errors
from ptycho_plugin.publishing.run_facts import facts_of_run
from ptycho_plugin.publishing.schema import CONTAINER, SEAL
from ptycho_plugin.publishing.seal import ALONE, OK, Seal, record_of, record_sha256, served_sha256

Kind = Literal["missing", "changed", "writable", "unlinked", "unsealed"]
"""Of what is wrong: something is gone, or other than it was; the file may be written; the raw run is gone, or
says other things; there is nothing to check by."""


class Fault(NamedTuple):
    """Something wrong with a result."""

    kind: Kind
    what: str


@dataclass(frozen=True)
class Verification:
    """What was found of one result.

    Parameters
    ----------
    run_uid : str
    seal : Seal or None
        As its metadata have it now.
    faults : tuple of Fault
        None where it is what was published.
    """

    run_uid: str
    seal: Seal | None
    faults: tuple[Fault, ...]


def verify_results(client: Any, run_uids: Sequence[str] = ()) -> Iterator[Verification]:
    """Check the results of runs, one after the other; unless any are named, all that are not live.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    run_uids : sequence of str

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached.
    """
    with tiled_errors(client):
        results = client.get(CONTAINER, {})
        for uid in run_uids or results:
            node = results.get(uid)
            if node is not None and (node.metadata["status"] != "live" or SEAL in node.metadata):
                yield _verified(client, uid, node)
            elif run_uids:
                yield Verification(uid, None, (Fault("missing", "it has no published result in Tiled"),))


class _Links(BaseModel):
    """What is read of a record, to see where it leads."""

    run_uid: str
    runs: list[str]
    checksums: dict[str, str]


def _verified(client: Any, uid: str, node: Any) -> Verification:
    try:
        seal = Seal.model_validate(node.metadata.get(SEAL))
    except ValidationError:
        what = "its metadata have no seal: it is of schema version 1, or somebody removed it"
        return Verification(uid, None, (Fault("unsealed", what),))
    record = record_of(node.metadata)
    arrays = dict(node.include_data_sources().items())
    faults = [*_of_record(record, seal), *_of_file(arrays, record, seal)]
    try:
        links = _Links.model_validate(record)
    except ValidationError:
        return Verification(uid, seal, tuple(faults))
    if all(fault.kind != "missing" for fault in faults):
        faults += _of_arrays(arrays, links.checksums)
    faults += _of_links(client, uid, links, record)
    return Verification(uid, seal, tuple(faults))


def _of_record(record: Mapping[str, Any], seal: Seal) -> Iterator[Fault]:
    if record_sha256(record) != seal.record_sha256:
        yield Fault("changed", "the metadata in Tiled are not those that were sealed")


def _of_file(arrays: Mapping[str, Any], record: Mapping[str, Any], seal: Seal) -> Iterator[Fault]:
    """Tell what is wrong with the file that the arrays are served from."""
    assets = {name: _asset(array) for name, array in arrays.items()}
    served = next((name for name, asset in assets.items() if asset is not None), None)
    expected = seal.file.name if seal.file is not None and seal.storage == "file" else None
    for name, asset in assets.items():
        where = None if asset is None else _path(asset).name
        if where != expected:
            yield Fault("changed", f"'{name}' is served from {where or 'storage of Tiled'}")
    if served is None or seal.file is None:
        return
    path = _path(assets[served])
    content = _content(arrays[served], assets[served])
    if content is None:
        yield Fault("missing", f"the file {path} is not here, and Tiled cannot give it out")
        return
    if path.is_file() and path.stat().st_mode & WRITABLE:
        yield Fault("writable", f"the file {path} is not read-only")
    if hashlib.sha256(content).hexdigest() != seal.file.sha256:
        yield Fault("changed", f"the file {path} has other bytes than were sealed")
    yield from _of_copy(content, record)


def _of_copy(content: bytes, record: Mapping[str, Any]) -> Iterator[Fault]:
    """Tell which metadata in Tiled are other than in the file."""
    try:
        copy = read_metadata(io.BytesIO(content))
    except InputError:
        yield Fault("changed", "the file does not hold the metadata any more")
        return
    for key in sorted(copy.keys() | record.keys()):
        if (key in copy, copy.get(key)) != (key in record, record.get(key)):
            yield Fault("changed", f"the metadata '{key}' in Tiled are not those in the file")


def _of_arrays(arrays: Mapping[str, Any], checksums: Mapping[str, str]) -> Iterator[Fault]:
    for name in sorted(arrays.keys() | checksums.keys()):
        if name not in arrays:
            yield Fault("missing", f"'{name}' is gone from Tiled")
            continue
        served = served_sha256(arrays[name])
        if served is None:
            yield Fault("missing", f"Tiled cannot serve '{name}'")
        elif served != checksums.get(name):
            yield Fault("changed", f"'{name}', as Tiled serves it, is not what was published")


def _of_links(client: Any, uid: str, links: _Links, record: Mapping[str, Any]) -> Iterator[Fault]:
    """Tell which raw runs are gone, and where the result and its own run say other things."""
    if links.run_uid != uid:
        yield Fault("unlinked", f"it names run {links.run_uid} as its own")
    gone = [one for one in links.runs if "raw" not in client or one not in client["raw"]]
    yield from (Fault("unlinked", f"the raw run {one} is not in Tiled") for one in gone)
    if uid in gone or uid not in links.runs:
        return
    for key, said in facts_of_run(client["raw", uid].metadata["start"]).items():
        if record.get(key) != said:
            yield Fault(
                "unlinked", f"'{key}' is {record.get(key)!r}, in the start document of its run {said!r}"
            )


def _asset(array: Any) -> Any:
    """Return the file that Tiled serves an array from, or None where its own storage has it."""
    (source,) = array.data_sources()
    return source.assets[0] if source.management == "external" else None


def _path(asset: Any) -> Path:
    from tiled.utils import path_from_uri

    return Path(path_from_uri(asset.data_uri))


def _content(array: Any, asset: Any) -> bytes | None:
    """Return the bytes of a file: itself where this machine sees it, else as Tiled gives it out."""
    path = _path(asset)
    if path.is_file():
        return path.read_bytes()
    link = array.item["links"]["self"].replace("/metadata/", "/asset/bytes/", 1)
    answer = array.context.http_client.get(link, params={"id": asset.id}, headers=ALONE)
    return bytes(answer.content) if answer.status_code == OK else None
