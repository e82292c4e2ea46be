"""The main job: RE(ptycho_scan(...)), a map while it runs, and the result through the Tiled client."""

import numpy as np
import pytest
from bluesky import RunEngine
from skimage.filters import threshold_otsu

from ptycho_plugin.callbacks import LiveReconstruction
from ptycho_plugin.devices import replayed_beamline, simulated_beamline
from ptycho_plugin.plans import background_frames, find_beam_centre, probe_calibration, ptycho_scan
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.client import PtychoReconstruction
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.score import score
from ptycho_plugin.simulation.specimens import FILM
from ptycho_plugin.simulation.world import SimulatedWorld
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=1.6, width_um=1.6)
SHORT = ReconstructionOptions(difference_map_iterations=50, maximum_likelihood_iterations=30)


@pytest.fixture
def live(engine: RunEngine, live: LiveReconstruction) -> LiveReconstruction:
    engine.subscribe(live)
    return live


def test_from_an_unknown_beam_to_a_phase_map(engine, live, tiled, data_folder):
    """Beam centre, mask and probe are measured first; the scan that uses them finds the sample."""
    options = SimulationOptions(hot_pixels=20, jitter_between_nm=10, background_counts=0.005)
    store = CalibrationStore(tiled)
    beamline = simulated_beamline(data_folder, calibrations=store, time_factor=0, options=options)
    engine(find_beam_centre(beamline))
    (background,) = engine(background_frames(beamline, frames=3))
    engine(probe_calibration(beamline, trajectory=SMALL, options=SHORT))
    calibration = live.wait()
    assert calibration.error is None
    record = store.probe(calibration.probe_uid)
    assert record.geometry == beamline.geometry
    assert record.metadata["md"]["slit_gaps_um"] == list(beamline.slit_gaps_um)
    start = tiled["raw", record.metadata["run_uid"]].metadata["start"]
    assert record.date.timestamp() == pytest.approx(start["time"], abs=1e-3)
    # The true optic stands 15 um farther than the nominal one, which the run keeps.
    true_defocus = beamline.optic.defocus + options.optic_error.defocus_um * 1e-6
    assert record.optic.defocus == pytest.approx(true_defocus, abs=3e-6)
    assert record.optic.diameter == beamline.optic.diameter
    assert start["ptycho"]["optic"]["defocus"] == beamline.optic.defocus
    assert overlap(record.probe, true_probe(beamline, options)) > 0.99

    plan = ptycho_scan(beamline, trajectory=SMALL, probe="latest", options=SHORT, background_run=background)
    (uid,) = engine(plan)
    outcome = live.wait(uid)
    assert outcome.error is None
    assert (outcome.missing, outcome.repeated, outcome.unusable) == (0, 0, 0)

    reconstruction = tiled["reconstructions"][uid]
    assert isinstance(reconstruction, PtychoReconstruction)
    assert reconstruction.status == "final"
    assert len(reconstruction.positions) == len(SMALL.offsets_um())
    assert reconstruction.run.metadata["start"]["uid"] == uid
    truth = SimulatedWorld(beamline.geometry, beamline.optic, options).truth(FILM)
    found = score(
        reconstruction.object,
        reconstruction.positions_px,
        truth.transmission,
        truth.positions_px(reconstruction.positions, beamline.geometry.frame_side),
        truth.pixel,
        field=1.2e-6,
    )
    assert found.phase_error < 0.45
    assert found.frc_05_nm < 27

    # Years later, from Tiled alone: the same data, and the live result's quality.
    dataset = dataset_from_tiled(tiled, uid)
    np.testing.assert_allclose(dataset.positions, reconstruction.positions, atol=1e-15)
    assert reconstruct(dataset, SHORT).residual == pytest.approx(reconstruction.r_factor, rel=0.05)


def test_a_recorded_siemens_star_through_the_same_plan(engine, live, tiled, data_folder, shared_data):
    scan = shared_data / "aps_siemens_star.h5"
    store = CalibrationStore(tiled)
    beamline = replayed_beamline(scan, data_folder, calibrations=store, time_factor=0)
    (uid,) = engine(ptycho_scan(beamline, options=SHORT))
    outcome = live.wait(uid)
    assert outcome.error is None
    assert outcome.frames == 516
    reconstruction = tiled["reconstructions"][uid]
    assert reconstruction.r_factor <= 0.13
    dark, light = spokes_and_gaps(reconstruction)
    assert -1.1 < dark - light < -0.6


def true_probe(beamline, options):
    error = options.optic_error
    optic = beamline.optic.model_copy(update={"defocus": beamline.optic.defocus + error.defocus_um * 1e-6})
    return optic.probe(beamline.geometry)


def overlap(a, b):
    """Return |<a, b>| at the best whole-pixel shift, of normalised modes; phase ramps shift the far field."""
    far_a, far_b = (np.fft.fft2(probe[0]) for probe in (a, b))
    spectrum = np.fft.ifft2(far_a * far_b.conj())
    return np.abs(spectrum).max() * a[0].size / np.linalg.norm(far_a) / np.linalg.norm(far_b)


def spokes_and_gaps(reconstruction):
    """Return the median phases of the two materials inside the scan."""
    centres = (reconstruction.positions_px + 64).astype(int)
    (top, left), (bottom, right) = centres.min(axis=0) + 30, centres.max(axis=0) - 30
    phase = reconstruction.phase[top:bottom, left:right]
    dark = phase < threshold_otsu(phase)
    return np.median(phase[dark]), np.median(phase[~dark])
