"""``ptycho demo``: the published scan on the simulated beamline, from RunEngine to phase map."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_plugin.errors import InputError, PublishingError
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import ConcentricRings, Trajectory
from ptycho_plugin.view.bars import ReconstructionBar, ScanBar, progress_bars

if TYPE_CHECKING:
    from ptycho_plugin.devices import Beamline
    from ptycho_plugin.live.outcome import LiveOutcome
    from ptycho_plugin.publishing.calibrations import CalibrationStore
    from ptycho_plugin.publishing.client import PtychoReconstruction
    from ptycho_plugin.publishing.server import LocalTiledServer
    from ptycho_plugin.simulation.score import Score

    MakeBeamline = Callable[[Path, CalibrationStore], AbstractContextManager[Beamline]]

FRAMES, TILED, SPOOL, RESULTS = "frames", "tiled", "spool", "results"
PICTURE = "phase_map.png"


def run_demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for frames, Tiled's storage and the picture.")
    ] = Path("demo-output"),
    epics: Annotated[
        bool, typer.Option("--epics", help="Over Channel Access, with a simulated beamline of its own.")
    ] = False,
) -> None:
    """Scan, reconstruct live and publish, on simulated devices and an embedded Tiled server.

    Example: ptycho demo -o demo-output
    """
    print(json.dumps(demonstrate(output, make_beamline=over_channel_access if epics else in_process)))


@contextmanager
def in_process(frames: Path, calibrations: CalibrationStore) -> Iterator[Beamline]:
    """Give a simulated beamline of this process."""
    from ptycho_plugin.devices import simulated_beamline

    yield simulated_beamline(frames, calibrations=calibrations)


@contextmanager
def over_channel_access(frames: Path, calibrations: CalibrationStore) -> Iterator[Beamline]:
    """Give one of process variables, which another process serves."""
    from ptycho_plugin.ioc import IocProcess

    with IocProcess(directory=frames) as ioc:
        os.environ.update(ioc.environment)  # before ophyd is imported, as a RunEngine does that is made
        from ptycho_plugin.devices.epics import epics_beamline

        yield epics_beamline(ioc.beamline_file, frames, calibrations=calibrations)


def demonstrate(
    output: Path,
    trajectory: Trajectory = ConcentricRings(),  # noqa: B008  frozen
    options: ReconstructionOptions = ReconstructionOptions(),  # noqa: B008  frozen
    make_beamline: MakeBeamline = in_process,
) -> dict[str, Any]:
    """Run the whole path on simulated devices and return its figures.

    Parameters
    ----------
    output : Path
        Folder for frames, Tiled's storage, the spool and the picture.
    trajectory : Trajectory
    options : ReconstructionOptions
    make_beamline : callable
        Gives, as a context manager, a beamline that writes its frames to a folder.

    Raises
    ------
    InputError
        If the folder cannot be written.
    PublishingError
        If there is no phase map in the end.
    """
    from ptycho_plugin.io.atomic import check_writable
    from ptycho_plugin.publishing.server import LocalTiledServer
    from ptycho_plugin.view.plots import save_png

    for folder in (FRAMES, TILED, SPOOL, RESULTS):
        _make_folder(output / folder)
    check_writable(output / PICTURE)
    with LocalTiledServer(output / TILED, readable=[output / FRAMES, output / RESULTS]) as server:
        outcome = _scan(server, output, trajectory, options, make_beamline)
        if outcome.tiled_path is None:
            raise PublishingError(f"no phase map of run {outcome.uid}: {outcome.error}")
        reconstruction = server.client()["reconstructions"][outcome.uid]
        save_png(reconstruction.plot(), output / PICTURE)
        return _figures(outcome, reconstruction, _score(reconstruction))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}; name another --output") from error


def _scan(
    server: LocalTiledServer,
    output: Path,
    trajectory: Trajectory,
    options: ReconstructionOptions,
    make_beamline: MakeBeamline,
) -> LiveOutcome:
    from bluesky import RunEngine

    from ptycho_plugin.publishing.calibrations import CalibrationStore

    frames, spool = output / FRAMES, output / SPOOL
    with make_beamline(frames, CalibrationStore(server.client())) as beamline, progress_bars() as bars:
        from ptycho_plugin.callbacks import LiveReconstruction
        from ptycho_plugin.plans import ptycho_scan

        RE = RunEngine({})  # noqa: N806  everybody's name for it
        with LiveReconstruction(
            server.uri,
            spool,
            frames,
            results=output / RESULTS,
            on_progress=ReconstructionBar(bars),
        ) as live:
            RE.subscribe(ScanBar(bars))
            RE.subscribe(live)
            RE(ptycho_scan(beamline, trajectory=trajectory, options=options))
            return live.wait()


def _score(reconstruction: PtychoReconstruction) -> Score:
    from ptycho_plugin.simulation.score import score
    from ptycho_plugin.simulation.specimens import FILM
    from ptycho_plugin.simulation.world import SimulatedWorld

    geometry = reconstruction.geometry
    truth = SimulatedWorld(geometry).truth(FILM)
    positions = reconstruction.positions
    return score(
        reconstruction.object,
        reconstruction.positions_px,
        truth.transmission,
        truth.positions_px(positions, geometry.frame_side),
        truth.pixel,
        field=min(3e-6, 0.75 * float((positions.max(axis=0) - positions.min(axis=0)).min())),
    )


def _figures(outcome: LiveOutcome, reconstruction: PtychoReconstruction, found: Score) -> dict[str, Any]:
    seconds = {"first_map_s": outcome.first_map_s, "final_map_s": outcome.final_map_s}
    return {
        "points": len(reconstruction.positions),
        "run_uid": outcome.uid,
        **{name: None if value is None else round(value, 2) for name, value in seconds.items()},
        "phase_error": round(found.phase_error, 4),
        "phase_error_smooth": round(found.phase_error_smooth, 4),
        "frc_05_nm": round(found.frc_05_nm, 2),
        "tiled_path": outcome.tiled_path,
    }
