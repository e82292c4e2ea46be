"""What is written into the ledger: regions, budgets, exposures as intended and as delivered.

Positions are (row, column) of the probe in micrometres; those of exposures are the stage's, the
coarse and the piezo stage's added.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.errors import LedgerError
from ptycho_plugin.geometry import is_same_energy

Kind = Literal["scan", "alignment"]
Transit = Literal["transit"]
"""Kind of the way from one exposure of a trajectory to the next, through an open shutter."""
Frame = Literal["saved", "lost", "none"]
Micrometres = Annotated[float, Field(json_schema_extra={"units": "um"})]
Position = tuple[Micrometres, Micrometres]
Name = Annotated[str, Field(min_length=1)]


class Region(CheckedModel):
    """A place on a sample that keeps its identity when the sample is mounted again.

    Parameters
    ----------
    key : int
        In its ledger.
    sample, area, name : str
        Its identity.
    centre_um : (float, float)
        In sample coordinates: those of the stage when the sample was first mounted.
    reach_um : float
        Half the side of the square about the centre, along the sample's axes, in which exposures
        count as the region's: its own half side and as far as the probe reaches.
    """

    key: int
    sample: Name
    area: Name
    name: Name
    centre_um: Position
    reach_um: Annotated[float, Field(gt=0, json_schema_extra={"units": "um"})]

    def __str__(self) -> str:
        return f"region '{self.name}' in area '{self.area}' of '{self.sample}'"

    def distance_um(self, sample_um: Position) -> float:
        """Return how far a point (row, column) in sample coordinates lies from the centre, along an axis."""
        return max(abs(there - here) for there, here in zip(sample_um, self.centre_um, strict=True))


class Budget(CheckedModel):
    """The dose that a region may take, and the material that it is counted in."""

    dose: Annotated[float, Field(gt=0, json_schema_extra={"units": "Gy"})]
    material: Name
    formula: Name


class CalibrationUsed(CheckedModel):
    """The flux calibration that makes photons of the monitor's counts."""

    key: Name
    date: AwareDatetime
    monitor: Name
    energy_eV: Annotated[float, Field(gt=0, json_schema_extra={"units": "eV"})]
    gain: Annotated[float, Field(gt=0)]
    relative_sigma: Annotated[float, Field(ge=0)] | None = None
    """Its standard uncertainty, which all its exposures share; None where nobody knows it."""


class Beam(CheckedModel):
    """The beam of an exposure: its energy, and what counts its photons."""

    energy_eV: Annotated[float, Field(gt=0, json_schema_extra={"units": "eV"})]
    monitor: Name
    gain: Annotated[float, Field(gt=0)]
    calibration: CalibrationUsed | None = None

    def calibrated(self) -> CalibrationUsed:
        """Return the calibration.

        Raises
        ------
        LedgerError
            If there is none, or it is of another monitor, energy or gain.
        """
        used = self.calibration
        if used is None:
            raise LedgerError(f"monitor '{self.monitor}' is not calibrated: run calibrate_flux first")
        for what, there, here, same in (
            ("monitor", used.monitor, self.monitor, used.monitor == self.monitor),
            ("gain", used.gain, self.gain, used.gain == self.gain),
            (
                "energy in eV",
                used.energy_eV,
                self.energy_eV,
                is_same_energy(used.energy_eV, self.energy_eV),
            ),
        ):
            if not same:
                raise LedgerError(
                    f"flux calibration {used.key} has {what} {there}, the beam {here}: "
                    "run calibrate_flux again for this one"
                )
        return used


class Intent(CheckedModel):
    """An exposure that is about to be made.

    Parameters
    ----------
    on : Region or str
        The region that it is meant for, or the sample's name where none is placed yet.
    run_uid : str
    point : int
        Its number in the run.
    kind : {"scan", "alignment", "transit"}
        A transit is no exposure of its point, but the way there.
    repeat : int, optional
        Which scan of the region it belongs to.
    start_um, end_um : (float, float)
        Where the probe is when the shutter opens and when it closes, in a straight line between;
        `end_um` is left out where nothing moves.
    open_s : float
        For which the shutter is to be open.
    photons_at_most : float
        On the sample; an upper bound, which counts if nobody confirms the exposure.
    beam : Beam
    """

    on: Region | Name
    run_uid: Name
    point: Annotated[int, Field(ge=0)]
    kind: Kind | Transit = "scan"
    repeat: int | None = None
    start_um: Position
    end_um: Position | None = None
    open_s: Annotated[float, Field(gt=0, json_schema_extra={"units": "s"})]
    photons_at_most: Annotated[float, Field(gt=0)]
    beam: Beam

    @property
    def sample(self) -> str:
        """Name of the sample."""
        return self.on.sample if isinstance(self.on, Region) else self.on


class Delivered(CheckedModel):
    """An exposure as it was.

    Parameters
    ----------
    opened, closed : datetime
        With their time zone: when the shutter was told to open, and was closed.
    open_s : float
        For which it was really open.
    photons, photons_uncertainty : float
        On the sample, with their standard deviation. Exposures that share a flux calibration share
        its error.
    start_um, end_um : (float, float), optional
        As measured; both left out, as intended; the end alone, where nothing moved.
    frame : {"saved", "lost", "none"}
        What came of it: an event that was saved; an exposure without one; or none, where the shutter
        opened and closed and the detector did not expose, so that the point is still to be exposed.
        The dose is spent in each case.
    """

    opened: AwareDatetime
    closed: AwareDatetime
    open_s: Annotated[float, Field(ge=0, json_schema_extra={"units": "s"})]
    photons: Annotated[float, Field(ge=0)]
    photons_uncertainty: Annotated[float, Field(ge=0)]
    start_um: Position | None = None
    end_um: Position | None = None
    frame: Frame = "saved"

    @model_validator(mode="after")
    def _closes_after_it_opens(self) -> Self:
        if self.closed < self.opened:
            raise ValueError(f"closed {self.closed} is before opened {self.opened}")
        return self
