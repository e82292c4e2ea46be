import json

import numpy as np
import pytest

from ptycho_plugin.materials import CDS
from ptycho_plugin.postprocess.account import DIMENSIONS, arrays_of, facts_of
from ptycho_plugin.postprocess.pipeline import PostprocessingOptions, postprocess
from ptycho_plugin.postprocess.restoration_options import RestorationOptions

RESTORATION = RestorationOptions(tolerance=0.05)


@pytest.fixture(scope="module")
def result(region_maps):
    return postprocess(region_maps, PostprocessingOptions(restoration=RESTORATION, material=CDS))


def test_every_array_has_its_dimensions(result):
    arrays = arrays_of(result)
    assert arrays.keys() == DIMENSIONS.keys()
    lengths = {}
    for name, array in arrays.items():
        assert array.ndim == len(DIMENSIONS[name])
        for dimension, length in zip(DIMENSIONS[name], array.shape, strict=True):
            assert lengths.setdefault(dimension, length) == length
    assert arrays["frequency"][-1] == pytest.approx(0.5 / 13.54e-9)


def test_what_was_not_made_is_not_told(region_maps):
    bare = postprocess(region_maps, PostprocessingOptions(restoration=None))
    assert arrays_of(bare).keys() == DIMENSIONS.keys() - {"restored", "correlation_restored", "mass_per_area"}
    facts = facts_of(bare)
    assert facts["resolution"].keys() == {"single", "averaged"}
    assert facts["restoration"] is None


def test_facts_are_json_and_what_was_found(result):
    facts = json.loads(json.dumps(facts_of(result)))
    assert facts["resolution"]["single"]["half_period"] == result.single.half_period
    assert facts["maximum_shift"]["rad"] == result.maximum.value
    assert facts["restoration"]["chosen_by"] == "split_half"
    assert facts["runs"] == [f"run {number}" for number in range(5)]
    assert np.isfinite(facts["resolution"]["averaged"]["sigma"])
