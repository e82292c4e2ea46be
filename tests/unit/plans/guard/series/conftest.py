"""A series of two regions, two repeats of each, three points in each."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg

from ptycho_plugin.plans import dose_series
from ptycho_plugin.region_matrix import RegionMatrix
from ptycho_plugin.trajectory import RecordedPositions

POINTS = ((0.0, 0.0), (0.0, 0.2), (0.2, 0.2))
REPEATS = (("A", 1), ("A", 2), ("B", 1), ("B", 2))


@dataclass(frozen=True)
class Series:
    """The same call; keyword arguments change it."""

    film: Any
    documents: Any

    matrix = RegionMatrix(
        areas=("1",), regions=("A", "B"), repeats=2, region_step_um=(3.0, 0.5), reach_um=1.0
    )
    points = POINTS

    def __call__(self, **changes: Any) -> Iterator[Msg]:
        plan = {
            "beamline": self.film.beamline,
            "ledger": self.film.ledger,
            "sample": "film",
            "matrix": self.matrix,
            "trajectory": RecordedPositions(points_um=POINTS),
            "budget": self.film.budget,
        }
        return dose_series(**(plan | changes))

    def matrix_of(self, **changes: Any) -> RegionMatrix:
        """Return its matrix, changed."""
        return self.matrix.model_copy(update=changes)

    @property
    def repeats(self) -> list[tuple[str, int]]:
        """Region and repeat of each run that it needs."""
        return list(REPEATS)

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Region and repeat of each run that was begun."""
        return [(start["region"], start["repeat"]) for start in self.documents.of("start")]

    def assert_done(self, repeats: Any = REPEATS, left_out: int = 0) -> None:
        """Every point of every repeat was exposed once, in its place, but for some that are uncertain."""
        film, documents = self.film, self.documents
        assert not film.is_open
        starts = {start["uid"]: start for start in documents.of("start")}
        assert len({start["series"]["uid"] for start in starts.values()}) == 1
        exposures = [film.ledger.exposures_of_run(uid) for uid in starts]
        counted: Counter[Any] = Counter()
        for start, exposed in zip(starts.values(), exposures, strict=True):
            region = film.ledger.samples.region("film", "1", start["region"])
            exposed = exposed.where((exposed.status != "withdrawn") & (exposed.frame != "none"))
            for point, at in zip(exposed.point, exposed.start_um, strict=True):
                counted[start["region"], start["repeat"], int(point)] += 1
                np.testing.assert_allclose(at - region.centre_um, POINTS[point], atol=1e-6)
        assert counted == Counter((*repeat, point) for repeat in repeats for point in range(len(POINTS)))
        assert len(documents.events()) == len(repeats) * len(POINTS) - left_out


@pytest.fixture
def series(film: Any, documents: Any) -> Series:
    return Series(film, documents)


@pytest.fixture
def end_with() -> Callable[[str], Callable[[RunEngine], None]]:
    """Return what tells a RunEngine to end, by the name of its coroutine."""

    def ending(coroutine: str) -> Callable[[RunEngine], None]:
        return lambda engine: engine.loop.create_task(getattr(engine, coroutine)())

    return ending
