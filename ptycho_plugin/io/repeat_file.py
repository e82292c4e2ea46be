"""The map of one repeat, kept so that later repeats can be compared with it."""

from __future__ import annotations

from pathlib import Path

import h5py

from ptycho_plugin.errors import InputError
from ptycho_plugin.io.atomic import replacing
from ptycho_plugin.postprocess.repeats import HighAngleSignal, Repeat


def write_repeat(path: Path, repeat: Repeat) -> None:
    """Write a repeat; the file appears whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.

    Notes
    -----
    ``transmission`` (row, column) complex; ``dose`` (2,) in Gy, before and after; ``high_angle`` (2,),
    value and standard uncertainty, where it was measured.
    """
    with replacing(path) as part, h5py.File(part, "w") as file:
        file["transmission"] = repeat.transmission
        file["dose"] = [repeat.dose_before, repeat.dose_after]
        file["dose"].attrs["units"] = "Gy"
        if repeat.high_angle is not None:
            file["high_angle"] = [repeat.high_angle.value, repeat.high_angle.sigma]


def read_repeat(path: Path) -> Repeat:
    """Read a repeat that `write_repeat` wrote.

    Raises
    ------
    InputError
        If it is no such file.
    """
    try:
        with h5py.File(path) as file:
            before, after = map(float, file["dose"])
            signal = HighAngleSignal(*map(float, file["high_angle"])) if "high_angle" in file else None
            return Repeat(file["transmission"][()], before, after, signal)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no map of a repeat: {error}; remove it to have it made again") from None
