"""The process that judges between two repeats whether a region has had enough.

``python -m ptycho_plugin.live.judge --tiled URI --data FOLDER`` reads one `Question` as JSON from
standard input, and writes one JSON object to standard output: ``stop`` and ``reason``, or ``error``.
The API key is in the variable ``TILED_API_KEY``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ptycho_plugin.checked_model import refusal
from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError, PtychoError
from ptycho_plugin.io.repeat_file import read_repeat, write_repeat
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.live.intake import Intake
from ptycho_plugin.live.question import MeasuredRepeat, Question
from ptycho_plugin.live.spool import SpoolReader
from ptycho_plugin.measurement import planned_centre, planned_positions, window_half_px
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.postprocess.repeats import (
    HighAngleSignal,
    Repeat,
    RepeatSeries,
    beyond_beam,
    high_angle_signal,
    window_about,
)
from ptycho_plugin.postprocess.stopping import Verdict
from ptycho_plugin.publishing.calibrations import CalibrationStore, start_probe
from ptycho_plugin.publishing.connection import connect
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.result import Result
from ptycho_plugin.reconstruction.whole_scan import reconstruct

logger = logging.getLogger(__name__)

RECIPE_DIGITS = 16


def judge(question: Question, data: Path, client: Any) -> Verdict:
    """Reconstruct the repeats that have no map yet, and judge them all.

    Parameters
    ----------
    question : Question
    data : path
        The folder whose frame files may be read.
    client : tiled client
        Of the tree's root; it holds probe and mask.

    Raises
    ------
    PtychoError
        If a repeat has no exposures, or they cannot be read or reconstructed.
    """
    series = RepeatSeries()
    for measured in question.repeats:
        kept = kept_map(measured.run, question.recipe)
        if not kept.exists():
            write_repeat(kept, _reconstructed(measured, series, question.recipe, data, client))
        series.add(read_repeat(kept))
    return question.criteria.judge(series, _scan(question.repeats[0].run).geometry.object_pixel)


def kept_map(run: Path, recipe: ReconstructionOptions) -> Path:
    """Return where a repeat's map is kept, in the spool folder of its last run: one for each recipe."""
    return run / f"repeat-{sha256(recipe.model_dump_json().encode()).hexdigest()[:RECIPE_DIGITS]}.h5"


def _reconstructed(
    measured: MeasuredRepeat, series: RepeatSeries, recipe: ReconstructionOptions, data: Path, client: Any
) -> Repeat:
    """Return a repeat's map, cut to the window of those before, and its scattering beyond the beam."""
    store = CalibrationStore(client)
    exposures, scan = _exposures(measured, data, store)
    probe, _ = start_probe(store, scan)
    result = reconstruct(exposures.with_probe(probe), recipe)
    from_centre = exposures.positions - planned_centre(scan)
    half = (
        len(series.repeats[0].transmission) // 2
        if series.repeats
        else window_half_px(planned_positions(scan), scan.geometry.object_pixel)
    )
    window = map_window(result, from_centre, half)
    signal = scattered(result, exposures, measured.photons)
    return Repeat(window, measured.dose_before, measured.dose_after, signal)


def map_window(result: Result, from_centre: NDArray[np.float64], half: int) -> NDArray[np.complexfloating]:
    """Return the window of a map about the scan's centre: `window_about`.

    Parameters
    ----------
    result : Result
    from_centre : ndarray, (frame, 2), float64
        Of the probe, in metres, from the scan's centre.
    half : int
        Half of the window's side, in pixels.
    """
    geometry = result.geometry
    offsets_px = from_centre / geometry.object_pixel
    return window_about(result.object, result.positions_px, offsets_px, geometry.frame_side, half)


def scattered(result: Result, exposures: PtychoDataset, photons: float) -> HighAngleSignal:
    """Return what a sample scatters beyond the beam that was found: `high_angle_signal`."""
    return high_angle_signal(exposures.frames, exposures.mask, beyond_beam(result.probe), photons)


def _exposures(
    measured: MeasuredRepeat, data: Path, store: CalibrationStore
) -> tuple[PtychoDataset, ScanMetadata]:
    """Return all exposures of a repeat as one scan, and what its last run says of it."""
    with FrameFiles(data) as files:
        intake = Intake(measured.run, files, store, _tell)
        parts = [*iter(intake.take, None), *intake.take_late()]
    if not parts:
        raise InputError(f"{measured.run} holds no exposure: nothing can be said of this repeat")
    return PtychoDataset.joined(parts), intake.run.scan


def _scan(folder: Path) -> ScanMetadata:
    """Return what a run says of its scan, from its spool."""
    name, document = next(SpoolReader(folder).read(), ("", {}))
    if name != "start":
        raise InputError(f"{folder} does not begin with a start document: name the folder of a run")
    return ScanMetadata.from_start(document)


def _tell(*, warning: str | None = None, **_: Any) -> None:
    if warning:
        logger.warning("%s", warning)


def main() -> int:
    """Answer one question; return the exit status."""
    parser = argparse.ArgumentParser(description="Judge a region between two repeats.")
    parser.add_argument("--tiled", required=True, help="address of the Tiled tree")
    parser.add_argument("--data", required=True, type=Path, help="folder of the frames' files")
    arguments = parser.parse_args()
    try:
        question = Question.model_validate_json(sys.stdin.read())
        with redirect_stdout(sys.stderr):
            answer = asdict(judge(question, arguments.data, connect(arguments.tiled)))
    except ValidationError as error:
        answer = {"error": refusal(Question.__name__, error, Question.model_fields)}
    except (PtychoError, OSError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return int("error" in answer)


if __name__ == "__main__":
    sys.exit(main())
