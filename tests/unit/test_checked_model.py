"""What a user constructs wrongly is refused in one sentence; stored data is validated as ever."""

import pytest
from pydantic import ValidationError

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans import Sample
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.simulation.options import OpticError, SimulationOptions
from ptycho_plugin.simulation.siemens import SiemensStar
from ptycho_plugin.trajectory import ConcentricRings, RecordedPositions

SCAN = {
    "geometry": {"energy_eV": 6200, "distance": 2.236, "detector_pixel": 172e-6, "frame_side": 48},
    "beam_centre_px": [30, 26],
    "frame_key": "image",
    "position_keys": ["y", "x"],
    "trajectory": {"kind": "recorded_positions", "points_um": [[0, 1], [2, 3]]},
    "exposure_s": 0.2,
    "probe": {"kind": "zone_plate", "defocus": 1e-4},
}


@pytest.mark.parametrize(
    ("model", "values", "sentence"),
    [
        (
            Geometry,
            {"energy_eV": 6200, "distance": 2.0, "frame_side": 64},
            "Geometry lacks detector_pixel: it takes energy_eV, distance, detector_pixel, frame_side, "
            "focus_to_sample",
        ),
        (
            OpticError,
            {"defocus": 3},
            "OpticError has no defocus: it takes defocus_um, astigmatism_um",
        ),
        (
            ReconstructionOptions,
            {"probe_modes": 1000},
            "ReconstructionOptions: probe_modes = 1000 cannot be used: "
            "Input should be less than or equal to 20",
        ),
        (
            ZonePlate,
            {"central_stop": 3e-4},
            "ZonePlate: a central stop of 0.0003 m covers the zone plate of 0.0002 m: "
            "the stop must be smaller than the diameter",
        ),
        (
            ConcentricRings,
            {"radial_step_um": "wide"},
            "ConcentricRings: radial_step_um = 'wide' cannot be used: "
            "Input should be a valid number, unable to parse string as a number",
        ),
        (
            RecordedPositions,
            {"points_um": [(0, 1), (2, float("inf"))]},
            "RecordedPositions: points_um.1.1 = inf cannot be used: Input should be a finite number",
        ),
        (
            SimulationOptions,
            {"optic_error": {"defocus_um": float("nan")}},
            "SimulationOptions: optic_error: OpticError: defocus_um = nan cannot be used: "
            "Input should be a finite number",
        ),
        (
            Sample,
            {"name": "OCT", "thickness_um": -1},
            "Sample: thickness_um = -1 cannot be used: Input should be greater than 0",
        ),
        (
            SiemensStar,
            {"spokes": 1},
            "SiemensStar: spokes = 1 cannot be used: Input should be greater than or equal to 2",
        ),
        (
            OctapodFilm,
            {"seed": list(range(100))},
            "OctapodFilm: seed = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, "
            "... cannot be used: Input should be a valid integer",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence(model, values, sentence):
    with pytest.raises(InputError) as refused:
        model(**values)
    assert str(refused.value) == sentence
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_stored_data_becomes_the_same_model():
    scan = ScanMetadata.model_validate(SCAN)
    assert scan.geometry == Geometry(energy_eV=6200, distance=2.236, detector_pixel=172e-6, frame_side=48)
    assert scan.probe == ZonePlate(defocus=1e-4)
    assert scan.trajectory == RecordedPositions(points_um=((0, 1), (2, 3)))
    assert ScanMetadata.model_validate_json(scan.model_dump_json()) == scan


def test_wrong_stored_data_is_a_validation_error_with_its_place():
    with pytest.raises(ValidationError, match=r"Geometry: distance = -2 cannot be used") as refused:
        ScanMetadata.model_validate(SCAN | {"geometry": SCAN["geometry"] | {"distance": -2}})
    assert refused.value.errors()[0]["loc"] == ("geometry",)


def test_wrong_metadata_of_a_run_is_one_sentence():
    start = {"uid": "u", "ptycho": SCAN | {"geometry": SCAN["geometry"] | {"distance": -2}}}
    with pytest.raises(
        InputError, match=r"^run u: 'ptycho' cannot be used: .*: Geometry: distance = -2 cannot be used: give"
    ):
        ScanMetadata.from_start(start)
