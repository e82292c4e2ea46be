"""A measured scan back from Tiled alone: frames, positions, mask and probe of ``raw/<uid>``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError, PublishingError
from ptycho_plugin.io.checks import check_scan_size
from ptycho_plugin.measurement import Measurement
from ptycho_plugin.metadata import RECONSTRUCTED, ScanMetadata, StoredProbe
from ptycho_plugin.publishing.calibrations import CalibrationStore, start_probe
from ptycho_plugin.publishing.connection import tiled_errors
from ptycho_plugin.region_dose import Illumination

RUN_SPEC = "BlueskyRun"
FRAMES_PER_REQUEST = 32
"""The server unpacks whole frames to cut them: this many answer well within its timeout."""


def dataset_from_tiled(client: Any, run_uid: str) -> PtychoDataset:
    """Return the scan of a run, with the start probe that it names, from what Tiled holds.

    Frames are cut on the server, only the crop travels. Frame ``i`` belongs to the event with
    sequence number ``i + 1``.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    run_uid : str

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached, or does not hold the run, its probe or its mask.
    InputError
        If the run is no scan of ours or took no frame, its frames and events do not belong together,
        or its positions make no scan.
    """
    with tiled_errors(client):
        run = _run(client, run_uid)
        metadata = ScanMetadata.from_start(dict(run.start))
        if metadata.purpose not in RECONSTRUCTED:
            raise InputError(f"run {run_uid} is of purpose '{metadata.purpose}': name the run of a scan")
        store = CalibrationStore(client)
        frames, numbers, stage_um = _recorded(run, metadata, run_uid)
        measurement = measurement_of(metadata, frames.shape[-2:], store, run_uid)
        there, remarks = _with_frame(numbers, len(frames), run_uid)
        raw = _read(frames, measurement.window)
        dataset = measurement.dataset(raw[numbers[there] - 1], stage_um[there])
        taken = datetime.fromtimestamp(run.start["time"], UTC)
        probe, warnings = start_probe(store, metadata, taken) if metadata.probe else (None, ())
    check_scan_size(dataset)
    return replace(dataset, probe=probe, remarks=(*dataset.remarks, *remarks, *warnings))


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


def _recorded(
    run: Any, metadata: ScanMetadata, run_uid: str
) -> tuple[Any, NDArray[np.int64], NDArray[np.float64]]:
    """Return the frames' client, and the sequence numbers and stage positions of the events."""
    try:
        stream = run["primary"]
        return stream[metadata.frame_key], *_events(stream.base["internal"], metadata)
    except KeyError:
        raise InputError(
            f"run {run_uid} has no frames with positions: it ended before its first exposure was complete"
        ) from None


def _events(table: Any, metadata: ScanMetadata) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return sequence numbers and measured stage positions in micrometres, each event once."""
    events = table.read(["seq_num", *metadata.position_keys]).drop_duplicates("seq_num")
    return events["seq_num"].to_numpy(np.int64), events[list(metadata.position_keys)].to_numpy(np.float64)


def _with_frame(
    numbers: NDArray[np.int64], frames: int, run_uid: str
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    if frames > numbers.max(initial=0):
        raise InputError(
            f"run {run_uid} has {frames} frames but events up to {numbers.max(initial=0)} only: "
            "which frame belongs to which position cannot be told"
        )
    there = numbers <= frames
    lost = int(np.count_nonzero(~there))
    return there, (f"{lost} events of run {run_uid} have no frame and are left out",) if lost else ()


def _read(frames: Any, window: tuple[slice, slice]) -> NDArray[Any]:
    starts = range(0, len(frames), FRAMES_PER_REQUEST)
    return np.concatenate([frames[start : start + FRAMES_PER_REQUEST, *window] for start in starts])
