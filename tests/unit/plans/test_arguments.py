"""Arguments are checked when a plan is called, before anything runs."""

from typing import Any

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.plans import background_frames, find_beam_centre, probe_calibration, ptycho_scan


@pytest.mark.parametrize(
    ("plan", "argument", "value"),
    [
        (ptycho_scan, "exposure_s", 0.0),
        (ptycho_scan, "exposure_s", "soon"),
        (ptycho_scan, "centre_um", (1.0,)),
        (ptycho_scan, "trajectory", {"kind": "spiral"}),
        (ptycho_scan, "sample", {"name": "OCT", "thickness_um": 0}),
        (probe_calibration, "exposure_s", -0.2),
        (find_beam_centre, "transmission", 1.5),
        (background_frames, "frames", 0),
        (ptycho_scan, "exposure_s", "0.2"),
        (ptycho_scan, "exposure_s", float("inf")),
        (ptycho_scan, "centre_um", ("1", 2.0)),
        (find_beam_centre, "transmission", "0.5"),
        (background_frames, "frames", "3"),
    ],
)
def test_a_bad_argument_is_named_at_the_call(
    plan: Any, argument: str, value: Any, make_beamline: Any
) -> None:
    with pytest.raises(InputError, match=rf"^{plan.__name__}: {argument}.*cannot be used: ") as refused:
        plan(make_beamline(), **{argument: value})
    assert "\n" not in str(refused.value)


def test_a_thing_that_is_no_beamline_is_named() -> None:
    with pytest.raises(InputError, match=r"ptycho_scan: beamline = 'P06' cannot be used: .*Beamline"):
        ptycho_scan("P06")


def test_an_argument_without_a_name_is_told_its_place(make_beamline: Any) -> None:
    with pytest.raises(
        InputError, match=r"0\.2 has no name: give arguments by name, e\.g\. exposure_s=0\.2$"
    ):
        ptycho_scan(make_beamline(), 0.2)


def test_an_unknown_argument_is_told_the_known_ones(make_beamline: Any) -> None:
    with pytest.raises(
        InputError, match=r"^find_beam_centre has no exposure: .* exposure_s, transmission, md$"
    ):
        find_beam_centre(make_beamline(), exposure=0.2)
    with pytest.raises(InputError, match=r"^find_beam_centre lacks beamline: it takes beamline, exposure_s"):
        find_beam_centre()


def test_an_unknown_option_is_told_the_known_ones(make_beamline: Any) -> None:
    with pytest.raises(
        InputError,
        match=r"^ptycho_scan: options: ReconstructionOptions has no iterations: it takes difference_map_it",
    ):
        ptycho_scan(make_beamline(), options={"iterations": 3})


def test_whole_numbers_are_numbers(make_beamline: Any) -> None:
    ptycho_scan(make_beamline(), exposure_s=1, centre_um=[1, 2]).close()
    ptycho_scan(make_beamline(), exposure_s=np.float32(0.2)).close()


def test_plain_data_is_taken_for_models(make_beamline: Any) -> None:
    ptycho_scan(make_beamline(), sample={"name": "OCT"}, trajectory={"kind": "concentric_rings"}).close()


def test_the_plans_keep_their_names_and_signatures() -> None:
    assert ptycho_scan.__name__ == "ptycho_scan"
    assert "Parameters" in (ptycho_scan.__doc__ or "")
    assert "exposure_s" in ptycho_scan.__annotations__
