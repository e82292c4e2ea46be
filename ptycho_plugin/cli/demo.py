"""``ptycho demo``: the published scan on the simulated beamline, from RunEngine to phase map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_plugin.cli.bars import ReconstructionBar, ScanBar, progress_bars
from ptycho_plugin.errors import PublishingError

if TYPE_CHECKING:
    from ptycho_plugin.live.outcome import LiveOutcome
    from ptycho_plugin.publishing.client import PtychoReconstruction
    from ptycho_plugin.publishing.server import LocalTiledServer
    from ptycho_plugin.simulation.score import Score

PICTURE = "phase_map.png"


def run_demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for frames, Tiled's storage and the picture.")
    ] = Path("demo-output"),
) -> None:
    """Scan, reconstruct live and publish, on simulated devices and an embedded Tiled server.

    Example: ptycho demo -o demo-output
    """
    from ptycho_plugin.publishing.server import LocalTiledServer
    from ptycho_plugin.view.plots import save_png

    frames = output / "frames"
    frames.mkdir(parents=True, exist_ok=True)
    with LocalTiledServer(output / "tiled", readable=[frames]) as server:
        outcome = _scan(server, frames, output / "spool")
        if outcome.tiled_path is None:
            raise PublishingError(f"no phase map of run {outcome.uid}: {outcome.error}")
        reconstruction = server.client()["reconstructions"][outcome.uid]
        save_png(reconstruction.plot(), output / PICTURE)
        print(json.dumps(_summary(outcome, reconstruction, _score(reconstruction))))


def _scan(server: LocalTiledServer, frames: Path, spool: Path) -> LiveOutcome:
    from bluesky import RunEngine

    from ptycho_plugin.callbacks import LiveReconstruction, raw_run_writer
    from ptycho_plugin.devices import simulated_beamline
    from ptycho_plugin.plans import ptycho_scan
    from ptycho_plugin.publishing.calibrations import CalibrationStore

    client = server.client()
    RE = RunEngine({})  # noqa: N806  everybody's name for it
    with progress_bars() as bars:
        live = LiveReconstruction(server.uri, spool, frames, on_progress=ReconstructionBar(bars))
        for callback in (ScanBar(bars), raw_run_writer(client, spool), live):
            RE.subscribe(callback)
        beamline = simulated_beamline(frames, calibrations=CalibrationStore(client))
        RE(ptycho_scan(beamline))
        return live.wait()


def _score(reconstruction: PtychoReconstruction) -> Score:
    from ptycho_plugin.simulation.score import score
    from ptycho_plugin.simulation.specimens import FILM
    from ptycho_plugin.simulation.world import SimulatedWorld

    geometry = reconstruction.geometry
    truth = SimulatedWorld(geometry).truth(FILM)
    return score(
        reconstruction.object,
        reconstruction.positions_px,
        truth.transmission,
        truth.positions_px(reconstruction.positions, geometry.frame_side),
        truth.pixel,
    )


def _summary(outcome: LiveOutcome, reconstruction: PtychoReconstruction, found: Score) -> dict[str, Any]:
    return {
        "points": len(reconstruction.positions),
        "run_uid": outcome.uid,
        "first_map_s": _rounded(outcome.first_map_s),
        "final_map_s": _rounded(outcome.final_map_s),
        "phase_error": _rounded(found.phase_error),
        "phase_error_smooth": _rounded(found.phase_error_smooth),
        "frc_05_nm": _rounded(found.frc_05_nm),
        "tiled_path": outcome.tiled_path,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
