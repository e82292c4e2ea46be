"""The dose that the simulated repeats of a region would have left in it."""

from __future__ import annotations

import numpy as np

from ptycho_plugin.dose import DoseModel, Grid, fluence_map, illumination_of
from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.materials import CDS
from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.reproduction.run import MeasuredRegion
from ptycho_plugin.simulation.samples import SAMPLES


def dose_of(conditions: Conditions, measured: MeasuredRegion) -> DoseMap:
    """Return the dose of all repeats of a region, in the polymer of its film.

    Where there is none it is told in the octapods, as an upper bound: see `DoseModel`.

    Parameters
    ----------
    conditions : Conditions
        Of which the photons are, and the nominal illumination: errors of the zone plate are much smaller than
        what electrons blur.
    measured : MeasuredRegion
        Of which the places are: where the probe was on the sample, with its drift.
    """
    material = SAMPLES[measured.region.sample].film.matrix or CDS
    model = DoseModel(material=material, energy_eV=conditions.geometry.energy_eV)
    illumination = illumination_of(conditions.optic.probe(conditions.geometry))
    points = np.concatenate([repeat.positions + repeat.drift for repeat in measured.repeats])
    paths = np.stack([points, points], axis=1)
    pixel = conditions.geometry.object_pixel
    grid = Grid.covering(paths, illumination.shape, pixel, model.reach)
    fluence = fluence_map(illumination, paths, np.full(len(points), conditions.photons), grid)
    dose = model.surface_dose(fluence, pixel)
    return DoseMap(
        dose=dose,
        grid=grid,
        points=points,
        peak=float(dose.max()),
        material=material.name,
        electron_range=model.electron_range,
    )
