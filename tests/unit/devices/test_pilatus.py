from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import h5py
import numpy as np
import pytest
from bluesky.protocols import Readable, Stageable, Triggerable, WritesStreamAssets
from event_model import DocumentNames, schema_validators

from ptycho_plugin.devices.gate import ExposureGate
from ptycho_plugin.devices.pilatus import SimulatedPilatus
from ptycho_plugin.errors import InputError


@pytest.fixture
def make_detector(world: Any, tmp_path: Path) -> Any:
    def make(directory: Path = tmp_path, time_factor: float = 0.0) -> SimulatedPilatus:
        return SimulatedPilatus(
            name="pilatus",
            gate=ExposureGate(world, time_factor),
            frame_shape=world.detector_shape,
            directory=directory,
            beam_centre_px=world.beam_centre_px,
        )

    return make


def expose(detector: SimulatedPilatus) -> None:
    detector.trigger().wait(timeout=10)


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
    configuration = {key: value["value"] for key, value in make_detector().read_configuration().items()}
    assert configuration == {
        "pilatus_exposure_time": 0.2,
        "pilatus_beam_centre_row": 30,
        "pilatus_beam_centre_column": 26,
        "pilatus_beam_centre_measured": False,
        "pilatus_mask_version": "",
    }


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
