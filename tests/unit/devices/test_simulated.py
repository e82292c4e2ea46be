from pathlib import Path
from typing import Any

import pytest

from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.devices.beamline import DetectorLimits
from ptycho_plugin.orientation import DetectorOrientation, PositionSign, crop_window
from ptycho_plugin.simulation.options import SimulationOptions


def test_it_is_the_published_experiment(tmp_path: Path) -> None:
    beamline: Any = simulated_beamline(tmp_path)
    assert beamline.geometry.wavelength == pytest.approx(0.2e-9)
    assert beamline.geometry.object_pixel == pytest.approx(13.54e-9, rel=1e-3)
    assert beamline.detector.frame_shape == (1679, 1475)
    assert beamline.photons_per_second * 0.2 == pytest.approx(1e6)
    assert beamline.detector_limits == DetectorLimits(2**20 - 1, 1e6, 3e-3)
    assert beamline.detector.roi_side.get() == beamline.geometry.frame_side
    assert set(beamline.places) == {"sample", "specimen", "empty"}


def test_its_conventions_are_the_worlds(tmp_path: Path) -> None:
    options = SimulationOptions(
        orientation=DetectorOrientation.TRANSPOSE_ROTATE_180,
        position_sign=PositionSign.SAMPLE,
        beam_centre_px=(700, 800),
        photons_per_second=3e6,
    )
    beamline: Any = simulated_beamline(tmp_path, options=options)
    assert beamline.orientation is DetectorOrientation.TRANSPOSE_ROTATE_180
    assert beamline.position_sign is PositionSign.SAMPLE
    assert beamline.beam_centre_px == (700, 800)
    assert (beamline.detector.beam_centre_row.get(), beamline.detector.beam_centre_column.get()) == (700, 800)
    assert beamline.photons_per_second == 3e6
    window = crop_window((700, 800), 192, (1679, 1475), DetectorOrientation.TRANSPOSE_ROTATE_180)
    first = beamline.detector.roi_first_row.get(), beamline.detector.roi_first_column.get()
    assert first == tuple(side.start for side in window)


def test_its_stated_slits_leave_the_zone_plate_coherent(tmp_path: Path) -> None:
    beamline = simulated_beamline(tmp_path)
    assert beamline.slit_gaps_um is not None
    for gap_um in beamline.slit_gaps_um:
        assert beamline.geometry.wavelength * 40 / (gap_um * 1e-6) >= 4 * beamline.optic.diameter


def test_every_name_is_used_once(tmp_path: Path) -> None:
    beamline = simulated_beamline(tmp_path)
    parts = [beamline.encoder, beamline.flux, beamline.detector, beamline.shutter, beamline.attenuator]
    axes = [axis for stage in (beamline.stage, beamline.coarse) for axis in (stage.y, stage.x)]
    names = [part.name for part in [*parts, *axes]]
    assert len(set(names)) == len(names)
