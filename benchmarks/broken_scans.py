"""Verdicts on scans that are right, and on scans that were broken on purpose.

``python -m benchmarks.broken_scans`` prints them all with what they are based on, in half a minute; with
``--standard FILE`` the standard case and the harder one instead, in some minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import Case, harder_case, standard_case
from benchmarks.simulate import expected_frames
from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation
from ptycho_plugin.reconstruction.map_verdict import MapVerdict
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import started

SIDE = 32
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=SIDE)
OPTIC = ZonePlate(diameter=100e-6, outermost_zone=125e-9, central_stop=20e-6, defocus=900e-6)
START = OPTIC.model_copy(update={"defocus": 945e-6})
"""5 % from where it is."""
OTHER_OPTIC = ZonePlate(diameter=100e-6, outermost_zone=250e-9, central_stop=40e-6, defocus=900e-6)
MARGIN_PX = 12
STEP_PX = 4
SCATTER_PX = 1.5
"""Of the points about their grid, so that it leaves no mark."""
PHOTONS = 1e6
RECIPE = ReconstructionOptions(difference_map_iterations=40, maximum_likelihood_iterations=40)


@dataclass(frozen=True, slots=True)
class Trial:
    """A scan to be judged.

    Parameters
    ----------
    scan : PtychoDataset
    options : ReconstructionOptions
    planned : ndarray, (point, 2), float64, optional
        In metres, where frames are missing.
    """

    scan: PtychoDataset
    options: ReconstructionOptions = RECIPE
    planned: NDArray[np.float64] | None = None

    def verdict(self) -> MapVerdict:
        """Reconstruct it, and judge the map."""
        return started(self.scan, self.options, self.planned).finish().verdict


def small_case(
    *,
    photons: float = PHOTONS,
    seed: int = 0,
    contrast: float = 0.3,
    absorption: float = 0.1,
    points: int = 10,
    background: float = 0.0,
    second_mode: float = 0.0,
    jitter_px: float = 0.0,
    drift_px: float = 0.0,
) -> Case:
    """Return a scan of 32 x 32 px frames on a jittered grid.

    Parameters
    ----------
    photons : float
        Of a frame.
    seed : int
    contrast : float
        Standard deviation of the sample's phase, in radians.
    absorption : float
        Over the phase.
    points : int
        Along each axis.
    background : float
        Counts of every pixel.
    second_mode : float
        Share of the photons.
    jitter_px, drift_px : float
        Of true positions from measured ones: standard deviation, and the whole way, along each axis.
    """
    rng = np.random.default_rng(seed)
    side = SIDE + 2 * MARGIN_PX + points * STEP_PX
    phase = -contrast * np.maximum(_smooth_noise(rng, side) + 1.5, 0)
    film = np.exp((1j + absorption) * phase).astype(np.complex64)
    grid = MARGIN_PX + STEP_PX * np.indices((points, points)).reshape(2, -1).T
    measured = grid + rng.uniform(-SCATTER_PX, SCATTER_PX, grid.shape)
    true = measured + rng.normal(0, 1, grid.shape) * jitter_px
    true += drift_px * np.linspace(0, 1, len(true))[:, None]
    expected = expected_frames([film], _modes(photons, second_mode), true, SIDE) + np.float32(background)
    scan = PtychoDataset(
        frames=rng.poisson(expected).astype(np.int32),
        positions=measured * GEOMETRY.object_pixel,
        mask=np.ones((SIDE, SIDE), bool),
        geometry=GEOMETRY,
        probe=START.probe(GEOMETRY),
    )
    return Case(scan, film, true, expected)


def _smooth_noise(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    frequency = np.fft.fftfreq(side)
    envelope = np.exp(-(frequency[:, None] ** 2 + frequency**2) / 0.12**2)
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * envelope).real
    return np.asarray(noise / noise.std())


def _modes(photons: float, second: float) -> NDArray[np.complex64]:
    first = OPTIC.probe(GEOMETRY, photons)[0]
    slope = np.gradient(first, axis=0)
    slope *= np.sqrt(photons / np.sum(np.abs(slope) ** 2))
    return np.stack([np.sqrt(1 - second) * first, np.sqrt(second) * slope]).astype(np.complex64)


def good_trials(photons: float = PHOTONS) -> dict[str, Trial]:
    """Return scans whose maps are right."""
    few = ReconstructionOptions(difference_map_iterations=10, maximum_likelihood_iterations=10)
    refined = RECIPE.model_copy(
        update={"position_tolerance": 3 * GEOMETRY.object_pixel, "maximum_likelihood_iterations": 100}
    )
    modes = RECIPE.model_copy(update={"probe_modes": 2, "estimate_background": True})
    return {
        "plain": Trial(small_case(photons=photons).scan),
        "another sample": Trial(small_case(photons=photons, seed=1).scan),
        "a faint sample": Trial(small_case(photons=photons, seed=3, contrast=0.06).scan),
        "a sample without absorption": Trial(small_case(photons=photons, seed=3, absorption=0).scan),
        "a small scan": Trial(small_case(photons=photons, seed=4, points=6).scan),
        "a few iterations": Trial(small_case(photons=photons, seed=8).scan, few),
        "two modes and a background": Trial(
            small_case(photons=photons, seed=5, background=0.05, second_mode=0.1).scan, modes
        ),
        "jitter of 0.5 px, refined": Trial(small_case(photons=photons, seed=6, jitter_px=0.5).scan, refined),
        "drift of 1 px, refined": Trial(small_case(photons=photons, seed=7, drift_px=1).scan, refined),
    }


Break = Callable[[Case, np.random.Generator], Trial]


def broken_trials(photons: float = PHOTONS) -> dict[str, Trial]:
    """Return scans that were broken on purpose, each in another way."""
    case = small_case(photons=photons)
    return {name: spoil(case, np.random.default_rng(5)) for name, spoil in BREAKS.items()} | {
        "drift of 5 px": Trial(small_case(photons=photons, drift_px=5).scan),
        "true jitter of 80 nm": Trial(small_case(photons=photons, jitter_px=1).scan),
    }


def _with_frames(change: Callable[[NDArray[np.int32], np.random.Generator], NDArray[np.int32]]) -> Break:
    return lambda case, rng: Trial(replace(case.scan, frames=change(case.scan.frames.copy(), rng)))


def _with_positions(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Break:
    return lambda case, _: Trial(replace(case.scan, positions=change(case.scan.positions.copy())))


def _with_probe(optic: ZonePlate) -> Break:
    return lambda case, _: Trial(case.scan.with_probe(optic.probe(GEOMETRY)))


def _in_geometry(geometry: Geometry) -> Break:
    return lambda case, _: Trial(replace(case.scan, geometry=geometry, probe=START.probe(geometry)))


def _third(frames: NDArray[np.int32]) -> slice:
    return slice(len(frames) // 3, 2 * len(frames) // 3)


def _shutter_closed(frames: NDArray[np.int32], _: np.random.Generator) -> NDArray[np.int32]:
    frames[_third(frames)] = 0
    return frames


def _shutter_late(frames: NDArray[np.int32], _: np.random.Generator) -> NDArray[np.int32]:
    frames[:3] = 0
    return frames


def _stage_stuck(frames: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int32]:
    stuck = _third(frames)
    frames[stuck] = rng.poisson(frames[stuck.start], frames[stuck].shape)
    return frames


def _readback_stuck(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    stuck = slice(len(positions) // 3, 2 * len(positions) // 3)
    positions[stuck] = positions[stuck.start]
    return positions


def _hot(frames: NDArray[np.int32], counts: int) -> NDArray[np.int32]:
    frames[:, 5, 25] = counts
    return frames


def _missing(case: Case, _: np.random.Generator) -> Trial:
    kept = slice(0, 7 * len(case.scan) // 10)
    scan = replace(case.scan, frames=case.scan.frames[kept], positions=case.scan.positions[kept])
    return Trial(scan, planned=case.scan.positions)


BREAKS: dict[str, Break] = {
    "beam centre (4, 3) px off": _with_frames(lambda frames, _: np.roll(frames, (4, 3), axis=(1, 2))),
    "beam centre 1 px off": _with_frames(lambda frames, _: np.roll(frames, 1, axis=1)),
    "twice the defocus": _with_probe(OPTIC.model_copy(update={"defocus": 2 * OPTIC.defocus})),
    "half the defocus": _with_probe(OPTIC.model_copy(update={"defocus": OPTIC.defocus / 2})),
    "defocus of the other sign": _with_probe(OPTIC.model_copy(update={"defocus": -OPTIC.defocus})),
    "another optic's probe": _with_probe(OTHER_OPTIC),
    "positions 1.1 times": _with_positions(lambda positions: 1.1 * positions),
    "positions 1.3 times": _with_positions(lambda positions: 1.3 * positions),
    "rows and columns swapped": _with_positions(lambda positions: positions[:, ::-1].copy()),
    "rows mirrored": _with_positions(lambda positions: positions * np.array([-1, 1])),
    "both signs reversed": _with_positions(lambda positions: -positions),
    "told jitter of 100 nm": lambda case, rng: Trial(
        replace(case.scan, positions=case.scan.positions + rng.normal(0, 100e-9, case.scan.positions.shape))
    ),
    "stage stuck for a third": _with_frames(_stage_stuck),
    "readback stuck for a third": _with_positions(_readback_stuck),
    "detector transposed": _with_frames(lambda frames, _: frames.swapaxes(1, 2).copy()),
    "detector flipped": _with_frames(lambda frames, _: DetectorOrientation.FLIP_ROWS.about_beam(frames)),
    "detector turned by 180 degrees": _with_frames(
        lambda frames, _: DetectorOrientation.ROTATE_180.about_beam(frames)
    ),
    "distance 1.1 times": _in_geometry(GEOMETRY.model_copy(update={"distance": 1.1 * GEOMETRY.distance})),
    "energy 0.9 times": _in_geometry(GEOMETRY.model_copy(update={"energy_eV": 0.9 * GEOMETRY.energy_eV})),
    "shutter closed for a third": _with_frames(_shutter_closed),
    "shutter 3 frames late": _with_frames(_shutter_late),
    "frames shuffled": _with_frames(lambda frames, rng: rng.permutation(frames)),
    "frames one late": _with_frames(lambda frames, _: np.roll(frames, 1, axis=0)),
    "a hot pixel, constant": _with_frames(lambda frames, _: _hot(frames, 20_000)),
    "a hot pixel, faint": _with_frames(lambda frames, rng: _hot(frames, rng.poisson(500, len(frames)))),
    "a tenth of pixels clipped": _with_frames(
        lambda frames, _: np.minimum(frames, int(np.quantile(frames, 0.9)))
    ),
    "a fiftieth of pixels clipped": _with_frames(
        lambda frames, _: np.minimum(frames, int(np.quantile(frames, 0.98)))
    ),
    "30 % of the frames missing": _missing,
}


def standard_trials(file: Path) -> dict[str, Trial]:
    """Return the standard case, with fewer photons, and broken; and the harder case."""
    case, rng = standard_case(file), np.random.default_rng(1)
    scan, pixel = case.scan, case.scan.geometry.object_pixel
    harder = harder_case(scan.geometry.frame_side, np.ones_like(scan.mask))
    full = RECIPE.model_copy(
        update={"probe_modes": 2, "position_tolerance": 100e-9, "estimate_background": True}
    )
    far = scan.geometry.model_copy(update={"distance": 1.1 * scan.geometry.distance})
    jitter = rng.normal(0, 1, scan.positions.shape)
    return {
        "standard": Trial(scan),
        "standard, 8 + 8 iterations": Trial(
            scan, ReconstructionOptions(difference_map_iterations=8, maximum_likelihood_iterations=8)
        ),
        "standard, 1e5 photons": Trial(case.counted(3, 0.1).scan),
        "standard, 1e4 photons": Trial(case.counted(3, 0.01).scan),
        "harder, all refined": Trial(harder.scan, full),
        "harder, as if it were not": Trial(harder.scan),
        "standard, 20 nm jitter refined": Trial(
            replace(scan, positions=scan.positions + 20e-9 * jitter),
            RECIPE.model_copy(update={"position_tolerance": 100e-9}),
        ),
        "broken: 100 nm jitter": Trial(replace(scan, positions=scan.positions + 100e-9 * jitter)),
        "broken: transposed": Trial(replace(scan, frames=scan.frames.swapaxes(1, 2).copy())),
        "broken: shuffled": Trial(replace(scan, frames=rng.permutation(scan.frames))),
        "broken: shuffled, 1e4 photons": Trial(
            replace(scan, frames=rng.permutation(case.counted(3, 0.01).scan.frames))
        ),
        "broken: beam centre (4, 3) px off": Trial(
            replace(scan, frames=np.roll(scan.frames, (4, 3), axis=(1, 2)))
        ),
        "broken: positions 1.1 times": Trial(replace(scan, positions=1.1 * scan.positions)),
        "broken: drift of 15 px": Trial(
            replace(scan, positions=scan.positions + np.linspace(0, 15 * pixel, len(scan))[:, None])
        ),
        "broken: distance 1.1 times": Trial(
            replace(scan, geometry=far, probe=ZonePlate(defocus=290e-6).probe(far))
        ),
    }


def main() -> None:
    """Print a line for each trial."""
    parser = argparse.ArgumentParser(description="Print verdicts on right scans and on broken ones.")
    parser.add_argument("--photons", type=float, default=PHOTONS, help="of a frame of the small scans")
    parser.add_argument("--standard", type=Path, metavar="FILE", help="the standard case instead")
    arguments = parser.parse_args()
    if arguments.standard is None:
        trials = {f"good: {name}": trial for name, trial in good_trials(arguments.photons).items()}
        trials |= {f"broken: {name}": trial for name, trial in broken_trials(arguments.photons).items()}
    else:
        trials = standard_trials(arguments.standard)
    print(f"{'':40} R/R_P   left  signal    shift  like overlap          curl contrast")
    for name, trial in trials.items():
        verdict = trial.verdict()
        f = verdict.figures
        curl = "-" if f.curls is None else f"{f.curls[0]:.3g}/{min(f.curls[1:]):.3g}"
        contrast = "-" if f.contrast is None else f"{f.contrast:.2f}"
        print(
            f"{name:40} {f.times_poisson:5.2f} {f.unexplained:6.2f} {f.signal:7.3g} {f.beam_off_px!s:>8} "
            f"{f.likeness:.3f} {f.probe_overlap:7.2f} {curl:>13} {contrast:>8}  {verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()
