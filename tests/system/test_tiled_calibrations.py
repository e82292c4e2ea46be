"""Probes, masks and flux calibrations in a real Tiled server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.flux import DetectionPath, FluxCalibration, calibrate
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.publishing.calibrations import CalibrationStore

GEOMETRY = Geometry(energy_eV=6200, distance=2.236, detector_pixel=172e-6, frame_side=32)


@pytest.fixture
def store(tiled: Any, request: pytest.FixtureRequest) -> CalibrationStore:
    """An empty store in a branch of the tree of its own."""
    return CalibrationStore(tiled.create_container(request.node.name))


def test_a_probe_comes_back_with_all_that_was_said_of_it(store: CalibrationStore) -> None:
    probe = np.concatenate([ZonePlate().probe(GEOMETRY, 5.0), ZonePlate(defocus=0.0).probe(GEOMETRY)])
    date = datetime(2025, 3, 1, 10, 30, 0, 250, tzinfo=UTC)
    md = {"slit_gaps_um": [50.0, 20.0], "sample": {"name": "Siemens star"}}
    uid = store.store_probe(probe, geometry=GEOMETRY, optic=ZonePlate(), run_uid="run", date=date, md=md)
    record = store.probe(uid)
    np.testing.assert_array_equal(record.probe, probe)
    assert (record.uid, record.geometry, record.optic, record.date) == (uid, GEOMETRY, ZonePlate(), date)
    assert record.metadata["md"] == md
    assert record.metadata["run_uid"] == "run"


def test_the_latest_probe_is_the_one_with_the_latest_date(store: CalibrationStore) -> None:
    noon = datetime(2025, 3, 1, 12, tzinfo=UTC)
    probe = ZonePlate().probe(GEOMETRY)
    uids = {
        hours: store.store_probe(
            probe, geometry=GEOMETRY, run_uid=f"run {hours}", date=noon + timedelta(hours=hours)
        )
        for hours in (1, 30, 2)
    }
    store.store_probe(probe, geometry=GEOMETRY)  # of a file, and not measured here
    assert store.latest_probe().uid == uids[30]


def test_a_probe_of_no_calibration_is_never_the_latest(store: CalibrationStore) -> None:
    store.store_probe(ZonePlate().probe(GEOMETRY), geometry=GEOMETRY)
    with pytest.raises(PublishingError, match="no measured probe"):
        store.latest_probe()


def test_a_probe_is_kept_once_by_its_content(store: CalibrationStore) -> None:
    probe = ZonePlate().probe(GEOMETRY)
    uid = store.store_probe(probe, geometry=GEOMETRY, md={"source": "scan.h5"})
    assert store.store_probe(probe.copy(), geometry=GEOMETRY, md={"source": "scan.h5"}) == uid
    assert store.store_probe(probe, geometry=GEOMETRY, md={"source": "other.h5"}) != uid
    assert store.store_probe(probe * 2, geometry=GEOMETRY, md={"source": "scan.h5"}) != uid


def test_an_empty_store_says_what_to_do(store: CalibrationStore) -> None:
    with pytest.raises(PublishingError, match="run probe_calibration first"):
        store.latest_probe()


def test_a_mask_is_kept_once_by_its_content(store: CalibrationStore) -> None:
    mask = np.ones((30, 20), bool)
    mask[3, 4] = False
    version = store.store_mask(mask)
    assert store.store_mask(mask.copy()) == version
    assert store.store_mask(mask.reshape(20, 30)) != version
    np.testing.assert_array_equal(store.mask(version), mask)
    assert store.mask(version).dtype == bool


def calibrated_flux(date: datetime) -> FluxCalibration:
    return calibrate(
        [4e4, 4.1e4], np.array([1e6, 1.01e6]), 0.0, path=DetectionPath(), energy_eV=6200, gain=1.0,
        transmission=1.0, exposure_s=0.2, run_uid="run", date=date,
    )  # fmt: skip


def test_a_flux_calibration_comes_back_and_the_latest_is_found(store: CalibrationStore) -> None:
    noon = datetime(2025, 3, 1, 12, tzinfo=UTC)
    with pytest.raises(PublishingError, match="run calibrate_flux first"):
        store.latest_flux()
    calibrations = {hours: calibrated_flux(noon + timedelta(hours=hours)) for hours in (1, 30, 2)}
    uids = {hours: store.store_flux(calibration) for hours, calibration in calibrations.items()}
    assert store.store_flux(calibrations[1]) == uids[1]
    assert store.flux(uids[2]) == calibrations[2]
    assert store.latest_flux() == calibrations[30]


def test_what_is_not_there_is_named(store: CalibrationStore) -> None:
    with pytest.raises(PublishingError, match="no 'p7' under calibrations/probes"):
        store.probe("p7")
    with pytest.raises(PublishingError, match="no 'm7' under calibrations/masks"):
        store.mask("m7")
    with pytest.raises(PublishingError, match="no 'f7' under calibrations/flux"):
        store.flux("f7")
