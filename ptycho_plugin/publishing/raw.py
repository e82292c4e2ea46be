"""A measured scan back from Tiled alone: frames, positions, mask and probe of ``raw/<uid>``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError, PublishingError
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.io.checks import check_scan_size
from ptycho_plugin.measurement import Measurement
from ptycho_plugin.metadata import RECONSTRUCTED, ScanMetadata, StoredProbe
from ptycho_plugin.publishing.calibrations import CalibrationStore, start_probe
from ptycho_plugin.publishing.connection import tiled_errors
from ptycho_plugin.region_dose import Illumination

RUN_SPEC = "BlueskyRun"
FRAMES_PER_REQUEST = 32
"""The server unpacks whole frames to cut them: this many answer well within its timeout."""


class _NoFrameError(InputError):
    """A run that ended before its first exposure was complete."""


def dataset_from_tiled(client: Any, run_uid: str) -> PtychoDataset:
    """Return the scan of a run, with the start probe that it names, from what Tiled holds.

    A run that continues others is one scan with them: their frames come in the order of the scan's
    points, of each point the first. Frames are cut on the server, only the crop travels. Frame ``i``
    belongs to the event with sequence number ``i + 1``.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    run_uid : str
        Of the last run, where several make up the scan.

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached, or does not hold the run, one that it continues, its
        probe or its mask.
    InputError
        If the run is no scan of ours or took no frame, its frames and events do not belong together,
        or its positions make no scan.
    """
    with tiled_errors(client):
        run = _run(client, run_uid)
        metadata = _scan(run, run_uid)
        store = CalibrationStore(client)
        if metadata.continues:
            parts = [_part_or_none(client, uid, store) for uid in (*metadata.continues, run_uid)]
            dataset = _in_scan_order([part for part in parts if part is not None], metadata, run_uid)
        else:
            dataset = _part(run, run_uid, store).dataset
        taken = datetime.fromtimestamp(run.start["time"], UTC)
        probe, warnings = start_probe(store, metadata, taken) if metadata.probe else (None, ())
    check_scan_size(dataset)
    return replace(dataset, probe=probe, remarks=(*dataset.remarks, *warnings))


@dataclass(frozen=True, slots=True)
class _Part:
    """What one run has of a scan.

    Parameters
    ----------
    dataset : PtychoDataset
    points : ndarray, (frame,), int64
        Numbers of the scan's points.
    coarse_um : (float, float) or None
    """

    dataset: PtychoDataset
    points: NDArray[np.int64]
    coarse_um: tuple[float, float] | None


def _part_or_none(client: Any, run_uid: str, store: CalibrationStore) -> _Part | None:
    """Return what a run has of a scan, or None if it ended before its first frame."""
    try:
        return _part(_run(client, run_uid), run_uid, store)
    except _NoFrameError:
        return None


def _part(run: Any, run_uid: str, store: CalibrationStore) -> _Part:
    metadata = _scan(run, run_uid)
    frames, numbers, stage_um = _recorded(run, metadata, run_uid)
    measurement = measurement_of(metadata, frames.shape[-2:], store, run_uid)
    there, remarks = _with_frame(numbers, len(frames), run_uid, is_whole=bool(run.metadata.get("stop")))
    raw = _read(frames, measurement.window, run_uid)
    dataset = measurement.dataset(raw[numbers[there] - 1], stage_um[there])
    events = numbers[there] - 1
    points = events if metadata.points is None else np.array(metadata.points, np.int64)[events]
    return _Part(replace(dataset, remarks=(*dataset.remarks, *remarks)), points, metadata.coarse_um)


def _in_scan_order(parts: list[_Part], metadata: ScanMetadata, run_uid: str) -> PtychoDataset:
    """Return the frames of several runs of a scan as one dataset."""
    if not parts:
        raise InputError(f"neither run {run_uid} nor those that it continues have a frame")
    scans = [part.dataset for part in parts]
    if any(not np.array_equal(scan.mask, scans[0].mask) for scan in scans):
        scans = [replace(scan, mask=np.broadcast_to(scan.mask, scan.frames.shape)) for scan in scans]
    joined = PtychoDataset.joined(scans)
    points = np.concatenate([part.points for part in parts])
    shifts = [_coarse_shift(metadata, part, parts[0]) for part in parts]
    positions = joined.positions + np.concatenate(shifts)
    there, first = np.unique(points, return_index=True)
    total = len(metadata.trajectory.offsets_um())
    absent = sorted({*range(total)} - {*there.tolist()})
    remark = f"points {', '.join(map(str, absent))} of the scan have no frame"
    return replace(
        joined,
        frames=joined.frames[first],
        positions=positions[first],
        mask=joined.mask if joined.mask.ndim == 2 else joined.mask[first],
        source=f"run {run_uid}, with {len(metadata.continues)} that it continues",
        remarks=(*joined.remarks, *([remark] if absent else ())),
    )


def _coarse_shift(metadata: ScanMetadata, part: _Part, first: _Part) -> NDArray[np.float64]:
    """Return by how much the coarse stage had come back elsewhere, (frame, 2), in metres on the object."""
    shift = np.zeros((len(part.points), 2))
    if part.coarse_um is not None and first.coarse_um is not None:
        shift += np.subtract(part.coarse_um, first.coarse_um)
    return metadata.position_sign.to_probe_positions(shift) * M_PER_UM


def illumination_from_tiled(client: Any, run_uid: str) -> Illumination:
    """Return the illumination of a run: the probe that its reconstruction starts from.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    run_uid : str

    Raises
    ------
    PublishingError, InputError
        As from `dataset_from_tiled`; also if the run names no probe.
    """
    with tiled_errors(client):
        run = _run(client, run_uid)
        metadata = ScanMetadata.from_start(dict(run.start))
        taken = datetime.fromtimestamp(run.start["time"], UTC)
        probe, _ = start_probe(CalibrationStore(client), metadata, taken)
    stored = isinstance(metadata.probe, StoredProbe)
    return Illumination(
        probe=probe,
        pixel=metadata.geometry.object_pixel,
        position_sign=metadata.position_sign,
        source=f"the {'measured probe' if stored else 'model of the zone plate'} that run {run_uid} names",
    )


def measurement_of(
    metadata: ScanMetadata, detector_shape: tuple[int, ...], store: CalibrationStore, run_uid: str
) -> Measurement:
    """Return the measurement of a run with the mask that its metadata names, read from Tiled.

    Raises
    ------
    PublishingError
        If the mask cannot be read.
    InputError
        If it has another shape than the frames, or the crop leaves the detector.
    """
    valid = store.mask(metadata.mask_version) if metadata.mask_version else None
    if valid is not None and valid.shape != detector_shape:
        raise InputError(
            f"mask {metadata.mask_version} has shape {valid.shape}, the frames of run {run_uid} "
            f"{detector_shape}: name the mask of this detector"
        )
    return Measurement(metadata, detector_shape, valid, f"run {run_uid}")


def _run(client: Any, run_uid: str) -> Any:
    try:
        run = client["raw", run_uid]
    except KeyError:
        run = None
    if run is None or RUN_SPEC not in {spec.name for spec in run.specs}:
        raise PublishingError(
            f"there is no run {run_uid!r} in 'raw' of {client.uri}, or the API key may not read it: "
            "check the uid and the key"
        )
    return run


def _scan(run: Any, run_uid: str) -> ScanMetadata:
    metadata = ScanMetadata.from_start(dict(run.start))
    if metadata.purpose not in RECONSTRUCTED:
        raise InputError(f"run {run_uid} is of purpose '{metadata.purpose}': name the run of a scan")
    return metadata


def _recorded(
    run: Any, metadata: ScanMetadata, run_uid: str
) -> tuple[Any, NDArray[np.int64], NDArray[np.float64]]:
    """Return the frames' client, and the sequence numbers and stage positions of the events."""
    try:
        stream = run["primary"]
        return stream[metadata.frame_key], *_events(stream.base["internal"], metadata)
    except KeyError:
        raise _NoFrameError(
            f"run {run_uid} has no frames with positions: it ended before its first exposure was complete"
        ) from None


def _events(table: Any, metadata: ScanMetadata) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return sequence numbers and measured stage positions in micrometres, each event once."""
    events = table.read(["seq_num", *metadata.position_keys]).drop_duplicates("seq_num")
    return events["seq_num"].to_numpy(np.int64), events[list(metadata.position_keys)].to_numpy(np.float64)


def _with_frame(
    numbers: NDArray[np.int64], frames: int, run_uid: str, *, is_whole: bool
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    unknown = frames - int(numbers.max(initial=0))
    if is_whole and unknown > 0:
        raise InputError(
            f"run {run_uid} has {frames} frames but events up to {numbers.max(initial=0)} only: "
            "which frame belongs to which position cannot be told"
        )
    there = numbers <= frames
    lost = int(np.count_nonzero(~there))
    remarks = [f"{lost} events of run {run_uid} have no frame and are left out"] if lost else []
    if unknown > 0:  # the process was killed, and had told Tiled of them before their events
        remarks.append(
            f"{unknown} frames of run {run_uid}, which was cut off, have no event and are left out"
        )
    return there, tuple(remarks)


def _read(frames: Any, window: tuple[slice, slice], run_uid: str) -> NDArray[Any]:
    """Return the window of every frame; where an event says how many it has, it must be one."""
    frames_an_event = frames.shape[1:-2]
    if any(count != 1 for count in frames_an_event):
        raise InputError(
            f"run {run_uid} has {prod(frames_an_event)} frames in an event: which of them belongs to its "
            "position cannot be told"
        )
    one = (0,) * len(frames_an_event)
    starts = range(0, len(frames), FRAMES_PER_REQUEST)
    return np.concatenate([frames[start : start + FRAMES_PER_REQUEST, *one, *window] for start in starts])
