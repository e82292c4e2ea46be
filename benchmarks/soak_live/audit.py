"""What a run left in Tiled, against what it must have left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.soak_live.scan import RECIPE
from ptycho_plugin.measurement import planned_positions
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.schema import arrays_of
from ptycho_plugin.reconstruction.growing import GrowingReconstruction
from ptycho_plugin.reconstruction.result import Result

FREE = {
    *("uid", "time", "timestamps", "run_start", "descriptor", "stream_resource", "uri", "scan_id"),
    *("exit_status", "reason", "num_events", "versions", "assets", "data_sources"),
}
"""Keys of documents that differ between any two runs, or by how they ended, which is looked at by itself."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An undisturbed run, as Tiled has it.

    Parameters
    ----------
    documents : list of (str, mapping)
        Without what differs between any two runs.
    frames : ndarray, (frame, row, column)
    positions : ndarray, (frame, 2), float64
    """

    documents: list[tuple[str, Any]]
    frames: NDArray[Any]
    positions: NDArray[np.float64]


def reference(tiled: Any, uid: str) -> Reference:
    """Return an undisturbed run."""
    dataset = dataset_from_tiled(tiled, uid)
    return Reference(documents_of(tiled, uid), dataset.frames, dataset.positions)


def documents_of(tiled: Any, uid: str) -> list[tuple[str, Any]]:
    """Return the documents that Tiled gives of a run, without uids and times."""
    return [(name, _without_free(document)) for name, document in tiled["raw", uid].documents()]


def _without_free(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_free(item) for key, item in value.items() if key not in FREE}
    if isinstance(value, list | tuple):
        return [_without_free(item) for item in value]
    return value


@dataclass(slots=True)
class Findings:
    """What is wrong with a run.

    Parameters
    ----------
    lost, twice : int
        Events.
    unequal : list of str
    """

    lost: int = 0
    twice: int = 0
    unequal: tuple[str, ...] = ()


def audit(tiled: Any, uid: str, known: Reference, said: int, closed: bool) -> Findings:
    """Compare a run with an undisturbed one.

    Parameters
    ----------
    tiled : tiled client
    uid : str
    known : Reference
    said : int
        Events of which the RunEngine's process said that they are on the disk.
    closed : bool
        Whether that process closed the run.
    """
    numbers = [
        int(number) for number in tiled["raw", uid, "primary"].base["internal"].read(["seq_num"])["seq_num"]
    ]
    lost = len(set(range(1, said + 1)) - set(numbers))
    twice = len(numbers) - len(set(numbers))
    return Findings(lost, twice, tuple(_differences(tiled, uid, known, len(set(numbers)), closed)))


def _differences(tiled: Any, uid: str, known: Reference, events: int, closed: bool) -> Iterator[str]:
    run = tiled["raw", uid]
    yield from _raw_differences(run, documents_of(tiled, uid), known, events, closed)
    dataset = dataset_from_tiled(tiled, uid)
    pairs = (dataset.frames, known.frames[:events]), (dataset.positions, known.positions[:events])
    if not all(np.array_equal(there, wanted) for there, wanted in pairs):
        yield "frames or positions differ"
    result = tiled["reconstructions"][uid]
    if result.status != "final":
        yield f"the reconstruction is {result.status}"
        return
    expected = arrays_of(replayed(ScanMetadata.from_start(run.start), dataset))
    for name, array in expected.items():
        if not np.array_equal(array, result[name].read()):
            yield f"'{name}' of the reconstruction differs"


def _raw_differences(
    run: Any, documents: list[tuple[str, Any]], known: Reference, events: int, closed: bool
) -> Iterator[str]:
    stop = run.metadata["stop"]
    if stop["exit_status"] != ("success" if closed else "abort"):
        yield f"the run ended with {stop['exit_status']}"
    if stop["num_events"].get("primary") != events:
        yield f"the stop document tells of {stop['num_events']} events, and there are {events}"
    if closed and documents != known.documents:
        yield "documents differ"


def replayed(scan: ScanMetadata, dataset: Any) -> Result:
    """Return the reconstruction of a run's frames, offline."""
    growing = GrowingReconstruction(dataset.geometry, dataset.probe, planned_positions(scan), RECIPE)
    growing.add(dataset.intensities(), dataset.positions)
    return growing.finish()
