"""What the benchmark of stop rules tells, of series whose ends are known."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
WANTED = 50e-9


def scans(*resolutions: float) -> Any:
    """What `RepeatedScans` would find, repeat by repeat."""

    class Scans:
        pixel = 1.0

        def __init__(self, *_: Any) -> None:
            self.series: list[float] = []

        def repeat(self) -> None:
            self.series.append(resolutions[len(self.series)])

        def resolution(self) -> float:
            return self.series[-1]

        joint_resolution = resolution

    return Scans


@pytest.mark.parametrize(
    ("resolutions", "told"),
    [
        ((60e-9, 50e-9, 40e-9, 40e-9, 40e-9), {"reached_at_2_or_3": 1, "false_stops": 0, "dose_spent": 0.6}),
        ((60e-9,) * 5, {"reached_at_2_or_3": 0, "false_stops": 0}),
    ],
)
def test_films_that_are_not_resolved_are_no_reason_to_tell_nothing(
    resolutions: tuple[float, ...], told: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule here is sure one repeat later than the truth."""

    def judge(series: list[float], _: float) -> Any:
        return SimpleNamespace(stop=len(series) > 2 and series[-2] <= WANTED, reason="")

    monkeypatch.syspath_prepend(ROOT)
    adaptive = import_module("benchmarks.adaptive")
    monkeypatch.setattr(adaptive, "RepeatedScans", scans(*resolutions))
    monkeypatch.setattr(adaptive, "ResolutionReached", lambda **_: SimpleNamespace(judge=judge))
    figures = {figure.name: figure.value for figure in adaptive._of_faint(1, WANTED)}
    assert {name: figures.get(f"faint_{name}") for name in told} == told
    assert ("faint_dose_spent" in figures) == ("dose_spent" in told)
