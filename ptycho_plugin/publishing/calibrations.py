"""What scans refer to and Tiled keeps: probes, masks and the flux under ``calibrations``, background runs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError, PublishingError
from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.geometry import ENERGY_TOLERANCE, Geometry
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.probe_resampling import resample_probe
from ptycho_plugin.publishing.connection import child, tiled_errors

FIELD_TOLERANCE = 5e-3
"""Relative, of distance and of the window lambda z / pixel, the scale of the probe's grid."""
PROBE_MAX_AGE = timedelta(days=1)
KEY_DIGITS = 16
ARRIVAL_S = 5.0
"""How long a run that has ended may be on its way."""
NEWEST_FIRST = ("date", -1)


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """A stored probe and what it was measured with.

    Parameters
    ----------
    uid : str
        Its key under ``calibrations/probes``.
    probe : ndarray, (mode, row, column), complex64
    geometry : Geometry
        Energy, distance and crop of the calibration scan.
    optic : ZonePlate or None
        The nominal optic with the defocus that the probe itself shows (`ptycho_plugin.optics.defocus_of`);
        the nominal defocus is in the calibration run's metadata, ``raw/<run_uid>``.
    date : datetime
        When it was measured, with its time zone.
    metadata : mapping
        Everything that was stored with it: also the calibration's ``run_uid``, if there was one, and
        what its start document said (slit gaps, sample, ...) as ``md``.
    """

    uid: str
    probe: NDArray[np.complex64]
    geometry: Geometry
    optic: ZonePlate | None
    date: datetime
    metadata: Mapping[str, Any]


class CalibrationStore:
    """Probes, masks, flux calibrations and background runs of a Tiled tree.

    Every method raises `PublishingError` when Tiled refuses, cannot be reached, or does not
    hold what was asked for.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def store_probe(
        self,
        probe: NDArray[np.complex64],
        *,
        geometry: Geometry,
        optic: ZonePlate | None = None,
        run_uid: str | None = None,
        date: datetime | None = None,
        md: Mapping[str, Any] | None = None,
    ) -> str:
        """Keep a probe and return its uid.

        The uid is made of the probe and what is said of it: the same one is kept once, with its
        first date.

        Parameters
        ----------
        probe : ndarray, (mode, row, column), complex64
        geometry : Geometry
        optic : ZonePlate, optional
            With the probe's own defocus.
        run_uid : str, optional
            The calibration scan it was reconstructed from; `latest_probe` finds only such ones.
        date : datetime, optional
            With its time zone; by default now.
        md : mapping, optional
            What else should be known of it, such as slit gaps.
        """
        said = {
            "schema_version": 1,
            "geometry": geometry.model_dump(mode="json"),
            "optic": optic.model_dump(mode="json") if optic else None,
            "md": dict(md or {}),
            **({"run_uid": run_uid} if run_uid else {}),
        }
        when = _date_text(date or datetime.now(UTC))
        array = probe.astype(np.complex64)
        uid = _key(array, json.dumps(said, sort_keys=True, default=str))
        with tiled_errors(self._client):
            probes = child(self._client, "calibrations", "probes")
            if uid not in probes:
                metadata = {**said, "date": when}
                probes.write_array(array, key=uid, metadata=metadata, dims=("mode", "row", "column"))
        return uid

    def probe(self, uid: str) -> ProbeRecord:
        """Return the probe of that uid."""
        with tiled_errors(self._client):
            return _record(self._existing("probes", uid))

    def latest_probe(self) -> ProbeRecord:
        """Return the probe of the latest calibration scan."""
        from tiled.queries import KeyPresent

        with tiled_errors(self._client):
            measured = child(self._client, "calibrations", "probes").search(KeyPresent("run_uid"))
            newest = measured.sort(NEWEST_FIRST).values()
            if not newest:
                raise PublishingError(
                    f"there is no measured probe under {self._client.uri}/calibrations/probes: "
                    "run probe_calibration first, or name a zone plate"
                )
            return _record(newest.first())

    def store_mask(self, mask: NDArray[np.bool_]) -> str:
        """Keep a full-frame mask, True where a pixel is valid, and return its version.

        The version is made of the mask's content: the same mask is kept once.
        """
        valid = np.ascontiguousarray(mask, np.uint8)
        version = _key(valid)
        with tiled_errors(self._client):
            masks = child(self._client, "calibrations", "masks")
            if version not in masks:
                masks.write_array(valid, key=version, dims=("row", "column"))
        return version

    def mask(self, version: str) -> NDArray[np.bool_]:
        """Return the mask (row, column) of that version, True where a pixel is valid."""
        with tiled_errors(self._client):
            valid: NDArray[np.bool_] = self._existing("masks", version).read().astype(bool)
            return valid

    def store_flux(self, calibration: FluxCalibration) -> str:
        """Keep a calibration of the flux monitor and return its uid.

        The uid is made of what it says: the same one is kept once.
        """
        said = calibration.model_dump(mode="json")
        uid = _digest(json.dumps(said, sort_keys=True).encode())
        with tiled_errors(self._client):
            kept = child(self._client, "calibrations", "flux")
            if uid not in kept:
                metadata = {"schema_version": 1, "date": _date_text(calibration.date), "calibration": said}
                kept.create_container(uid, metadata=metadata)
        return uid

    def flux(self, uid: str) -> FluxCalibration:
        """Return the calibration of the flux monitor of that uid."""
        with tiled_errors(self._client):
            return _flux_calibration(self._existing("flux", uid))

    def latest_flux(self) -> FluxCalibration:
        """Return the calibration of the flux monitor with the latest date."""
        with tiled_errors(self._client):
            newest = child(self._client, "calibrations", "flux").sort(NEWEST_FIRST).values()
            if not newest:
                raise PublishingError(
                    f"there is no flux calibration under {self._client.uri}/calibrations/flux: "
                    "run calibrate_flux first"
                )
            return _flux_calibration(newest.first())

    def run(self, uid: str) -> tuple[ScanMetadata, tuple[int, ...]]:
        """Return what the run ``raw/<uid>`` says about itself, and the shape of its full frames.

        A run that has just ended may still be on its way into Tiled: it is waited for, for some seconds.

        Raises
        ------
        InputError
            If it is no run of this package.
        """
        patience = time.monotonic() + ARRIVAL_S
        with tiled_errors(self._client):
            while not self._is_closed(uid) and time.monotonic() < patience:
                time.sleep(ARRIVAL_S / 50)
            try:
                run = self._client["raw", uid]
                scan = ScanMetadata.from_start(dict(run.metadata["start"]))
                return scan, run["primary"][scan.frame_key].shape[-2:]
            except KeyError:
                raise PublishingError(
                    f"there is no run {uid} with frames under {self._client.uri}/raw: check the uid, "
                    "and that a LiveReconstruction was subscribed when it was taken"
                ) from None

    def _is_closed(self, uid: str) -> bool:
        try:
            return bool(self._client["raw", uid].metadata.get("stop"))
        except KeyError:
            return False

    def _existing(self, kind: str, key: str) -> Any:
        try:
            return self._client["calibrations", kind, key]
        except KeyError:
            raise PublishingError(
                f"there is no '{key}' under calibrations/{kind}: check the name or store it first"
            ) from None


def _key(array: NDArray[Any], said: str = "") -> str:
    """Return a name made of the content."""
    return _digest(f"{array.shape}{said}".encode() + array.tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:KEY_DIGITS]


def _date_text(date: datetime) -> str:
    """Return a date in one time zone and one width, so that text order is time order."""
    return date.astimezone(UTC).isoformat(timespec="microseconds")


def _flux_calibration(node: Any) -> FluxCalibration:
    return FluxCalibration.model_validate(node.metadata["calibration"])


def _record(array: Any) -> ProbeRecord:
    metadata = dict(array.metadata)
    optic = metadata["optic"]
    return ProbeRecord(
        uid=array.item["id"],
        probe=array.read(),
        geometry=Geometry.model_validate(metadata["geometry"]),
        optic=ZonePlate.model_validate(optic) if optic else None,
        date=datetime.fromisoformat(metadata["date"]),
        metadata=metadata,
    )


def fit_probe(
    record: ProbeRecord,
    geometry: Geometry,
    max_age: timedelta = PROBE_MAX_AGE,
    when: datetime | None = None,
) -> tuple[NDArray[np.complex64], tuple[str, ...]]:
    """Return a stored probe on the grid of a scan, and warnings a user should hear.

    Parameters
    ----------
    record : ProbeRecord
    geometry : Geometry
        Of the scan. Another crop is met by resampling.
    max_age : timedelta
        Older than this, the probe comes with a warning.
    when : datetime, optional
        When the scan was taken, with its time zone; by default now.

    Raises
    ------
    InputError
        If energy or distance differ, or the detector's pixels do.
    """
    _check_geometry("the stored probe", record.geometry, geometry, "run probe_calibration again for this one")
    age = (when or datetime.now(UTC)) - record.date
    warnings = (
        (f"probe {record.uid} was {age / timedelta(hours=1):.0f} h old: consider a new probe_calibration",)
        if age > max_age
        else ()
    )
    return resample_probe(record.probe, geometry.frame_side), warnings


def check_background(
    store: CalibrationStore, run_uid: str, geometry: Geometry, frame_shape: tuple[int, int]
) -> None:
    """Refuse a background that was not measured as a scan will be.

    Parameters
    ----------
    store : CalibrationStore
    run_uid : str
    geometry : Geometry
        Of the scan; its crop does not matter.
    frame_shape : (int, int)
        Rows and columns of the scan's full frames.

    Raises
    ------
    InputError
        If that run is not one of `background_frames`, or energy, distance or detector differ.
    PublishingError
        If Tiled does not hold the run.
    """
    what, remedy = f"background run {run_uid}", "take background_frames again for this one"
    background, shape = store.run(run_uid)
    if background.purpose != "background":
        raise InputError(
            f"run {run_uid} is of purpose '{background.purpose}' and no background: "
            "name a run of background_frames"
        )
    if shape != frame_shape:
        raise InputError(f"{what} has frames of shape {shape}, the scan of shape {frame_shape}: {remedy}")
    _check_geometry(what, background.geometry, geometry, remedy)


def _check_geometry(what: str, stored: Geometry, wanted: Geometry, remedy: str) -> None:
    for name, attribute, tolerance, unit in (
        ("energy", "energy_eV", ENERGY_TOLERANCE, "eV"),
        ("distance", "distance", FIELD_TOLERANCE, "m"),
        ("window", "illuminated_field", FIELD_TOLERANCE, "m"),
    ):
        there, here = getattr(stored, attribute), getattr(wanted, attribute)
        if abs(there - here) > tolerance * here:
            raise InputError(f"{what} has {name} {there:.6g} {unit}, the scan {here:.6g} {unit}: {remedy}")


def start_probe(
    store: CalibrationStore, metadata: ScanMetadata, when: datetime | None = None
) -> tuple[NDArray[np.complex64], tuple[str, ...]]:
    """Return the probe that a run's metadata names, and warnings a user should hear.

    Parameters
    ----------
    store : CalibrationStore
    metadata : ScanMetadata
        Its probe is a zone plate's model, or the uid of a stored probe.
    when : datetime, optional
        When the run was taken, with its time zone; by default now.

    Returns
    -------
    ndarray, (mode, row, column), complex64
    tuple of str

    Raises
    ------
    InputError
        If the run names no probe.
    """
    if metadata.probe is None:
        raise InputError(f"a run of purpose '{metadata.purpose}' names no probe: reconstruct a scan instead")
    if isinstance(metadata.probe, ZonePlate):
        return metadata.probe.probe(metadata.geometry, metadata.photons_per_frame or 1.0), ()
    return fit_probe(store.probe(metadata.probe.uid), metadata.geometry, when=when)
