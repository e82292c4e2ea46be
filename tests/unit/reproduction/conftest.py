import pytest

from ptycho_plugin.region_matrix import RegionMatrix
from ptycho_plugin.reproduction.options import ReproductionOptions


@pytest.fixture(scope="session")
def options():
    """One sample, one repeat, on a small scale."""
    quick = ReproductionOptions.quick()
    matrix = RegionMatrix(areas=("1",), regions=("A",), repeats=2)
    return ReproductionOptions(conditions=quick.conditions, samples=("OCT",), matrix=matrix)
