"""A sample with octapods through its depth, which may be thicker than a projection describes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.flux import Layer
from ptycho_plugin.geometry import M_PER_NM, M_PER_UM
from ptycho_plugin.simulation.octapods import OctapodFilm


class OctapodSlab(CheckedModel):
    """Octapods at all depths of a film, in slices for a multi-slice simulation.

    How the sample is cut changes where along the beam its matter acts, not the matter: the product of
    the slices is the same for any number of them.
    """

    film: OctapodFilm = OctapodFilm()
    """How its octapods hang together, and what they are in."""
    thickness_um: float = Field(24.0, gt=0)
    slices: int = Field(1, ge=1)
    """Across the beam, each as thick as the others; an octapod belongs to the one that its centre is in."""
    membrane: Layer | None = None
    """What the sample lies on."""

    @property
    def slice_distance(self) -> float:
        """From the middle of a slice to the next one's, in metres."""
        return self.thickness_um * M_PER_UM / self.slices

    def sliced(self, shape: tuple[int, int], pixel: float, energy_eV: float) -> NDArray[np.complex64]:
        """Return the slices' transmissions, in the order of the beam.

        Matrix and membrane absorb; their phase, uniform, is left out.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the field, which repeats itself beyond.
        pixel : float
            In metres.
        energy_eV : float

        Returns
        -------
        ndarray, (slice, row, column), complex64
        """
        rng = np.random.default_rng(self.film.seed)
        depth_nm = self.thickness_um * M_PER_UM / M_PER_NM
        rows_nm, columns_nm = (side * pixel / M_PER_NM for side in shape)
        centres_nm = self.film.centres_nm(np.array([rows_nm, columns_nm, depth_nm]), rng)
        centres_nm[:, 2] = _reflected(centres_nm[:, 2], depth_nm)
        centres_nm = centres_nm[np.argsort(centres_nm[:, 2])]  # turned in this order, however it is cut
        cuts = np.searchsorted(centres_nm[:, 2], np.arange(1, self.slices) * depth_nm / self.slices)
        stack = np.empty((self.slices, *shape), np.complex64)
        for transmission, part in zip(stack, np.split(centres_nm[:, :2], cuts), strict=True):
            transmission[:] = self.film.transmission_of(part, shape, pixel, energy_eV, rng)
        stack *= np.float32(self._amplitude(energy_eV) ** (1 / self.slices))
        return stack

    def transmission(self, shape: tuple[int, int], pixel: float, energy_eV: float) -> NDArray[np.complex64]:
        """Return the projection, ``(row, column)``: the product of all slices."""
        return self.model_copy(update={"slices": 1}).sliced(shape, pixel, energy_eV)[0]

    def _amplitude(self, energy_eV: float) -> float:
        """Return what the modulus of a wave is after the matrix and the membrane."""
        log = self.film.matrix.log_transmission_per_m(energy_eV).real if self.film.matrix else 0.0
        log *= self.thickness_um * M_PER_UM
        if self.membrane is not None:
            log += self.membrane.thickness * self.membrane.material.log_transmission_per_m(energy_eV).real
        return float(np.exp(log))


def _reflected(depth: NDArray[np.float64], thickness: float) -> NDArray[np.float64]:
    """Return depths between the faces: a chain that reaches one turns back."""
    folded = np.mod(depth, 2 * thickness)
    return np.minimum(folded, 2 * thickness - folded)
