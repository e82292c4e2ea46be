from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.devices import replayed_beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.io import write_dataset


def test_the_scan_of_a_file_is_the_beamlines_own(small_scan: Any, store: Any, tmp_path: Path) -> None:
    write_dataset(tmp_path / "scan.h5", small_scan)
    beamline = replayed_beamline(tmp_path / "scan.h5", tmp_path, calibrations=store)
    assert beamline.geometry == small_scan.geometry
    assert beamline.trajectory is not None
    np.testing.assert_allclose(beamline.trajectory.offsets_um() * 1e-6, small_scan.positions)
    assert beamline.photons_per_second == pytest.approx(small_scan.frames.sum() / 12 / 0.2)
    assert beamline.stage.y.limits == pytest.approx((0.0, 0.4))
    assert beamline.stage.x.limits == pytest.approx((0.0, 0.6))
    assert beamline.detector.frame_shape == (16, 16)
    np.testing.assert_array_equal(store.probe("probe-0").probe, small_scan.probe)
    np.testing.assert_array_equal(store.mask("mask-0"), small_scan.mask)
    assert beamline.start_probe == "probe-0"
    assert beamline.detector.mask_version.get() == "mask-0"
    assert beamline.slit_gaps_um is None


def test_without_calibrations_there_is_no_start_probe(small_scan: Any, tmp_path: Path) -> None:
    assert replayed_beamline(small_scan, tmp_path).start_probe is None


def test_a_pixel_marked_in_one_frame_is_valid_in_the_others(
    small_scan: Any, store: Any, tmp_path: Path
) -> None:
    mask = np.ones(small_scan.frames.shape, bool)
    mask[5, 4, 4] = False
    mask[:, 2, 3] = False
    replayed_beamline(replace(small_scan, mask=mask), tmp_path, calibrations=store)
    assert np.argwhere(~store.mask("mask-0")).tolist() == [[2, 3]]


def test_counts_that_are_no_photons_are_refused(small_scan: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not whole numbers"):
        replayed_beamline(replace(small_scan, frames=small_scan.frames + 0.5), tmp_path)
