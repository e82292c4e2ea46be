"""Writing a reconstruction to Tiled: a growing map during the scan, everything at its end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from ptycho_plugin.errors import InputError, PublishingError
from ptycho_plugin.io import write_result
from ptycho_plugin.io.atomic import KeptFile, keep
from ptycho_plugin.provenance import NUMERICAL_PACKAGES, provenance
from ptycho_plugin.publishing.connection import REFUSED, child, tiled_errors
from ptycho_plugin.publishing.schema import (
    CONTAINER,
    DIMENSIONS,
    SCHEMA_VERSION,
    SEAL,
    SPEC,
    arrays_of,
    facts_of,
    maps_of,
)
from ptycho_plugin.publishing.seal import Seal, array_sha256, plain, served_sha256
from ptycho_plugin.reconstruction.result import Result

Status = Literal["live", "final", "diverged"]
PACKAGES = (*NUMERICAL_PACKAGES, "bluesky", "tiled")
HDF5 = "application/x-hdf5"

logger = logging.getLogger(__name__)


class ResultWriter:
    """Writes one run's reconstruction under ``reconstructions/<run uid>``.

    The container appears with the first map; ``phase``, ``amplitude`` and ``trusted`` keep their shape and
    are overwritten in place. The final result is a file first, complete and read-only, whose arrays Tiled
    then serves; the maps are missing for a moment while they change places. Where the server does not serve
    that file, or there is no folder for it, Tiled's own storage takes the arrays. Both methods raise
    `PublishingError` when Tiled refuses or cannot be reached, and can be called again: the result is final
    with the last request, and until then another attempt begins anew.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    run_uid : str
        The raw run, and the key of the result.
    facts : mapping, optional
        What the metadata say of the run: see `ptycho_plugin.publishing.run_facts.facts_of_run`.
    folder : path, optional
        Of result files, which the server may read.

    Attributes
    ----------
    file : KeptFile or None
        With the final result, once it is written, whether or not Tiled took it.
    """

    def __init__(
        self,
        client: Any,
        run_uid: str,
        facts: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._client = client
        self._run_uid = run_uid
        self._facts = dict(facts or {})
        self._folder = folder
        self._node: Any = None
        self._arrays: dict[str, Any] = {}
        self.file: KeptFile | None = None
        # What is asked for again, where Tiled did not answer, needs no other file.
        self._recorded: Result | None = None
        self._about: tuple[dict[str, Any], Status] | None = None
        self._record: dict[str, Any] = {}
        self._no_file = ""

    @property
    def path(self) -> str:
        """Where the result is, below the tree's root."""
        return f"{CONTAINER}/{self._run_uid}"

    def provenance(self, result: Result) -> dict[str, Any]:
        """Return what made a result, and of which run, as JSON values."""
        return provenance(
            options=result.options.model_dump(mode="json"),
            frames=(0, len(result.positions)),
            source={"run_uid": self._run_uid},
            packages=PACKAGES,
        )

    def write_live(self, result: Result) -> None:
        """Show the map so far."""
        with self._attempt():
            metadata = self._metadata(result, "live")
            self._open(metadata)
            self._node.update_metadata(metadata, drop_revision=True)
            self._write_maps(result)

    def write_final(
        self, result: Result, md: Mapping[str, Any] | None = None, status: Status = "final"
    ) -> None:
        """Write everything, then mark the result final, or the last good one before a divergence.

        Parameters
        ----------
        result : Result
        md : mapping, optional
            What else should be known of it, such as how the run ended.
        status : "final" or "diverged"
            What is final is never overwritten, and the same arrays once more change nothing; what diverged is
            replaced.
        """
        arrays = arrays_of(result)
        about = dict(md or {}), status
        if self._recorded is not result or self._about != about:
            checksums = {name: array_sha256(array) for name, array in arrays.items()}
            self._record = plain({**self._metadata(result, status), **about[0], "checksums": checksums})
            self.file, self._no_file = self._as_file(result, self._record)
            self._recorded, self._about = result, about
        record, reason, checksums = self._record, self._no_file, self._record["checksums"]
        with self._attempt():
            if self._is_final_already(checksums):
                return
            self._open(self._metadata(result, "live"))
            if self.file is not None and not self._register(self.file, arrays, checksums):
                reason = "Tiled does not serve the file: see readable_storage in its configuration"
            if reason:
                self._store(arrays)
            seal = Seal.of(record, self.file, reason).model_dump()
            self._node.replace_metadata({**record, SEAL: seal}, specs=_specs(), drop_revision=True)

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        """Forget what one that failed had written: what of it Tiled took is not known."""
        try:
            with tiled_errors(self._client):
                yield
        except Exception:
            self._node, self._arrays = None, {}
            raise

    def _metadata(self, result: Result, status: Status) -> dict[str, Any]:
        about = {"run_uid": self._run_uid, "runs": [self._run_uid], **_NO_FACTS, **self._facts}
        return {
            **about,
            "status": status,
            "provenance": self.provenance(result),
            **facts_of(result),
        }

    def _as_file(self, result: Result, record: Mapping[str, Any]) -> tuple[KeptFile | None, str]:
        """Return the file that holds a final result, or None and why there is none."""
        if self._folder is None:
            return None, "no folder of result files was given"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f".{self._run_uid}.{os.getpid()}.h5"
            write_result(part, result, record["provenance"], record)
            return keep(part, self._run_uid), ""
        except (OSError, InputError) as error:
            logger.warning("the result of run %s goes into Tiled's own storage: %s", self._run_uid, error)
            return None, f"the folder of result files cannot be written: {error}"

    def _is_final_already(self, checksums: Mapping[str, str] | None = None) -> bool:
        """Return whether the very result is final, as after an answer that was lost; refuse another one."""
        parent = child(self._client, CONTAINER)
        if self._run_uid not in parent:
            return False
        node = parent[self._run_uid]
        if node.metadata["status"] != "final":
            return False
        if checksums is None or node.metadata.get("checksums") != checksums:
            raise PublishingError(f"{node.uri} is final: remove it there to reconstruct the run again")
        return True

    def _open(self, metadata: Mapping[str, Any]) -> None:
        """Have a node to write to, without what another attempt left in it."""
        if self._node is not None or self._is_final_already():
            return
        parent = self._client[CONTAINER]
        if self._run_uid in parent:
            parent[self._run_uid].delete(recursive=True, external_only=False)  # result files stay
        self._node = parent.create_container(self._run_uid, metadata=dict(metadata), specs=_specs())

    def _write_maps(self, result: Result) -> None:
        for name, array in maps_of(result).items():
            if name in self._arrays:
                self._arrays[name].write(array)
            else:
                self._write(name, array)

    def _register(
        self, file: KeptFile, arrays: Mapping[str, NDArray[Any]], checksums: Mapping[str, str]
    ) -> bool:
        """Let Tiled serve the arrays from their file; return whether it does, with the right bytes."""
        import httpx

        for name, array in arrays.items():
            self._remove(name)
            try:
                node = self._node.new("array", [_source(file, name, array)], key=name)
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in REFUSED:
                    raise
                return False  # a key that may write, but not register
            self._arrays[name] = node
            if served_sha256(node) != checksums[name]:
                return False
        return True

    def _store(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name, array in arrays.items():
            self._remove(name)
            self._write(name, array)

    def _write(self, name: str, array: NDArray[Any]) -> None:
        self._arrays[name] = self._node.write_array(array, key=name, dims=DIMENSIONS[name])

    def _remove(self, name: str) -> None:
        if name in self._arrays:
            self._arrays.pop(name).delete(external_only=False)


_NO_FACTS = dict.fromkeys(("sample", "area", "region", "repeat", "purpose", "date"))


def _specs() -> list[Any]:
    from tiled.structures.core import Spec

    return [Spec(SPEC, version=str(SCHEMA_VERSION))]


def _source(file: KeptFile, name: str, array: NDArray[Any]) -> Any:
    """Return where Tiled finds an array of a result file."""
    from tiled.structures.array import ArrayStructure
    from tiled.structures.data_source import Asset, DataSource, Management
    from tiled.utils import ensure_uri

    structure = ArrayStructure.from_array(array)
    structure.dims = DIMENSIONS[name]
    uri = ensure_uri(file.path.resolve())
    return DataSource(
        structure_family="array",
        structure=structure,
        mimetype=HDF5,
        parameters={"dataset": name},
        management=Management.external,
        assets=[Asset(data_uri=uri, is_directory=False, parameter="data_uris", num=0)],
    )
