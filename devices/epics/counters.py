"""What counts and measures while the detector exposes, over Channel Access."""

from __future__ import annotations

from typing import Any

from ophyd import Component, Device, EpicsSignal, EpicsSignalRO, FormattedComponent, Signal
from ophyd.status import Status

from ptycho_plugin import beamline_file
from ptycho_plugin.devices.epics.answers import ANSWER_S, told

NO_GATE = "see that the detector exposes, and that its gate is wired here"


class _GatedCounter(Device):
    """Armed by a put that completes when the next gate has ended.

    Parameters
    ----------
    *args, **kwargs
        As for `ophyd.Device`.
    exposure_time : EpicsSignal
        Of the detector: how long to wait for the gate's end.
    """

    def __init__(self, *args: Any, exposure_time: EpicsSignal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exposure_time = exposure_time

    def trigger(self) -> Status:
        """Arm for the next exposure."""
        return told(self.arm, 1, float(self._exposure_time.get()) + ANSWER_S, NO_GATE)


class EpicsEncoder(_GatedCounter):
    """A position capture: the stage's place, averaged over the exposure."""

    arm = FormattedComponent(EpicsSignal, "{prefix}{_said.arm}", put_complete=True, kind="omitted")
    y = FormattedComponent(EpicsSignalRO, "{prefix}{_said.y}", kind="normal")
    x = FormattedComponent(EpicsSignalRO, "{prefix}{_said.x}", kind="normal")

    def __init__(self, prefix: str, said: beamline_file.schema.Encoder, **kwargs: Any) -> None:
        self._said = said
        super().__init__(prefix, **kwargs)


class EpicsFluxMonitor(_GatedCounter):
    """A channel of a scaler record, behind an amplifier."""

    arm = FormattedComponent(EpicsSignal, "{prefix}{_said.scaler}.CNT", put_complete=True, kind="omitted")
    counts = FormattedComponent(EpicsSignalRO, "{prefix}{_said.scaler}.S{_said.channel}", kind="hinted")
    gain = FormattedComponent(
        EpicsSignal, "{prefix}{_said.gain}", put_complete=True, write_timeout=ANSWER_S, kind="config"
    )
    calibration = Component(Signal, value="", kind="config")
    """Calibration in force, a `ptycho_plugin.flux.FluxCalibration` as JSON; empty where there is none."""

    def __init__(self, prefix: str, said: beamline_file.schema.Flux, **kwargs: Any) -> None:
        self._said = said
        super().__init__(prefix, **kwargs)
