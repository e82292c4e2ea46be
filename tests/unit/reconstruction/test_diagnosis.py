"""The cause that is named is the one that was built in."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ptycho_plugin.reconstruction.diagnosis import SUSPICIONS, Evidence, likely_cause
from ptycho_plugin.reconstruction.whole_scan import started


@pytest.fixture(scope="module")
def evidence_of(known_scan):
    """Evidence of the known scan with other fields: ``evidence_of(frames=...)``."""

    def evidence(**changes):
        reconstruction = started(known_scan.dataset(**changes))
        return reconstruction._evidence(reconstruction._look_at_frames())

    return evidence


@pytest.fixture(scope="module")
def ordinary(evidence_of):
    return evidence_of()


def with_a_bright_frame(scan):
    frames = scan.frames.copy()
    frames[37] *= 30
    return {"frames": frames}


def with_a_mask_over_the_beam(scan):
    mask = np.ones(scan.frames.shape[1:], bool)
    mask[12:21, 12:21] = False
    return {"mask": mask}


def in_another_unit(scan, factor):
    return {"positions": factor * scan.positions_px * scan.geometry.object_pixel}


def of_an_even_probe(scan):
    return {"probe": np.ones(scan.probe.shape, np.complex64)}


def of_another_beam_centre(scan):
    return {"frames": np.roll(scan.frames, 14, axis=(1, 2))}


CAUSES = [
    (with_a_bright_frame, "frame 37 has 30.* times the counts of the median one"),
    (lambda scan: {"frames": scan.frames // 10**4}, "the median frame has .* counts"),
    (lambda scan: in_another_unit(scan, 10), "frames lie .* px apart, but the start probe is 17.1 px wide"),
    (lambda scan: in_another_unit(scan, 1e-3), "all frames lie within .* px"),
    (of_an_even_probe, "the start probe is .* px wide, its array 32"),
    (with_a_mask_over_the_beam, "the mask hides .*% of the start probe's light"),
    (of_another_beam_centre, "light is like the mean frame by 0.0"),
]


@pytest.mark.parametrize(("spoilt", "cause"), CAUSES)
def test_what_is_wrong_is_named(known_scan, evidence_of, spoilt, cause):
    assert re.search(cause, likely_cause(evidence_of(**spoilt(known_scan))))


def test_an_ordinary_scan_is_not_accused(ordinary):
    """The strongest of all suspicions against it is 0.67 of one, the probe's width; of real scans 0.6."""
    assert max(suspect(ordinary)[0] for suspect in SUSPICIONS) < 0.8
    assert "look ordinary" in likely_cause(ordinary)


def test_one_frame_is_no_missing_scan(ordinary: Evidence):
    one = replace(ordinary, positions_px=ordinary.positions_px[:1], counts=ordinary.counts[:1])
    assert "all frames lie within 0 px" in likely_cause(one)
