"""Another package on the same data, where somebody installed it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import Case
from benchmarks.floor import Floor
from benchmarks.quality import WANTED, Scorer
from benchmarks.report import Figure

BATCH = 81
"""Frames that pty-chi updates at once."""


def peer_figures(case: Case, scorer: Scorer, epochs: int) -> Iterator[Figure]:
    """Yield pty-chi's time and scores: its least-squares maximum likelihood, everything else its default.

    Parameters
    ----------
    case : Case
    scorer : Scorer
    epochs : int
        Passes over all frames.
    """
    if find_spec("ptychi") is None:
        yield Figure("ptychi_phase_error", None, remark="ptychi is not installed")
        return
    task, corners_px = _ptychi_task(case, epochs)
    began = perf_counter()
    task.run()
    seconds = perf_counter() - began
    floor = Floor(len(case.scan), case.scan.geometry.frame_side)
    for _ in range(9):
        floor.run()
    remark = f"{seconds:.0f} s for {epochs} epochs of LSQ-ML"
    yield Figure("ptychi_epoch_over_floor", seconds / epochs / floor.seconds, remark=remark)
    object_ = task.get_data_to_cpu("object", as_numpy=True)[0]
    scores = scorer.scores(object_, corners_px, case)
    yield from (Figure(f"ptychi_{name}", scores[name]) for name in WANTED)


def _ptychi_task(case: Case, epochs: int) -> tuple[Any, NDArray[np.float64]]:
    """Return a task of pty-chi, and the top-left pixel of each frame's patch in its object."""
    import torch
    from ptychi import api
    from ptychi.api.task import PtychographyTask
    from ptychi.utils import get_suggested_object_size, rescale_probe

    scan = case.scan
    positions_px = scan.positions / scan.geometry.object_pixel
    centred_px = positions_px - np.rint((positions_px.min(axis=0) + positions_px.max(axis=0)) / 2)
    counts = scan.frames.astype(np.float32)
    shape = get_suggested_object_size(centred_px, scan.probe.shape[-2:], extra=32)
    options = api.LSQMLOptions()
    options.data_options.data = counts
    options.data_options.valid_pixel_mask = scan.mask
    options.data_options.wavelength_m = scan.geometry.wavelength
    options.object_options.initial_guess = torch.ones([1, *shape], dtype=torch.complex64)
    options.object_options.pixel_size_m = scan.geometry.object_pixel
    options.probe_options.initial_guess = torch.as_tensor(rescale_probe(scan.probe, counts))[None]
    options.probe_position_options.position_y_px = centred_px[:, 0]
    options.probe_position_options.position_x_px = centred_px[:, 1]
    options.reconstructor_options.batch_size = BATCH
    options.reconstructor_options.num_epochs = epochs
    options.reconstructor_options.default_device = api.Devices.CPU
    corners_px = centred_px + np.round(np.array(shape) / 2) - scan.geometry.frame_side // 2
    return PtychographyTask(options), corners_px
