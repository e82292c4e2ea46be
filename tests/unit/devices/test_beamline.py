import numpy as np
import pytest

from ptycho_plugin.devices import MoveTiming


def test_a_beamline_prints_on_one_line(make_beamline):
    assert repr(make_beamline()) == "<Beamline counting, 6199 eV, places: sample, specimen, empty>"
    assert repr(make_beamline(places={})).endswith("places: none>")


def test_a_stage_moves_both_axes_at_once_and_settles():
    timing = MoveTiming(velocity_um_s=2.0, settle_s=0.1)
    assert timing.path_s(np.array([[0, 0], [1, 4], [1, 4], [-1, 4]])) == pytest.approx(2.1 + 0.1 + 1.1)
    assert timing.path_s(np.zeros((1, 2))) == 0


def test_the_simulated_stages_move_as_they_say(make_beamline):
    beamline = make_beamline()
    for stage, timing in (
        (beamline.stage, beamline.stage_timing),
        (beamline.coarse, beamline.coarse_timing),
    ):
        assert (stage.y.velocity.get(), stage.x.settling_time.get()) == (
            timing.velocity_um_s,
            timing.settle_s,
        )
