"""What a run says about itself: the ``ptycho`` entry of its start document.

Written by the plans; read by the live worker and by whoever reconstructs the run years later
from Tiled alone. It names what it does not hold (probe, mask, background) by its Tiled key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation, PositionSign
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import Trajectory

START_KEY = "ptycho"
SCHEMA_VERSION: Literal[1] = 1

Purpose = Literal["scan", "alignment", "probe_calibration", "beam_centre", "background", "flux_calibration"]
RECONSTRUCTED: tuple[Purpose, ...] = ("scan", "probe_calibration")
"""Purposes of runs that are scans; frames of the others are only looked at."""


class StoredProbe(BaseModel):
    """A probe kept in Tiled under ``calibrations/probes/<uid>``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["stored"] = "stored"
    uid: str


ProbeSource = Annotated[ZonePlate | StoredProbe, Field(discriminator="kind")]


class ScanMetadata(BaseModel):
    """Everything a reconstruction needs besides frames and positions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    purpose: Purpose = "scan"
    geometry: Geometry
    orientation: DetectorOrientation = DetectorOrientation.AS_IS
    position_sign: PositionSign = PositionSign.PROBE
    beam_centre_px: tuple[float, float]
    """Direct beam (row, column) in the full raw frame."""
    frame_key: str
    """Data key of the frames."""
    position_keys: tuple[str, str]
    """Data keys of the measured (row, column) stage position in micrometres."""
    flux_key: str | None = None
    """Data key of what the flux monitor counted during the exposure, in units of its own."""
    trajectory: Trajectory
    centre_um: tuple[float, float] = (0.0, 0.0)
    """Stage position (row, column) of the trajectory's centre."""
    coarse_um: tuple[float, float] | None = None
    """Where the coarse stage (row, column) stood, if a guard has noted it."""
    continues: tuple[str, ...] = ()
    """Uids of the earlier runs of this repeat, in their order: the scan is in all of them together."""
    points: tuple[int, ...] | None = None
    """Numbers of the trajectory's points that this run exposes: event ``i + 1`` is of ``points[i]``. None
    for all."""
    uncertain: tuple[int, ...] = ()
    """Points that this run leaves out, because an earlier one may have exposed them."""
    lost: tuple[int, ...] = ()
    """Points that this run leaves out, because an earlier one exposed them, without saving an event."""
    exposure_s: Annotated[float, Field(gt=0)]
    photons_per_frame: float | None = None
    """Photons expected on the sample in one exposure."""
    probe: ProbeSource | None = None
    """Where a reconstruction starts from; frames that are only looked at need none."""
    optic: ZonePlate | None = None
    mask_version: str | None = None
    """Key of the valid-pixel mask under ``calibrations/masks``."""
    background_run: str | None = None
    """Uid of the background frames taken with the sample out."""
    options: ReconstructionOptions = ReconstructionOptions()

    def to_start(self) -> dict[str, Any]:
        """Return the entry for a start document."""
        return {START_KEY: self.model_dump(mode="json")}

    @classmethod
    def from_start(cls, start: dict[str, Any]) -> ScanMetadata:
        """Return what a start document says.

        Raises
        ------
        InputError
            If the run was not written by this package, or by a newer version of it.
        """
        from pydantic import ValidationError

        from ptycho_plugin.checked_model import refusal
        from ptycho_plugin.errors import InputError

        uid = start.get("uid", "?")
        if START_KEY not in start:
            raise InputError(f"run {uid} has no '{START_KEY}' metadata: it is not a ptychographic scan")
        try:
            return cls.model_validate(start[START_KEY])
        except ValidationError as error:
            reason = refusal(cls.__name__, error, cls.model_fields)
            raise InputError(f"run {uid}: '{START_KEY}' cannot be used: {reason}") from None
