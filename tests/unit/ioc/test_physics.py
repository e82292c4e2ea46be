"""The world's thread: what it is asked for happens in order, and what fails is heard of."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.physics import Physics, Reading
from ptycho_plugin.ioc.twin import Light
from ptycho_plugin.simulation.recorded import RecordedWorld


@pytest.fixture
def world(small_scan: PtychoDataset) -> RecordedWorld:
    return RecordedWorld(small_scan)


@pytest.fixture
def physics(world: RecordedWorld) -> Iterator[Physics]:
    it = Physics(world)
    yield it
    it.close()


def light(row_um: float, column_um: float, *, seconds: float = 0.2, energy_eV: float = 6200.0) -> Light:
    return Light(
        seconds=seconds,
        beam=1.0,
        stage_um=(row_um, column_um),
        coarse_um=(0.0, 0.0),
        source_fwhm_nm=(0.0, 0.0),
        energy_eV=energy_eV,
        defocus=0.0,
    )


def test_a_frame_is_kept_and_read_where_the_stage_was(physics: Physics, small_scan: PtychoDataset) -> None:
    reading: Future[Reading] = Future()
    kept: list[Any] = []
    physics.expose([light(*small_scan.positions[5] * 1e6)], reading, kept.append).result(timeout=10)
    np.testing.assert_array_equal(kept[0], small_scan.frames[5])
    assert reading.result().position_um == pytest.approx(small_scan.positions[5] * 1e6)
    assert reading.result().monitor_counts == small_scan.frames[5].sum()


def test_photons_are_of_all_light_before_the_question(physics: Physics, world: RecordedWorld) -> None:
    for _ in range(50):
        physics.shine(light(0.0, 0.0, seconds=0.1))
    assert physics.photons().result(timeout=10) == pytest.approx(5 * world.photons_per_second)


@pytest.mark.parametrize(
    ("where", "says"),
    [(light(50.0, 0.0), "nothing was recorded"), (light(0.0, 0.0, energy_eV=7000.0), "at 7000.0 eV")],
)
def test_an_exposure_that_cannot_be_is_told_to_the_counters(
    physics: Physics, where: Light, says: str
) -> None:
    reading: Future[Reading] = Future()
    kept: list[Any] = []
    done = physics.expose([where], reading, kept.append)
    with pytest.raises(InputError, match=says):
        reading.result(timeout=10)
    with pytest.raises(InputError, match=says):
        done.result(timeout=10)
    assert kept == []


def test_a_frame_that_cannot_be_kept_is_read_all_the_same(physics: Physics) -> None:
    def full(_frame: Any) -> None:
        raise InputError("the disk is full")

    reading: Future[Reading] = Future()
    done = physics.expose([light(0.0, 0.0)], reading, full)
    assert reading.result(timeout=10).seconds == 0.2
    with pytest.raises(InputError, match="full"):
        done.result(timeout=10)
