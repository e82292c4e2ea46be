"""A probe on the grid of another crop is the probe that the same optic makes there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.probe_resampling import resample_probe

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=64)
# Its cone, 39 px wide on the detector, lies within every crop below.
OPTIC = ZonePlate(diameter=100e-6, outermost_zone=400e-9, central_stop=20e-6, defocus=400e-6)


@pytest.mark.parametrize("side", [48, 64, 65, 96, 127])
def test_it_is_what_the_optic_makes_on_the_other_grid(side: int) -> None:
    resampled = resample_probe(OPTIC.probe(GEOMETRY, photons=7.0), side)
    expected = OPTIC.probe(GEOMETRY.with_frame_side(side), photons=7.0)
    assert resampled.shape == (1, side, side)
    assert np.abs(resampled - expected).max() < 1e-4 * np.abs(expected).max()


@given(side=st.integers(40, 130), back=st.integers(40, 130))
def test_power_is_kept_and_the_way_back_leads_home(side: int, back: int) -> None:
    probe = np.concatenate([OPTIC.probe(GEOMETRY, 5.0), OPTIC.probe(GEOMETRY, 1.0)])
    resampled = resample_probe(resample_probe(probe, side), back)
    assert np.sum(np.abs(resampled) ** 2) == pytest.approx(6.0, rel=1e-4)
    home = resample_probe(resampled, 64)
    assert np.abs(home - probe).max() < 1e-3 * np.abs(probe).max()
