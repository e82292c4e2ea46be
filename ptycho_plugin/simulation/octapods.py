"""A film of interlocked octapods in a polymer, as the beam sees it: projected.

An octapod is a CdSe core with eight CdS pods along the diagonals of a cube. Octapods interlock to
chains; the chains bend, gather in places, and so make a network with voids.
"""

from __future__ import annotations

from math import ceil, pi
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import fft
from scipy.spatial.transform import Rotation
from scipy.special import j1

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.geometry import M_PER_NM
from ptycho_plugin.materials import CDS, CDSE, PMMA, Material

CUBE_CORNERS = np.stack(np.meshgrid(*[[-1, 1]] * 3), axis=-1).reshape(8, 3) / np.sqrt(3)
"""Directions of the eight pods."""

OCTAPODS_AT_ONCE = 20_000
"""Enough to keep NumPy busy, few enough to stay below a hundred megabytes."""


class OctapodFilm(CheckedModel):
    """Octapods in a matrix. The film is periodic, so that its density is the stated one.

    The defaults look like the film of the published experiment: at 6.2 keV and on 13.5 nm pixels a
    phase of -0.07 rad with a standard deviation of 0.06 rad.
    """

    density_per_um2: float = Field(4500.0, ge=0)
    """Octapods per square micrometre, seen from above."""
    pod_length_nm: float = Field(39.0, gt=0)
    """From the octapod's centre to the tip of a pod."""
    pod_thickness_nm: float = Field(12.0, gt=0)
    """Diameter of the pods and of the core."""
    link_nm: float = Field(13.0, gt=0)
    """From one octapod of a chain to the next; they nest, so it is little more than a pod."""
    octapods_per_chain: int = Field(50, ge=1)
    persistence_nm: float = Field(300.0, gt=0)
    """Length over which a chain forgets its direction."""
    chains_per_cluster: int = Field(16, ge=1)
    cluster_nm: float = Field(100.0, ge=0)
    """Standard deviation of the chains' starts about the centre of their cluster."""
    matrix: Material | None = PMMA
    """What the octapods displace; None is vacuum. Its own phase and absorption, uniform, are left out."""
    standing: bool = False
    """Whether each stands on four of its pods, as on a flat support, turned about the beam alone."""
    seed: int = 1

    @model_validator(mode="after")
    def _pods_leave_the_core(self) -> Self:
        if self.pod_length_nm <= self.pod_thickness_nm / 2:
            raise ValueError(
                f"pods of {self.pod_length_nm:g} nm do not leave a core of {self.pod_thickness_nm:g} nm: "
                "make them longer"
            )
        return self

    def transmission(self, shape: tuple[int, int], pixel: float, energy_eV: float) -> NDArray[np.complex64]:
        """Return the film's complex transmission; its phase is negative where there is more matter.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the field, which repeats itself beyond.
        pixel : float
            In metres.
        energy_eV : float

        Returns
        -------
        ndarray, (row, column), complex64
            exp(-i k sum(t (delta - i beta))) over thicknesses t, delta and beta in excess of the matrix's.
        """
        rng = np.random.default_rng(self.seed)
        centres_nm = self.centres_nm(np.array(shape) / (M_PER_NM / pixel), rng)
        return self.transmission_of(centres_nm, shape, pixel, energy_eV, rng)

    def transmission_of(
        self,
        centres_nm: NDArray[np.float64],
        shape: tuple[int, int],
        pixel: float,
        energy_eV: float,
        rng: np.random.Generator,
    ) -> NDArray[np.complex64]:
        """Return the transmission of octapods that stand at places ``(octapod, 2)``: see `transmission`.

        One after the other they are turned by ``rng``, so that those of a film can be drawn in parts.
        """
        pixels_per_nm = M_PER_NM / pixel
        length, thickness = self.pod_length_nm * pixels_per_nm, self.pod_thickness_nm * pixels_per_nm
        centres = centres_nm * pixels_per_nm
        pods = projected_pods(centres, shape, length, thickness, rng, standing=self.standing)
        cores = projected_cores(centres, shape, thickness)
        matrix = self.matrix.log_transmission_per_m(energy_eV) if self.matrix else 0.0
        per_pod, per_core = (m.log_transmission_per_m(energy_eV) - matrix for m in (CDS, CDSE))
        return np.exp(pixel * (per_pod * pods + per_core * cores)).astype(np.complex64)

    def shrunk(self, size: float) -> Self:
        """Return the film with octapods of ``size`` times their size, where they were."""
        lengths = {name: size * getattr(self, name) for name in ("pod_length_nm", "pod_thickness_nm")}
        return self.model_copy(update=lengths)

    def centres_nm(self, field_nm: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return where the octapods are: worm-like chains in clusters.

        Parameters
        ----------
        field_nm : ndarray, (axis,)
            Rows and columns of the field and, where it is to be filled too, its depth.
        rng : Generator

        Returns
        -------
        ndarray, (octapod, axis), float64
            Chains may leave the field.
        """
        octapods = round(self.density_per_um2 * float(field_nm[:2].prod()) * 1e-6)
        axes = len(field_nm)
        chains = ceil(octapods / self.octapods_per_chain)
        clusters = rng.random((ceil(chains / self.chains_per_cluster), axes)) * field_nm
        place = np.repeat(clusters, self.chains_per_cluster, axis=0)[:chains]
        place = place + rng.normal(scale=self.cluster_nm, size=(chains, axes))
        direction = _unit(rng.normal(size=(chains, 3)))
        # kicks of this size decorrelate the direction over the persistence length
        kick = np.sqrt(self.link_nm / self.persistence_nm)
        links = np.empty((self.octapods_per_chain, chains, axes))
        for link in links:
            link[:] = place
            direction = _unit(direction + rng.normal(scale=kick, size=direction.shape))
            place = place + self.link_nm * direction[:, :axes]
        return links.reshape(-1, axes)[:octapods]


def projected_pods(
    centres: NDArray[np.float64],
    shape: tuple[int, int],
    length: float,
    thickness: float,
    rng: np.random.Generator,
    *,
    standing: bool = False,
) -> NDArray[np.float64]:
    """Return the thickness of all pods along the beam, for randomly turned octapods.

    A pod begins where it leaves the core, a ball of its own diameter. What neighbouring pods share
    there and the hollow between a ball and a flat end are as large as each other, to a percent.

    Parameters
    ----------
    centres : ndarray, (octapod, 2)
    shape : (int, int)
        Rows and columns of the periodic field.
    length, thickness : float
        Of a pod from the octapod's centre, and across.
    rng : Generator
    standing : bool
        See `OctapodFilm`.

    Returns
    -------
    ndarray, (row, column), float64
        In pixels, as every length here.
    """
    lines = np.zeros(shape)
    for part in np.array_split(centres, ceil(len(centres) / OCTAPODS_AT_ONCE) or 1):
        turns = _turns(len(part), rng, standing=standing).as_matrix()
        draw_rods(lines, part, (turns[:, :2] @ CUBE_CORNERS.T).swapaxes(1, 2), thickness / 2, length)
    return _thicken(lines, thickness)


def _turns(octapods: int, rng: np.random.Generator, *, standing: bool) -> Rotation:
    """Return how octapods are turned: anyhow, or about the beam."""
    if standing:
        return Rotation.from_euler("z", rng.uniform(0, 2 * pi, (octapods, 1)))
    return Rotation.random(octapods, rng=rng)


def draw_rods(
    lines: NDArray[np.float64],
    centres: NDArray[np.float64],
    directions: NDArray[np.float64],
    start: float,
    end: float,
) -> None:
    """Add infinitely thin rods to a map of length per pixel.

    Parameters
    ----------
    lines : ndarray, (row, column)
    centres : ndarray, (octapod, 2)
    directions : ndarray, (octapod, rod, 2)
        Projections of the rods' unit vectors.
    start, end : float
        Distances in space from the octapod's centre.
    """
    points = ceil(end - start)
    along = start + (np.arange(points) + 0.5) * (end - start) / points
    places = centres[:, None, None] + directions[:, :, None] * along[:, None]
    _deposit(lines, places.reshape(-1, 2), (end - start) / points)


def projected_cores(
    centres: NDArray[np.float64], shape: tuple[int, int], thickness: float
) -> NDArray[np.float64]:
    """Return the thickness of all cores, balls of the pods' diameter, in pixels along the beam."""
    lines = np.zeros(shape)
    _deposit(lines, centres, 2 / 3 * thickness)
    return _thicken(lines, thickness)


def _deposit(lines: NDArray[np.float64], places: NDArray[np.float64], length: float) -> None:
    """Share the length of each point out among its four nearest pixels, periodically."""
    corner = np.floor(places)
    rows, columns = corner.astype(np.intp).T
    below, right = (places - corner).T
    for row, row_share in ((rows, 1 - below), (rows + 1, below)):
        for column, share in ((columns, 1 - right), (columns + 1, right)):
            pixel = row % lines.shape[0] * lines.shape[1] + column % lines.shape[1]
            lines += np.bincount(pixel, length * row_share * share, lines.size).reshape(lines.shape)


def _thicken(lines: NDArray[np.float64], diameter: float) -> NDArray[np.float64]:
    """Smear length per pixel over a disc: volume is kept, and a rod's middle is a cylinder's.

    A line smeared over a disc of radius r is 2 sqrt(r^2 - s^2) / sin(theta) thick at the distance s
    from a rod tilted by theta, as a cylinder is; along the beam it is a disc as thick as it is long.
    """
    rows, columns = fft.fftfreq(lines.shape[0])[:, None], fft.rfftfreq(lines.shape[1])
    argument = pi * diameter * np.hypot(rows, columns)
    disc = np.divide(2 * j1(argument), argument, out=np.ones_like(argument), where=argument > 0)
    smeared: NDArray[np.float64] = fft.irfft2(fft.rfft2(lines) * disc, lines.shape)
    return smeared * (pi / 4 * diameter**2)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
