"""What a final result is sealed with: digests that tell whether a part of it was changed.

The *record* is all of a result's metadata but its ``seal``: what was computed, of what, by what, with the
SHA-256 of every array's bytes in ``checksums``. The seal has the SHA-256 of the record, and of the file that
holds arrays and record. Every one of these proves another thing:

- the file's bytes have the digest in the seal: neither the file nor the seal was changed without the other;
- the record in Tiled is the one in the file: no metadata were changed in Tiled alone;
- what Tiled serves has the record's checksums: the arrays are those of this record, wherever they lie;
- the raw run says of sample, region, date and runs what the record says: they belong together.

Where Tiled's own storage has the arrays, the record's digest beside it finds what was changed by mistake, or
by who did not know of it. Nothing of this holds against who may write both the folder and the tree: for that,
keep elsewhere the line that ``ptycho verify`` prints. It has every digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.io.atomic import KeptFile
from ptycho_plugin.publishing.schema import SEAL

SERVED_AT_ONCE = 64 * 2**20
"""Bytes of an array in one request: a server refuses more than some hundred million."""
OK = 200
ALONE = {"Connection": "close"}
"""Of a request that may fail: a server that fails closes the connection, under the next request."""


class SealedFile(CheckedModel):
    """A result file: its name in its folder, and the SHA-256 and number of its bytes."""

    name: str
    sha256: str
    size: int


class Seal(CheckedModel):
    """What a result's metadata have under ``seal``."""

    storage: Literal["file", "tiled"]
    """Where Tiled has the arrays: in the file, or in storage of its own."""
    reason: str
    """Why in its own, or nothing."""
    record_sha256: str
    file: SealedFile | None
    """With arrays and record, whether or not Tiled serves it."""

    @classmethod
    def of(cls, record: Mapping[str, Any], file: KeptFile | None, reason: str) -> Self:
        """Return the seal of a record, as from `plain`; a reason says why Tiled does not serve the file."""
        return cls(
            storage="tiled" if reason else "file",
            reason=reason,
            record_sha256=record_sha256(record),
            file=file and SealedFile(name=file.path.name, sha256=file.sha256, size=file.size),
        )


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as Tiled keeps it: lists for tuples, null for what is no number."""
    from tiled.utils import safe_json_dump

    kept: dict[str, Any] = json.loads(safe_json_dump(dict(record)))
    return kept


def record_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that are under the seal."""
    return {key: value for key, value in plain(metadata).items() if key != SEAL}


def record_sha256(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record: of its JSON in UTF-8, keys in order, without spaces."""
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def array_sha256(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def served_sha256(node: Any) -> str | None:
    """Return the SHA-256 of an array's bytes as Tiled serves them, or None where it cannot.

    Not by the client's ``read``, which asks a server that cannot for half a minute.
    """
    rows = node.shape[0]
    step = max(1, SERVED_AT_ONCE * rows // max(1, node.nbytes))
    digest = hashlib.sha256()
    for first in range(0, rows, step):
        answer = node.context.http_client.get(
            node.item["links"]["full"],
            params={"slice": f"{first}:{first + step}", "format": "application/octet-stream"},
            headers=ALONE,
        )
        if answer.status_code != OK:
            return None
        digest.update(answer.content)
    return digest.hexdigest()
