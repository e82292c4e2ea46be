"""What ``ptycho doctor`` looks at: small functions, each with one finding."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_plugin.dataset import PtychoDataset

PACKAGES = ("ptycho-plugin", "numpy", "scipy", "numba", "pyfftw", "h5py", "bluesky", "ophyd", "tiled")
STANDARD_SIDE = 192
"""Rows, and columns, of the published scan's frames."""
SCAN_BYTES = 3.2e9
"""324 full frames that were not compressed."""
TRIAL_FRAMES = 4
GIB = 2**30


class State(StrEnum):
    """What a finding means for a reconstruction."""

    GOOD = "good"
    MISSING = "missing"
    """It runs, without something."""
    BAD = "bad"
    """It does not run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Parameters
    ----------
    state : State
    sentence : str
        For people.
    facts : mapping
        For machines: JSON values.
    """

    state: State
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Finding]


def examine(checks: Iterable[tuple[str, Check]]) -> dict[str, Finding]:
    """Return what each check found, by name; one that fails found something bad."""
    return {name: _found(check) for name, check in checks}


def _found(check: Check) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  whatever is wrong with a machine is what is asked for
        return Finding(State.BAD, f"{type(error).__name__}: {error}")


def standard_checks(spool: Path) -> list[tuple[str, Check]]:
    """Return the checks of a machine that reconstructs.

    Parameters
    ----------
    spool : Path
        Where scans will be kept.
    """
    return [
        ("packages", packages),
        ("cores", cores),
        ("FFTW", fftw),
        ("numba", numba),
        ("GPU", gpu),
        ("Tiled server", tiled_server),
        ("disk", partial(disk, spool)),
        ("reconstruction", reconstruction),
    ]


def packages() -> Finding:
    """Look up the versions of what everything stands on."""
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}
    return Finding(State.GOOD, ", ".join(f"{name} {version}" for name, version in versions.items()), versions)


def cores() -> Finding:
    """Count the cores that engines share."""
    from ptycho_plugin.reconstruction.parallel import usable_cores

    usable, there = usable_cores(), os.cpu_count()
    return Finding(State.GOOD, f"{usable} of {there} may be used", {"usable": usable, "there": there})


def fftw() -> Finding:
    """See what FFTW has learned for the frames of the published scan."""
    from ptycho_plugin.reconstruction.fourier import FFTW_VERSION, wisdom_file

    file = wisdom_file(STANDARD_SIDE)
    stored = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None
    facts = {"version": FFTW_VERSION, "wisdom": str(file), "side": STANDARD_SIDE, "sha256": stored}
    version = f"{FFTW_VERSION}; wisdom for {STANDARD_SIDE} px"
    if stored is not None:
        return Finding(State.GOOD, f"{version} is stored, {stored[:12]}", facts)
    if _can_be_written(file.parent):
        return Finding(State.GOOD, f"{version} is not stored yet: the first reconstruction learns it", facts)
    return Finding(
        State.MISSING,
        f"{version} cannot be stored: {file.parent} cannot be written, and another process may get other "
        "last bits; set XDG_CACHE_HOME to a folder that can",
        facts,
    )


def numba() -> Finding:
    """See where compiled kernels are kept: without any such folder they cannot be imported."""
    from ptycho_plugin.reconstruction import kernels

    folder = kernels.exit_waves.stats.cache_path
    return Finding(State.GOOD, f"compiled kernels are kept in {folder}", {"cache": folder})


def gpu() -> Finding:
    """See whether a graphics processor computes."""
    from ptycho_plugin.reconstruction.device import find_gpu

    found, why = find_gpu()
    if found is None:
        return Finding(State.MISSING, why, {"name": None, "why": why})
    facts = {"name": found.name, "bytes": found.memory, "cupy": found.xp.__version__, "cuda": found.cuda}
    return Finding(State.GOOD, f"{found}, {found.memory / GIB:.0f} GiB", facts)


def tiled_server() -> Finding:
    """See whether this machine can serve Tiled, as the demonstration does."""
    there = find_spec("uvicorn") is not None
    if there:
        return Finding(State.GOOD, "the extra 'server' is installed", {"installed": True})
    sentence = "the extra 'server' is not installed: no demo here, and results need a Tiled server elsewhere"
    return Finding(State.MISSING, sentence, {"installed": False})


def disk(folder: Path) -> Finding:
    """See how much room scans have."""
    there = _nearest_folder(folder)
    free = shutil.disk_usage(there).free
    facts = {"folder": str(there), "free_bytes": free}
    room = f"{free / GIB:.0f} GiB free in {there}"
    if not _can_be_written(there):
        return Finding(State.MISSING, f"{there} cannot be written: name another folder with --spool", facts)
    if free < SCAN_BYTES:
        return Finding(State.MISSING, f"{room}: a scan takes up to {SCAN_BYTES / GIB:.0f} GiB", facts)
    return Finding(State.GOOD, room, facts)


def reconstruction() -> Finding:
    """Reconstruct a few frames, as any other scan would be."""
    from ptycho_plugin.reconstruction.options import ReconstructionOptions
    from ptycho_plugin.reconstruction.whole_scan import reconstruct

    options = ReconstructionOptions(
        difference_map_iterations=1, maximum_likelihood_iterations=1, probe_update_starts=0
    )
    device = reconstruct(_trial_scan(), options).device
    return Finding(State.GOOD, f"runs on {device}", {"device": device})


def _trial_scan() -> PtychoDataset:
    """Return frames of nothing in a Gaussian beam."""
    import numpy as np

    from ptycho_plugin.dataset import PtychoDataset
    from ptycho_plugin.geometry import Geometry

    geometry = Geometry.from_wavelength(
        0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=STANDARD_SIDE
    )
    axis = np.arange(STANDARD_SIDE) - STANDARD_SIDE // 2
    probe = 10 * np.exp(-(axis[:, None] ** 2 + axis**2) / STANDARD_SIDE).astype(np.complex64)
    frame = np.abs(np.fft.fftshift(np.fft.fft2(probe, norm="ortho"))).astype(np.float32) ** 2
    places = np.stack(np.divmod(np.arange(TRIAL_FRAMES), 2), axis=1)
    return PtychoDataset(
        frames=np.stack([frame] * TRIAL_FRAMES),
        positions=places * STANDARD_SIDE / 8 * geometry.object_pixel,
        mask=np.ones(frame.shape, bool),
        geometry=geometry,
        probe=probe[None],
    )


def _nearest_folder(path: Path) -> Path:
    """Return the folder itself, or the one in which it would be made."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _can_be_written(folder: Path) -> bool:
    try:
        TemporaryFile(dir=_nearest_folder(folder)).close()
    except OSError:
        return False
    return True
