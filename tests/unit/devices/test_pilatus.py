from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import h5py
import numpy as np
import pytest
from bluesky.protocols import Readable, Stageable, Triggerable, WritesStreamAssets
from event_model import DocumentNames, schema_validators
from ophyd.signal import InternalSignalError
from ophyd.utils import ReadOnlyError

from ptycho_plugin.dataset import COUNTER_LIMIT
from ptycho_plugin.devices.gate import ExposureGate
from ptycho_plugin.devices.pilatus import SimulatedPilatus
from ptycho_plugin.errors import InputError
from ptycho_plugin.orientation import DetectorOrientation, crop_corner, crop_window
from ptycho_plugin.simulation.controls import Exposure


@pytest.fixture
def make_detector(world: Any, tmp_path: Path) -> Any:
    def make(directory: Path = tmp_path, time_factor: float = 0.0, **changes: Any) -> SimulatedPilatus:
        return SimulatedPilatus(
            name="pilatus",
            gate=ExposureGate(world, time_factor),
            frame_shape=world.detector_shape,
            directory=directory,
            **{"beam_centre_px": world.beam_centre_px, "roi_side": 20, **changes},
        )

    return make


def expose(detector: SimulatedPilatus) -> None:
    detector.trigger().wait(timeout=10)


def values(reading: Any) -> dict[str, Any]:
    return {key: value["value"] for key, value in reading.items()}


def test_every_trigger_puts_the_worlds_frame_on_disk(make_detector: Any) -> None:
    detector = make_detector()
    detector.stage()
    documents = []
    for _ in range(3):
        expose(detector)
        documents += detector.collect_asset_docs()
    detector.unstage()
    (_, resource), *datums = documents
    assert [name for name, _ in datums] == ["stream_datum"] * 3
    assert [datum["indices"] for _, datum in datums] == [{"start": i, "stop": i + 1} for i in range(3)]
    for name, document in documents:
        schema_validators[DocumentNames[name]].validate(document)
    with h5py.File(unquote(urlsplit(resource["uri"]).path)) as file:
        frames = file[resource["parameters"]["dataset"]]
        assert frames.dtype == np.dtype(detector.describe()["pilatus_image"]["dtype_numpy"])
        assert [int(frame.min()) for frame in frames] == [int(frame.max()) for frame in frames] == [1, 2, 3]


def test_a_frame_is_announced_once(make_detector: Any) -> None:
    detector = make_detector()
    detector.stage()
    assert not list(detector.collect_asset_docs())
    expose(detector)
    assert len(list(detector.collect_asset_docs())) == 2
    assert not list(detector.collect_asset_docs())
    detector.unstage()


def test_a_new_stage_is_a_new_file(make_detector: Any) -> None:
    detector = make_detector()
    uris = []
    for _ in range(2):
        detector.stage()
        expose(detector)
        (_, resource), (_, datum) = detector.collect_asset_docs()
        assert datum["indices"] == {"start": 0, "stop": 1}
        uris.append(resource["uri"])
        detector.unstage()
    assert uris[0] != uris[1]


def test_configuration_says_how_frames_were_taken(make_detector: Any) -> None:
    assert values(make_detector().read_configuration()) == {
        "pilatus_exposure_time": 0.2,
        "pilatus_beam_centre_row": 30,
        "pilatus_beam_centre_column": 26,
        "pilatus_beam_centre_measured": False,
        "pilatus_mask_version": "",
        "pilatus_roi_side": 20,
        "pilatus_roi_first_row": 20,
        "pilatus_roi_first_column": 16,
    }


@pytest.fixture
def odd_frames(world: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Frames that the world exposes: uneven counts, and marks of every kind among them."""
    rng = np.random.default_rng(3)
    marks = (-1, -2, COUNTER_LIMIT, np.iinfo(np.int32).max)
    frames = []

    def expose(exposure_s: float) -> Exposure:
        frame = rng.poisson(50, world.detector_shape).astype(np.int32)
        frame[rng.random(frame.shape) < 0.2] = 0
        marked = rng.random(frame.shape) < 0.1
        frame[marked] = rng.choice(marks, np.count_nonzero(marked))
        frames.append(frame)
        return Exposure(frame, (0.0, 0.0), 1.0)

    monkeypatch.setattr(world, "expose", expose)
    return frames


def test_the_region_of_interest_is_summed_without_marks(make_detector: Any, odd_frames: Any) -> None:
    detector = make_detector()
    detector.stage()
    for row, column in ((30, 26), (33.4, 20.8)):
        detector.beam_centre_row.set(row).wait(timeout=5)
        detector.beam_centre_column.set(column).wait(timeout=5)
        expose(detector)
        region = odd_frames[-1][round(row) - 10 : round(row) + 10, round(column) - 10 : round(column) + 10]
        counts = region[(region >= 0) & (region < COUNTER_LIMIT)].sum()
        assert values(detector.read()) == {"pilatus_roi_counts": counts}
        configuration = values(detector.read_configuration())
        assert configuration["pilatus_roi_first_row"] == round(row) - 10
        assert configuration["pilatus_roi_first_column"] == round(column) - 10
    detector.unstage()


@pytest.mark.parametrize("orientation", DetectorOrientation)
def test_the_region_of_interest_is_what_a_reconstruction_cuts(
    make_detector: Any, odd_frames: Any, orientation: DetectorOrientation
) -> None:
    detector = make_detector(orientation=orientation, beam_centre_px=(31.3, 24.8))
    detector.stage()
    expose(detector)
    crop = odd_frames[0][crop_window((31.3, 24.8), 20, (60, 52), orientation)]
    assert detector.roi_counts.get() == crop[(crop >= 0) & (crop < COUNTER_LIMIT)].sum()
    first = detector.roi_first_row.get(), detector.roi_first_column.get()
    assert first == crop_corner((31.3, 24.8), 20, orientation)
    detector.unstage()


def test_a_region_of_interest_that_leaves_the_frame_is_refused(make_detector: Any, tmp_path: Path) -> None:
    detector = make_detector(directory=tmp_path / "frames", beam_centre_px=(9, 26))
    with pytest.raises(
        InputError, match=r"20 x 20 px crop about beam centre \(9\.0, 26\.0\) leaves the 60 x 52"
    ):
        detector.stage()
    assert not (tmp_path / "frames").exists()


def test_only_the_device_writes_what_it_counts(make_detector: Any) -> None:
    detector = make_detector()
    assert detector.hints == {"fields": ["pilatus_roi_counts"]}
    for signal in (detector.roi_counts, detector.roi_first_row, detector.roi_first_column):
        assert signal.describe()[signal.name]["dtype"] == "integer"
        with pytest.raises((InternalSignalError, ReadOnlyError)):
            signal.put(1)


def test_it_cannot_be_triggered_unstaged(make_detector: Any) -> None:
    with pytest.raises(RuntimeError, match="stage it first"):
        make_detector().trigger()


def test_staging_without_a_usable_folder_fails_with_a_sentence(make_detector: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be created"):
        make_detector(directory=tmp_path / "taken").stage()


def test_unstaging_waits_for_the_frame_under_way(make_detector: Any) -> None:
    detector = make_detector(time_factor=1.0)
    detector.stage()
    detector.exposure_time.set(0.1).wait(timeout=5)
    status = detector.trigger()
    detector.unstage()
    assert status.success


def test_it_speaks_blueskys_protocols(make_detector: Any) -> None:
    for protocol in (Readable, Stageable, Triggerable, WritesStreamAssets):
        assert isinstance(make_detector(), protocol)
