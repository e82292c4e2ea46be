"""A region is measured in one series, whichever session asks."""

import pytest

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger import Ledger


@pytest.fixture
def regions(ledger, region):
    others = [
        ledger.samples.place_region("film", "1", name, stage_um=(100, 250), reach_um=5) for name in "BCD"
    ]
    return [region, *others]


def test_the_regions_of_a_series_stay_in_it(path, ledger, regions):
    assert ledger.scans.series(regions) is None
    uid = ledger.scans.join_series(regions[:2])
    assert ledger.scans.series(regions) == uid
    assert ledger.scans.join_series(regions[1:2]) == uid
    with Ledger(path) as another:
        assert another.scans.join_series(regions[:3]) == uid, "C joins"
    assert ledger.scans.join_series(regions[2:3]) == uid


def test_regions_of_two_series_are_none(ledger, regions):
    first, second = ledger.scans.join_series(regions[:1]), ledger.scans.join_series(regions[2:3])
    assert first != second
    with pytest.raises(LedgerError, match=rf"'A' .* in {first}, region 'C' .* in {second}; measure them"):
        ledger.scans.join_series(regions)
    with pytest.raises(LedgerError, match="regions of several"):
        ledger.scans.series(regions)
    assert ledger.scans.join_series(regions[1:2]) not in (first, second), "what was refused left nothing"
