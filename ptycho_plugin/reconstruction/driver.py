"""The recipe: a first engine, then maximum likelihood, on frames that may still be coming in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import DivergenceError, ReconstructionError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.reconstruction.blocks import (
    Block,
    blocks_state,
    expected_noise,
    make_blocks,
    restored_blocks,
)
from ptycho_plugin.reconstruction.device import ASKED_FOR, choose_machine
from ptycho_plugin.reconstruction.diagnosis import Evidence, likely_cause
from ptycho_plugin.reconstruction.difference_map import DifferenceMap
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.field import Field
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.frame_look import FrameLook, look_at_frames
from ptycho_plugin.reconstruction.frame_refinement import FrameRefinement
from ptycho_plugin.reconstruction.gauge import (
    in_slices,
    of_unit_scale,
    with_more_modes,
    with_orthogonal_modes,
    without_ramp,
)
from ptycho_plugin.reconstruction.least_squares import LeastSquares
from ptycho_plugin.reconstruction.machine import Machine
from ptycho_plugin.reconstruction.map_figures import Stage, figures_of
from ptycho_plugin.reconstruction.map_verdict import judged
from ptycho_plugin.reconstruction.maximum_likelihood import MaximumLikelihood, noise_model, residual_of
from ptycho_plugin.reconstruction.mean_frame import MeanFrame
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.result import Progress, Result
from ptycho_plugin.reconstruction.support import probe_support

Report = Callable[[Progress], None]
State = dict[str, Any]
"""Arrays, texts, and states of parts, by name."""

EARLY_REFINEMENTS = 10
"""Difference-map iterations that refine frames: the object does not hold them yet, far ones find home.

More would follow the map's own unrest."""
ITERATIONS_PER_EXPANSION = 5
"""Maximum likelihood: how long the curvatures along frames' ways serve its preconditioner."""
SEARCHES_FOR_STRAYS = (20, 40, 80, 160)
"""Maximum likelihood: iterations after which frames are searched for that none took home. Earlier the object
tells too little; each search finds what was hidden by the strays of the last one."""
ITERATIONS_PER_REFINEMENT = 2
"""Maximum likelihood: object and probe settle between two refinements of the frames' intensities."""
LARGEST_ERROR = 1e4
"""Of an iteration. The likelihood may overshoot as it leaves the map of frames that do not fit, and come
back: from 115 was seen."""
NOT_YET = -1
"""In a state: what has not begun."""


class Reconstruction:
    """A reconstruction that takes in frames while it iterates.

    Parameters
    ----------
    geometry : Geometry
    probe : ndarray, (mode, row, column), complex64
        Start probe; its scale is free, since the frames' counts set the power.
    planned_positions : ndarray, (n, 2), float64
        Where frames are expected, ``(row, column)`` in metres and in their order: sizes the object
        once. Measured positions may have another zero: the first frames tell.
    options : ReconstructionOptions, optional
    machine : Machine, optional
        By default what the options' device chooses.

    Raises
    ------
    InputError
        If the start probe is empty, if a background or positions are to be found in the near field, or if a
        graphics processor is asked for and none works.
    ReconstructionError
        If the scan is larger than any, or the probe's support misses the start probe.

    See Also
    --------
    GrowingReconstruction : When to iterate on frames that come one by one.
    """

    def __init__(
        self,
        geometry: Geometry,
        probe: NDArray[np.complex64],
        planned_positions: NDArray[np.float64],
        options: ReconstructionOptions | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.geometry = geometry
        self.options = options or ReconstructionOptions()
        self._machine, self._why = (machine, ASKED_FOR) if machine else choose_machine(self.options.device)
        if geometry.focus_to_sample is not None:
            self.options.check_near_field()
        self._planned = planned_positions
        self._field = Field.around(planned_positions, geometry.object_pixel, geometry.frame_side)
        probe = of_unit_scale(probe)
        support = probe_support(probe, self.options.probe_support, geometry.object_pixel)
        self._support = self._machine.array(support)
        start = Estimate(
            self._machine.array(np.ones((1, *self._field.shape), np.complex64)),
            self._machine.array(with_more_modes(of_unit_scale(support * probe), self.options.probe_modes)),
        )
        self._start_probe = self._machine.host(start.probe)
        self._good, self._good_frames = start, State()
        self._forward = ForwardModel(self._machine, geometry, self.options.slice_distance)
        self._statistics = MeanFrame(
            self._forward, geometry.frame_side, has_background=self.options.estimate_background
        )
        self._engine: DifferenceMap | LeastSquares | MaximumLikelihood = self._first_engine(start)
        self._recipe_from: int | None = None
        self._likelihood_from: int | None = None
        self._refinement: FrameRefinement | None = None
        self._blocks: list[Block] = []
        self._positions = np.zeros((0, 2))
        self._errors: list[float] = []
        self._frames_used: list[int] = []
        self._seconds = 0.0

    def _first_engine(self, start: Estimate) -> DifferenceMap | LeastSquares:
        if self.options.first_engine == "least squares":
            return LeastSquares(start, self._forward, support=self._support)
        return DifferenceMap(
            start, self._forward, overlap_tolerance=self.options.overlap_tolerance, support=self._support
        )

    @property
    def frames(self) -> int:
        """Frames taken in so far."""
        return len(self._positions)

    def add(self, intensities: NDArray[np.float32], positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Take in frames, except those outside the planned scan.

        Parameters
        ----------
        intensities : ndarray, (n, row, column), float32
            Counts, negative where not measured: `PtychoDataset.intensities`.
        positions : ndarray, (n, 2), float64
            ``(row, column)`` in metres.

        Returns
        -------
        ndarray of bool, (n,)
            Which frames were taken in.

        Raises
        ------
        ReconstructionError
            If the first frames hold no photon, or frames are refined or the maximum likelihood has begun;
            then nothing is taken in.
        """
        first = self._still_first()
        if self._refinement is not None:
            raise ReconstructionError("frames are being refined already: start a new reconstruction")
        field = self._field
        if not self.frames:
            field = field.moved_to(positions, self._planned[: len(positions)])
        taken = field.covers(positions)
        if not taken.all():  # a copy is as large as half the exit waves
            intensities, positions = intensities[taken], positions[taken]
        if not len(positions):
            return taken
        if not (intensities > 0).any() and not self.frames:
            raise ReconstructionError("no pixel counted a photon; check the shutter and the mask")
        statistics = self._statistics.with_frames(intensities)
        power = statistics.photons(self._machine.host(first.estimate.probe))
        blocks = list(
            make_blocks(
                intensities,
                field.to_px(positions),
                expected_noise(statistics.mean),
                self.options.probe_modes,
                self._machine,
                self._forward.detector,
                movable=self.options.refines_frames,
            )
        )
        first.add(blocks, power=power)
        self._statistics, self._field = statistics, field
        self._blocks.extend(blocks)
        self._positions = np.concatenate([self._positions, positions])
        return taken

    def iterate(self) -> float:
        """Take one iteration of the first engine on the frames there are; return its error.

        Raises
        ------
        DivergenceError
            If it diverges.
        ReconstructionError
            If there is no frame, or the maximum-likelihood part has begun.
        """
        first, frames = self._still_first(), self._frames_state()
        self._refuse_without_frames()
        with self._engine_at_work():
            error = first.step(update_probe=len(self._errors) >= self.options.probe_update_starts)
            self._recorded(error, self.options.first_engine, first.judged, frames)
            if self._refines_early:
                self._frame_refinement().find_positions(first.estimate, self._model)
        return error

    def finish(self, report: Report | None = None) -> Result:
        """Run the whole recipe, or what is left of it, on all frames taken in; return its result.

        Iterations made while frames were still coming in gave it a better start, no more.

        Raises
        ------
        DivergenceError
            If an engine diverges.
        ReconstructionError
            If there is no frame.
        """
        self._refuse_without_frames()
        if self._recipe_from is None:
            self._recipe_from = len(self._errors)
        while self._likelihood is None and self._done < self.options.first_iterations:
            self._tell(report, self.options.first_engine, self.iterate())
        likelihood = self._likelihood or self._begin_likelihood()
        while self._done < self.options.iterations:
            self._tell(report, "maximum likelihood", self._refine(likelihood))
        return self.result()

    @property
    def _done(self) -> int:
        """Iterations of the recipe."""
        return len(self._errors) - (self._recipe_from or 0)

    @property
    def _refines_early(self) -> bool:
        """Whether the map can bring frames home: all are there, the probe updated, the object still free."""
        updates = self._done - self.options.probe_update_starts
        return (
            self.options.position_tolerance > 0
            and isinstance(self._engine, DifferenceMap)
            and self._recipe_from is not None
            and 0 < updates <= EARLY_REFINEMENTS
        )

    @property
    def _model(self) -> tuple[np.float32, bool]:
        return noise_model(self.options.noise, self._statistics.background)

    def _begin_likelihood(self) -> MaximumLikelihood:
        if self.options.position_tolerance > 0:
            with self._engine_at_work():
                self._frame_refinement().find_positions(self._engine.estimate, self._model)
        return self._made_likelihood()

    def _made_likelihood(self) -> MaximumLikelihood:
        likelihood = MaximumLikelihood(
            self._likelihood_start(),
            self._blocks,
            self._forward,
            noise=self.options.noise,
            background=self._statistics.background,
            refinement=self._frame_refinement() if self.options.position_tolerance > 0 else None,
            smoothness=self.options.smoothness,
            support=self._support,
        )
        self._engine, self._likelihood_from = likelihood, len(self._errors)
        return likelihood

    def _likelihood_start(self) -> Estimate:
        """Return what the map found, in slices where there are several: its phase must not wrap in them."""
        estimate, slices = self._engine.estimate, self.options.slices
        if slices == 1:
            return estimate
        flat = self._flat(estimate, self._field.to_px(self._positions))[0]
        return in_slices(Estimate(*map(self._machine.array, (flat.object, flat.probe))), slices)

    def _flat(
        self, estimate: Estimate, positions_px: NDArray[np.float64]
    ) -> tuple[Estimate, NDArray[np.bool_]]:
        """Return an estimate on the host without global phase and ramp, and where it can be trusted."""
        estimate = Estimate(self._machine.host(estimate.object), self._machine.host(estimate.probe))
        trusted = self._field.trusted(estimate.probe, positions_px)
        return without_ramp(estimate, trusted), trusted

    def _refine(self, likelihood: MaximumLikelihood) -> float:
        judged, frames = likelihood.estimate, self._frames_state()
        with self._engine_at_work():
            error = self._recorded(likelihood.step(), "maximum likelihood", judged, frames)
            self._refine_frames(likelihood, len(self._errors) - (self._likelihood_from or 0))
        return error

    def _refine_frames(self, likelihood: MaximumLikelihood, done: int) -> None:
        """Do what frames need after some number of iterations of maximum likelihood."""
        moves, model = self.options.position_tolerance > 0, likelihood.model
        if (
            moves
            and done in SEARCHES_FOR_STRAYS
            and self._frame_refinement().find_strays(likelihood.estimate, model)
        ):
            likelihood.restart()
        if moves and done % ITERATIONS_PER_EXPANSION == 0:
            self._frame_refinement().expand(likelihood.estimate, model)
        if self.options.refine_intensities and done % ITERATIONS_PER_REFINEMENT == 0:
            self._frame_refinement().refine_intensities(likelihood.estimate, model)

    def _frame_refinement(self) -> FrameRefinement:
        if self._refinement is None:
            self._refinement = FrameRefinement(
                self._blocks,
                self._field.to_px(self._positions),
                tolerance_px=self.options.position_tolerance / self.geometry.object_pixel,
                shape=self._field.shape,
                forward=self._forward,
            )
        return self._refinement

    def result(self) -> Result:
        """Return the state as it is, gauge removed; after a divergence the last good one."""
        all_done = self._recipe_from is not None and self._done >= self.options.iterations
        return self._result("finished" if all_done else "live")

    def _result(self, stage: Stage) -> Result:
        estimate, background, refined = self._engine.estimate, self._statistics.background, self._refinement
        residual = residual_of(estimate, self._blocks, self._forward, background)
        measured_px = self._field.to_px(self._positions)
        positions_px = measured_px if refined is None else refined.positions_px
        flat, trusted = self._flat(estimate, positions_px)
        estimate = with_orthogonal_modes(flat)
        estimate = estimate.with_probe_power(self._statistics.photons(estimate.probe))
        look = self._look_at_frames()
        figures = figures_of(
            look,
            self._statistics,
            self._evidence(look),
            stage=stage,
            flat=estimate,
            trusted=trusted,
            r_factor=residual,
            ways_px=positions_px - measured_px,
            tolerance_px=self.options.position_tolerance / self.geometry.object_pixel,
            planned=len(self._planned),
        )
        return Result(
            slices=estimate.object,
            probe=estimate.probe,
            positions=self._positions + (positions_px - measured_px) * self.geometry.object_pixel,
            positions_px=positions_px,
            positions_measured=self._positions,
            intensities=np.ones(self.frames) if refined is None else refined.intensities,
            background=background,
            trusted=trusted,
            errors=np.array(self._errors),
            frames_used=np.array(self._frames_used, np.int64),
            likelihood_from=len(self._errors) if self._likelihood_from is None else self._likelihood_from,
            residual=residual,
            geometry=self.geometry,
            options=self.options,
            seconds=self._seconds,
            device=f"{self._machine.describe(self.geometry.frame_side)} ({self._why})",
            verdict=judged(figures),
        )

    def state(self) -> State:
        """Return all that `restored` needs, on the host: it goes on to the same bits.

        Raises
        ------
        ReconstructionError
            If there is no frame.
        """
        self._refuse_without_frames()
        state: State = {
            "options": self.options.model_dump_json(),
            "geometry": self.geometry.model_dump_json(),
            "planned": self._planned,
            "origin_px": self._field.origin_px,
            "positions": self._positions,
            "errors": np.array(self._errors),
            "frames_used": np.array(self._frames_used, np.int64),
            "recipe_from": np.array(NOT_YET if self._recipe_from is None else self._recipe_from),
            "likelihood_from": np.array(NOT_YET if self._likelihood_from is None else self._likelihood_from),
            "seconds": np.array(self._seconds),
            "statistics": self._statistics.state(),
            "blocks": blocks_state(self._blocks, self._machine, waves=self._likelihood is None),
            "start_probe": self._start_probe,
            "good": self._good.state(self._machine),
            "good_frames": self._good_frames,
        }
        if self._refinement is not None:
            state["refinement"] = self._refinement.state()
        return state | {"engine": self._engine.state()}

    @classmethod
    def restored(cls, state: State, machine: Machine | None = None) -> Reconstruction:
        """Return a reconstruction that goes on where another one's `state` was taken."""
        self = cls(
            Geometry.model_validate_json(state["geometry"]),
            state["start_probe"],
            state["planned"],
            ReconstructionOptions.model_validate_json(state["options"]),
            machine,
        )
        self._field = replace(self._field, origin_px=state["origin_px"])
        self._positions, self._errors = state["positions"], state["errors"].tolist()
        self._frames_used = state["frames_used"].tolist()
        self._seconds = float(state["seconds"])
        self._statistics.restore(state["statistics"])
        self._blocks = restored_blocks(state["blocks"], self._machine)
        recipe_from, likelihood_from = int(state["recipe_from"]), int(state["likelihood_from"])
        self._recipe_from = None if recipe_from == NOT_YET else recipe_from
        if likelihood_from == NOT_YET:
            self._still_first().restore(state["engine"], self._blocks)
        else:
            self._made_likelihood().restore(state["engine"])
            self._likelihood_from = likelihood_from
        self._good, self._good_frames = Estimate.restored(state["good"], self._machine), state["good_frames"]
        if "refinement" in state:
            self._frame_refinement().restore(state["refinement"])
        return self

    @contextmanager
    def _engine_at_work(self) -> Iterator[None]:
        began = perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # an iteration's error tells it
            yield
        self._seconds += perf_counter() - began

    @property
    def _likelihood(self) -> MaximumLikelihood | None:
        return self._engine if isinstance(self._engine, MaximumLikelihood) else None

    def _still_first(self) -> DifferenceMap | LeastSquares:
        """Return the engine before maximum likelihood, as long as it is its turn."""
        if isinstance(self._engine, MaximumLikelihood):
            raise ReconstructionError(
                f"the {self.options.first_engine} has ended: start a new reconstruction"
            )
        return self._engine

    def _refuse_without_frames(self) -> None:
        if not self.frames:
            raise ReconstructionError(
                "no frame lies in the planned scan; check the stage's unit and its zero"
            )

    def _frames_state(self) -> State:
        """Return where frames are and how bright; nothing as long as that is trusted."""
        return {} if self._refinement is None else self._refinement.state()

    def _recorded(self, error: float, engine: str, judged: Estimate, frames: State) -> float:
        """Keep an iteration's error, and estimate and frames it was found of; refuse one out of bounds."""
        if not error <= LARGEST_ERROR:  # also where it is not a number
            raise self._divergence(error, engine)
        self._errors.append(error)
        self._frames_used.append(self.frames)
        self._good, self._good_frames = judged, frames
        return error

    def _divergence(self, error: float, engine: str) -> DivergenceError:
        """Return to the last good state, and say what happened."""
        power = self._statistics.photons(self._machine.host(self._good.probe))
        self._engine.estimate = self._good.with_probe_power(power)
        if self._refinement is not None and self._good_frames:
            self._refinement.return_to(self._good_frames)
        return DivergenceError(
            f"the {engine} diverged in iteration {len(self._errors) + 1} (error {error:.3g}): "
            f"{likely_cause(self._evidence(self._look_at_frames()))}",
            self._result("diverged"),
        )

    def _look_at_frames(self) -> FrameLook:
        statistics, estimate = self._statistics, self._engine.estimate
        return look_at_frames(self._blocks, estimate, self._forward, statistics.mean, statistics.background)

    def _evidence(self, look: FrameLook) -> Evidence:
        return Evidence(
            probe=self._start_probe,
            positions_px=self._field.to_px(self._positions),
            counts=look.counts,
            share_seen=self._statistics.share_seen(self._start_probe),
            likeness=self._statistics.likeness(self._start_probe),
            fills_its_array=self.geometry.focus_to_sample is not None,
        )

    def _tell(self, report: Report | None, engine: str, error: float) -> None:
        if report is not None:
            report(Progress(engine, self._done, self.options.iterations, self.frames, error))
