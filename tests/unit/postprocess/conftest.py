import pytest

from ptycho_plugin.simulation.dying_film import DyingFilm


@pytest.fixture(scope="session")
def dying_film():
    """``dying_film(seed, critical=None, noise=0.5)``: maps that are blurred and noisy, no reconstructions."""
    return DyingFilm
