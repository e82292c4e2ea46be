"""Frames and positions are joined by their numbers, whatever the order and whatever is lost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.live.join import Exposure, RunDocuments
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.trajectory import ConcentricRings

SCAN = ScanMetadata(
    geometry=Geometry(energy_eV=6200, distance=2.0, detector_pixel=172e-6, frame_side=8),
    beam_centre_px=(10, 10),
    frame_key="image",
    position_keys=("y", "x"),
    trajectory=ConcentricRings(),
    exposure_s=0.1,
    probe=ZonePlate(),
)
HEAD: list[tuple[str, dict[str, Any]]] = [
    ("start", {"uid": "run", "time": 0.0, **SCAN.to_start()}),
    ("descriptor", {"uid": "d", "data_keys": {"y": {}, "x": {}, "image": {}}}),
    ("descriptor", {"uid": "baseline", "data_keys": {"temperature": {}}}),
    ("stream_resource", {"uid": "r", "data_key": "image", "uri": "u", "parameters": {"dataset": "s"}}),
]


def event(number: int, y: float, x: float = 0.0, descriptor: str = "d") -> tuple[str, dict[str, Any]]:
    data = {"y": [y], "x": [x]}
    return "event_page", {"descriptor": descriptor, "seq_num": [number], "time": [number + 0.5], "data": data}


def datum(start: int, stop: int, number: int) -> tuple[str, dict[str, Any]]:
    numbers = {"start": number, "stop": number + stop - start}
    return "stream_datum", {
        "stream_resource": "r",
        "indices": {"start": start, "stop": stop},
        "seq_nums": numbers,
    }


def join(documents: list[tuple[str, dict[str, Any]]]) -> tuple[RunDocuments, list[Exposure]]:
    run = RunDocuments()
    exposures = [exposure for document in (*HEAD, *documents) for exposure in run.add(*document)]
    return run, exposures


def test_positions_without_frames_are_no_exposures() -> None:
    arrays = {"y": [[0.1, 0.2]], "x": [[0.0, 0.0]]}
    page = {"descriptor": "unmatched", "seq_num": [1], "time": [1.5], "data": arrays}
    run, exposures = join(
        [
            ("descriptor", {"uid": "unmatched", "data_keys": {"y": {}, "x": {}}}),
            ("event_page", page),
            event(1, 0.3),
            datum(0, 1, 1),
        ]
    )
    assert [exposure.stage_um for exposure in exposures] == [(0.3, 0.0)]
    assert (run.missing, run.repeated, run.unusable) == (0, 0, 0)


@given(st.permutations([event(n, 10.0 * n) for n in range(1, 6)] + [datum(n - 1, n, n) for n in range(1, 6)]))
def test_any_order_gives_the_same_pairs(documents: list[tuple[str, dict[str, Any]]]) -> None:
    run, exposures = join(documents)
    assert sorted(e.frame for e in exposures) == [0, 1, 2, 3, 4]
    assert all(e.stage_um == (10.0 * (e.frame + 1), 0.0) for e in exposures)
    assert (run.missing, run.repeated) == (0, 0)


def test_a_datum_may_name_several_frames_and_skip_some() -> None:
    # Three frames were written before the first event was taken: frame 3 belongs to number 1.
    _, exposures = join([datum(3, 5, 1), event(1, 1.0), event(2, 2.0)])
    assert [(e.frame, e.stage_um[0]) for e in exposures] == [(3, 1.0), (4, 2.0)]


def test_what_is_lost_on_either_side_is_missing() -> None:
    run, exposures = join([datum(0, 2, 1), event(2, 2.0), event(3, 3.0)])
    assert [e.frame for e in exposures] == [1]
    assert run.missing == 2


def test_the_first_of_a_repeated_number_counts() -> None:
    run, exposures = join([datum(0, 1, 1), event(1, 1.0), datum(1, 2, 1), event(1, 9.0)])
    assert exposures == [Exposure("u", "s", 0, (1.0, 0.0))]
    assert run.repeated == 2


def test_a_position_that_is_no_number_is_left_out() -> None:
    run, exposures = join([datum(0, 1, 1), event(1, float("nan"))])
    assert exposures == []
    assert run.unusable == 1


def test_other_streams_and_other_files_are_nothing_to_us() -> None:
    other = {
        "stream_resource": "elsewhere",
        "indices": {"start": 0, "stop": 1},
        "seq_nums": {"start": 1, "stop": 2},
    }
    run, exposures = join([("stream_datum", other), event(1, 1.0, descriptor="baseline")])
    assert exposures == []
    assert run.missing == 0


def test_the_end_and_the_time_of_the_last_event_are_known() -> None:
    run, _ = join([datum(0, 1, 1), event(1, 1.0), ("stop", {"exit_status": "success"})])
    assert run.stop == {"exit_status": "success"}
    assert run.last_event == 1.5


def changed(document: tuple[str, dict[str, Any]], **changes: Any) -> tuple[str, dict[str, Any]]:
    return document[0], {**document[1], **changes}


BROKEN = {
    "no page": ("event_page", {}),
    "no indices": ("stream_datum", {"stream_resource": "r"}),
    "fewer numbers than positions": changed(event(1, 1.0), data={"y": [1.0, 2.0], "x": [0.0, 0.0]}),
    "fewer columns than rows": changed(event(1, 1.0), data={"y": [1.0, 2.0], "x": [0.0]}, seq_num=[1, 2]),
    "a position that is text": event(1, "left"),  # type: ignore[arg-type] # that is the point
    "no time": changed(event(1, 1.0), time=[]),
    "fewer numbers than frames": changed(datum(0, 2, 1), seq_nums={"start": 1, "stop": 2}),
    "keys in a list": ("descriptor", {"uid": "d2", "data_keys": ["y", "x"]}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_document_that_cannot_be_used_is_named_and_leaves_no_trace(
    broken: tuple[str, dict[str, Any]],
) -> None:
    run, _ = join([])
    with pytest.raises(InputError, match=f"a {broken[0]} document"):
        run.add(*broken)
    assert run.missing == 0
    assert [e for document in (datum(0, 1, 1), event(1, 5.0)) for e in run.add(*document)] == [
        Exposure("u", "s", 0, (5.0, 0.0))
    ]


def test_a_lost_start_document_is_told() -> None:
    with pytest.raises(InputError, match="start document is not in the spool"):
        RunDocuments().add(*HEAD[3])
