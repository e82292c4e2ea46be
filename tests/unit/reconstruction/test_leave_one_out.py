"""Where a frame fits the object that all others know, against where it was taken."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.leave_one_out import LeaveOneOut
from ptycho_plugin.reconstruction.machine import Processor
from ptycho_plugin.reconstruction.maximum_likelihood import MaximumLikelihood, noise_model

CORNER = 0
MODEL = noise_model("poisson")


def tried(machine, blocks_of, scan, frames, known, places, stands):
    """Distances of the corner frame's trials where it `stands`, then at `places`."""
    forward = ForwardModel(machine, scan.geometry)
    positions = scan.positions_px.copy()
    positions[CORNER] = stands
    blocks = blocks_of(forward, frames, positions, movable=True)
    estimate = Estimate(*(machine.array(part.astype(np.complex64)) for part in known))
    trials = [
        blocks_of(forward, frames[[CORNER]], np.array([place]), movable=True)[0]
        for place in (stands, *places)
    ]
    return LeaveOneOut(blocks, estimate, MODEL, forward).distances([trials])[0]


@pytest.fixture(scope="module")
def believed(known_scan, blocks_of):
    """Object and probe that have grown around a corner frame seven pixels off."""
    forward = ForwardModel(Processor(), known_scan.geometry)
    stands = known_scan.positions_px[CORNER] + [0, 7]
    positions, frames = known_scan.positions_px.copy(), known_scan.frames.astype(np.float32)
    positions[CORNER] = stands
    start = Estimate(known_scan.object[None].astype(np.complex64), known_scan.probe.astype(np.complex64))
    likelihood = MaximumLikelihood(start, blocks_of(forward, frames, positions, movable=True), forward)
    for _ in range(60):
        likelihood.step()
    return (likelihood.estimate.object, likelihood.estimate.probe), stands, frames


def test_a_stray_is_told_by_all_others(known_scan, blocks_of, believed):
    known, stands, frames = believed
    here, home = tried(
        Processor(), blocks_of, known_scan, frames, known, [known_scan.positions_px[CORNER]], stands
    )
    assert home < 0.5 * here


def test_a_right_frame_fits_best_where_it_is(known_scan, blocks_of):
    known = known_scan.object[None], known_scan.probe
    home = known_scan.positions_px[CORNER]
    places = home + np.array([[3, 0], [0, 3], [3, 3], [0, 6], [6, 0]])
    frames = known_scan.frames.astype(np.float32)
    here, *elsewhere = tried(Processor(), blocks_of, known_scan, frames, known, places, home)
    assert min(elsewhere) > 2 * here


def test_a_frame_has_no_say_in_the_object_it_is_judged_by(known_scan, blocks_of, forward):
    estimate = Estimate(known_scan.object[None].astype(np.complex64), known_scan.probe.astype(np.complex64))
    frames, home = known_scan.frames.astype(np.float32), known_scan.positions_px
    (judged,) = blocks_of(forward, frames[[CORNER]], home[[CORNER]] + 1, movable=True)
    distances = []
    for brightness in (1, 3):
        frames[CORNER] *= brightness
        blocks = blocks_of(forward, frames, home, movable=True)
        (stands,) = blocks_of(forward, frames[[CORNER]], home[[CORNER]], movable=True)
        distances += [LeaveOneOut(blocks, estimate, MODEL, forward).distances([[stands, judged]])[0]]
    assert distances[1][0] > 2 * distances[0][0]
    assert distances[1][1] == pytest.approx(distances[0][1], rel=1e-4)


def test_machines_agree(simulate, blocks_of, machine):
    scan = simulate(subpixel=True)
    known, home = (scan.object[None], scan.probe), scan.positions_px[CORNER]
    frames = scan.frames.astype(np.float32)
    found, expected = (
        tried(one, blocks_of, scan, frames, known, [home + 1.3, home + 4], home)
        for one in (machine, Processor())
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)
