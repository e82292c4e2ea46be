"""Numbers that cannot be: one sentence, before the shutter opens."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from bluesky import RunEngine

from ptycho_plugin.errors import InputError, PreflightRefusal
from ptycho_plugin.materials import Material
from ptycho_plugin.plans import DoseGuard, Sample, ptycho_scan
from ptycho_plugin.simulation.controls import Exposure
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)


@pytest.fixture
def scan(engine: RunEngine, film: Any) -> Callable[..., None]:
    """Scan the film with a guard; keyword arguments change the beamline's facts, or the scan."""

    def make(sample: Sample | None = None, **facts: Any) -> None:
        beamline = replace(film.beamline, **facts)
        guard = DoseGuard(beamline, film.ledger, film.region)
        engine(ptycho_scan(beamline, trajectory=SMALL, sample=sample, guard=guard))

    return make


def assert_nothing_was_exposed(film: Any) -> None:
    assert not film.beamline.shutter.openings_s
    assert film.received == 0
    assert not len(film.ledger.exposures(film.region))


@pytest.mark.parametrize("flux", [-5e6, float("nan"), float("inf")])
def test_a_flux_that_cannot_be(scan: Any, film: Any, flux: float) -> None:
    with pytest.raises(
        InputError, match=f"simulated cannot have photons_per_second = {re.escape(f'{flux:g}')}"
    ):
        scan(photons_per_second=flux)
    assert_nothing_was_exposed(film)


def test_no_flux_at_all(scan: Any, film: Any) -> None:
    with pytest.raises(PreflightRefusal, match="counts 0 in an exposure, 1 is the least"):
        scan(photons_per_second=0.0)
    assert_nothing_was_exposed(film)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"photons_per_count": -25.0}, "photons_per_count = -25.0 cannot be used"),
        ({"photons_per_count": 0.0}, "photons_per_count = 0.0 cannot be used"),
        ({"counts_per_frame": float("nan")}, "counts_per_frame = nan cannot be used"),
        ({"photons_per_count": None}, "photons_per_count = None cannot be used"),
    ],
)
def test_a_calibration_that_cannot_be(scan: Any, film: Any, change: dict[str, Any], said: str) -> None:
    stored = json.dumps(json.loads(film.calibration().model_dump_json()) | change)
    film.beamline.flux.calibration.set(stored).wait(timeout=5)
    with pytest.raises(
        InputError, match=f"flux_calibration holds no calibration: .*{said}.*run calibrate_flux"
    ):
        scan()
    assert_nothing_was_exposed(film)
    with pytest.raises(InputError, match=said):
        film.calibration(**change)


def test_a_calibration_that_is_cut_short(scan: Any, film: Any) -> None:
    film.beamline.flux.calibration.set('{"photons_per_count": 25.0').wait(timeout=5)
    with pytest.raises(InputError, match=r"holds no calibration: .*EOF while parsing.*; run calibrate_flux"):
        scan()
    assert_nothing_was_exposed(film)


def test_a_sample_without_density() -> None:
    with pytest.raises(InputError, match=r"density_kg_m3 = 0\.0 cannot be used: .* greater than 0"):
        Sample(name="film", density_kg_m3=0.0)
    with pytest.raises(InputError, match=r"void: density 0\.0 kg/m3 must be a positive number"):
        Material("void", "C", 0.0)


@pytest.mark.parametrize(("formula", "said"), [("Xx2", "'Xx2' is not a chemical formula"), (" ", "is empty")])
def test_a_formula_that_nobody_knows(scan: Any, film: Any, formula: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        scan(sample=Sample(name="film", formula=formula))
    budget = film.budget.model_copy(update={"material": "glue", "formula": formula})
    film.ledger.samples.set_budget(film.region, budget)
    with pytest.raises(InputError, match=f"glue: .*{said}"):
        scan()
    assert_nothing_was_exposed(film)


@pytest.mark.parametrize("counts", [-1.0, float("nan")])
def test_a_monitor_that_fails_in_a_scan_leaves_its_exposure_at_the_upper_bound(
    scan: Any, film: Any, monkeypatch: pytest.MonkeyPatch, counts: float
) -> None:
    """That it fails is known when the exposure is over, and no other is begun."""
    world = film.beamline.shutter._world
    expose = world.expose

    def wrong(exposure_s: float) -> Exposure:
        return replace(expose(exposure_s), monitor_counts=counts)

    monkeypatch.setattr(world, "expose", wrong)
    with pytest.raises(InputError, match=r"flux monitor counted"):
        scan()
    assert not film.is_open
    exposures = film.ledger.exposures(film.region)
    assert len(exposures) == len(film.beamline.shutter.openings_s) == 1
    assert exposures.photons.sum() >= film.received > 0
