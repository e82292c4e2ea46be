"""What queued plans act on, named by environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bluesky import RunEngine

from ptycho_plugin.callbacks import LiveReconstruction
from ptycho_plugin.devices import Beamline, simulated_beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.plans import AdaptiveStop
from ptycho_plugin.postprocess.stopping import StopCriteria
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.connection import connect

SIMULATED = "simulated"
FRAMES, SPOOL, RESULTS = "frames", "spool", "results"
VARIABLES = {
    "PTYCHO_BEAMLINE": f'"{SIMULATED}", or the path of a beamline file',
    "PTYCHO_LEDGER": "the path of the ledger of exposures",
    "PTYCHO_DATA": "the folder for frames, spool and results",
    "PTYCHO_TILED": "the address of the Tiled tree; its key goes into TILED_API_KEY",
}


@dataclass(frozen=True, slots=True)
class Session:
    """A RunEngine whose runs go into Tiled and are reconstructed, and what its plans act on.

    Parameters
    ----------
    engine : RunEngine
    beamline : Beamline
    ledger : Ledger
    tiled : str
        Address of the Tiled tree.
    data : Path
        Folder of frames, spool and results.
    """

    engine: RunEngine
    beamline: Beamline
    ledger: Ledger
    tiled: str
    data: Path

    def stop_rule(self, criteria: StopCriteria) -> AdaptiveStop:
        """Return the rule that asks for some criteria, of the live reconstructions' maps."""
        return AdaptiveStop(self.tiled, self.data / SPOOL, self.data / FRAMES, criteria=criteria)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the session that `VARIABLES` name.

        Raises
        ------
        InputError
            If one of them is not set, or names what cannot be used.
        LedgerError, PublishingError
            If the ledger is not there, or Tiled cannot be reached.
        """
        for variable, meaning in VARIABLES.items():
            if not environment.get(variable):
                raise InputError(f"{variable} is not set: give it {meaning}")
        data, address = Path(environment["PTYCHO_DATA"]).resolve(), environment["PTYCHO_TILED"]
        with ExitStack() as failed:
            ledger = failed.enter_context(Ledger(environment["PTYCHO_LEDGER"]))
            calibrations = CalibrationStore(connect(address))
            beamline = _beamline(environment["PTYCHO_BEAMLINE"], data / FRAMES, calibrations)
            live = LiveReconstruction(address, data / SPOOL, data / FRAMES, results=data / RESULTS)
            failed.pop_all()
        engine = RunEngine({})
        engine.subscribe(live)
        return cls(engine, beamline, ledger, address, data)


def _beamline(name: str, frames: Path, calibrations: CalibrationStore) -> Beamline:
    if name == SIMULATED:
        return simulated_beamline(frames, calibrations=calibrations)
    from ptycho_plugin.devices.epics import epics_beamline

    return epics_beamline(name, frames, calibrations=calibrations)
