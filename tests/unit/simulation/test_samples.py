import numpy as np
import pytest

from ptycho_plugin.materials import PMMA, PS
from ptycho_plugin.simulation.samples import SAMPLES, sample_at

FILMS = ("PMMA-120", "PMMA-350", "PS-350", "PS-190")
"""In the order of the published contrast."""
ENERGY_EV = 6199.2


def test_films_are_those_of_the_experiment():
    for name in FILMS:
        slab = SAMPLES[name]
        assert slab.thickness_um == 24
        assert slab.slice_distance == pytest.approx(2e-6)
        assert slab.membrane is None
        assert slab.film.matrix == (PMMA if name.startswith("PMMA") else PS)


def test_what_lies_on_a_membrane():
    for name in ("OCT", "drop"):
        slab = SAMPLES[name]
        assert slab.membrane.material.name == "Si3N4"
        assert slab.slices == 1
        assert slab.thickness_um <= 1
    assert SAMPLES["OCT"].film.standing
    assert SAMPLES["OCT"].film.matrix is None
    assert not SAMPLES["drop"].film.standing


def test_contrast_goes_up_in_the_order_that_is_put_in():
    spread = [
        np.angle(sample_at(name, 1).transmission((320, 320), 12.5e-9, ENERGY_EV)).std() for name in FILMS
    ]
    assert spread == sorted(spread)
    assert spread[-1] > 1.3 * spread[0]


def test_every_place_of_a_sample_is_another():
    first, again, other = (
        sample_at("OCT", seed).transmission((64, 64), 12.5e-9, ENERGY_EV) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
