"""The samples of the published experiment, as far as their description goes.

Stated: octapods of eight pods, 39 nm long and 12 nm thick, CdSe core and CdS pods; without polymer on 100 nm
of silicon nitride (OCT), and in films, 24 +- 4 um thick, of PMMA (1.188 g/cm3) and polystyrene (1.04 g/cm3)
of several molar masses in kg/mol, PMMA-120 to PS-190.

Assumed, since no figure is printed: how many octapods there are, the same 4500 per um2 in each film (0.6 % of
its volume), and how densely they cluster. That goes up in the order in which the paper found the contrast,
PMMA-120 < PMMA-350 < PS-350 < PS-190: it is put in, and no result. In the cube of 100 nm about an octapod
they fill 0.21, 0.26, 0.30 and 0.37 of the space on the average. Chains do not keep out of each other's way:
in one of a thousand cubes, in the middle of the polystyrenes' clusters, there is more than fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ptycho_plugin.flux import Layer
from ptycho_plugin.materials import PMMA, PS, SI3N4, Material
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.simulation.slab import OctapodSlab

FILM_UM = 24.0
SLICES = 12
"""Of 2 um each. At 1e6 photons a frame they differ from 48 by a chi-square of 11 a frame over 36,864 pixels
(4 slices: 77; one: 140 to 720), and by R = 0.003 where the noise is 0.035; halving them takes a quarter."""
DROP_UM = 1.0
"""Assumed: a dried drop is thin against a cast film, and against its depth of focus (19 um at 27 nm)."""
DROP_DENSITY_PER_UM2 = 4500 * DROP_UM / FILM_UM
"""As many in a volume as in the films."""
MEMBRANE = Layer(material=SI3N4, thickness=100e-9)
BARE_DENSITY_PER_UM2 = 60.0
"""Assumed: a tenth of a closed layer."""
OCTAPOD_UM = 0.057
"""Height of an octapod that stands: 2 x 39 nm / sqrt(3), and a pod's thickness."""


def _film(matrix: Material, chains_per_cluster: int, cluster_nm: float) -> OctapodSlab:
    octapods = OctapodFilm(matrix=matrix, chains_per_cluster=chains_per_cluster, cluster_nm=cluster_nm)
    return OctapodSlab(film=octapods, thickness_um=FILM_UM, slices=SLICES)


def _bare() -> OctapodSlab:
    """Return single octapods, each on four of its pods, in loose groups."""
    octapods = OctapodFilm(
        density_per_um2=BARE_DENSITY_PER_UM2,
        octapods_per_chain=1,
        chains_per_cluster=12,
        cluster_nm=150.0,
        matrix=None,
        standing=True,
    )
    return OctapodSlab(film=octapods, thickness_um=OCTAPOD_UM, membrane=MEMBRANE)


def _drop() -> OctapodSlab:
    octapods = OctapodFilm(matrix=PMMA, density_per_um2=DROP_DENSITY_PER_UM2)
    return OctapodSlab(film=octapods, thickness_um=DROP_UM, membrane=MEMBRANE)


SAMPLES: Mapping[str, OctapodSlab] = MappingProxyType(
    {
        "OCT": _bare(),
        "PMMA-120": _film(PMMA, 1, 0.0),
        "PMMA-350": _film(PMMA, 24, 200.0),
        "PS-350": _film(PS, 100, 300.0),
        "PS-190": _film(PS, 400, 430.0),
        "drop": _drop(),
    }
)
"""By their names; of each film and drop there are as many as there are seeds: `sample_at`."""


def sample_at(name: str, seed: int) -> OctapodSlab:
    """Return a sample at one of its places, which the seed tells from the others.

    Raises
    ------
    KeyError
        If there is no such sample.
    """
    sample = SAMPLES[name]
    return sample.model_copy(update={"film": sample.film.model_copy(update={"seed": seed})})
