"""The freedoms that frames cannot fix, removed the same way everywhere.

An exit wave P_j O_j, and so every frame, is unchanged up to a phase that no detector sees by

- a global phase of probe or object, of each of its slices,
- a linear phase ramp on the object with the opposite one on the probe (a shift of the frames),
- a factor on the object with its inverse on the probe: `Estimate.with_probe_power` fixes it,
- any unitary mixture of the probe's modes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.machine import namespace_of

SWEEPS = 5
OUTLIER_SPREADS = 3.0


def without_ramp(estimate: Estimate, trusted: NDArray[np.bool_]) -> Estimate:
    """Return the estimate with the global phase of each slice, and the first one's ramp, moved out of it.

    Behind free space a ramp is a shift, which frames can tell: only the first slice's is free.

    Parameters
    ----------
    estimate : Estimate
    trusted : ndarray of bool, (row, column)
        Where the object was illuminated enough to be judged.
    """
    flat = estimate.object.astype(np.complex128)
    shape = flat.shape[-2:]
    ramp = _mean_gradient(flat[0], trusted)
    for _ in range(SWEEPS):
        ramp = ramp + _plane(flat[0] * _plane_wave(-ramp, shape), trusted)
    flat[0] *= _plane_wave(-ramp, shape)
    flat *= np.exp(-1j * np.angle(flat[:, trusted].sum(axis=1)))[:, None, None]
    probe = estimate.probe * _plane_wave(ramp, estimate.probe.shape[-2:])
    return Estimate(flat.astype(np.complex64), probe.astype(np.complex64))


def _mean_gradient(object_: NDArray[np.complex128], trusted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the phase's mean step ``(row, column)`` in radians a pixel, whatever its wraps."""
    seen = np.where(trusted, object_, 0)
    # Not a BLAS call, whose last bits depend on its threads.
    steps = np.sum(seen[:-1].conj() * seen[1:]), np.sum(seen[:, :-1].conj() * seen[:, 1:])
    return np.angle(steps)


def _plane(object_: NDArray[np.complex128], trusted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the least-squares phase gradient ``(row, column)`` that is left, outliers set aside."""
    phase = np.angle(object_ * np.exp(-1j * np.angle(object_[trusted].sum())))[trusted]
    design = np.column_stack([np.ones(phase.size), *np.nonzero(trusted)])
    near = np.abs(phase - np.median(phase)) <= OUTLIER_SPREADS * max(float(phase.std()), 1e-12)
    fit = np.linalg.lstsq(design[near], phase[near], rcond=None)[0]
    return np.asarray(fit[1:], np.float64)


def _plane_wave(gradient: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.complex128]:
    rows, columns = (np.exp(1j * step * np.arange(size)) for step, size in zip(gradient, shape, strict=True))
    return np.multiply.outer(rows, columns)


def with_orthogonal_modes(estimate: Estimate) -> Estimate:
    """Return the estimate with its probe's modes orthogonal, strongest first.

    The mixture of Thibault and Menzel, Nature 494, 68 (2013): the total intensity stays.
    """
    modes = estimate.probe.reshape(len(estimate.probe), -1)
    if len(modes) == 1:
        return estimate
    _, mixtures = np.linalg.eigh(modes @ modes.conj().T)
    orthogonal = mixtures[:, ::-1].conj().T @ modes
    return replace(estimate, probe=orthogonal.reshape(estimate.probe.shape).astype(np.complex64))


def in_slices(estimate: Estimate, slices: int) -> Estimate:
    """Return the estimate of a thin object with as many equal slices, whose product it is."""
    if slices == 1:
        return estimate
    part = estimate.object[0, ...] ** (1 / slices)
    return replace(estimate, object=namespace_of(part).stack([part] * slices))


def of_unit_scale(probe: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return a start probe with the largest modulus 1: no scale of its own can overflow or vanish.

    Raises
    ------
    InputError
        If it is empty or holds a value that is not finite.
    """
    largest = float(np.abs(probe).max())
    if not 0 < largest < np.inf:
        raise InputError("the start probe is empty or holds a value that is not finite; give another one")
    return (probe / largest).astype(np.complex64)


def with_more_modes(probe: NDArray[np.complex64], modes: int) -> NDArray[np.complex64]:
    """Return a start probe ``(modes, row, column)`` of the same power.

    Further modes start as the first one's odd moments across the field, one tenth of its power
    altogether: where partial coherence shows first. Of more than `modes` the strongest are kept.
    """
    have = len(probe)
    if modes <= have:
        powers = np.sum(np.abs(probe) ** 2, axis=(1, 2))
        return probe[np.argsort(-powers, kind="stable")[:modes]]
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, size) for size in probe.shape[-2:]), indexing="ij")
    orders = [(r, total - r) for total in range(1, modes + 1) for r in range(total, -1, -1)]
    extra = np.stack([probe[0] * rows**r * columns**c for r, c in orders[: modes - have]])
    power = np.sum(np.abs(probe) ** 2) / 10 / len(extra)
    extra *= np.sqrt(power / np.sum(np.abs(extra) ** 2, axis=(1, 2), keepdims=True))
    return np.concatenate([probe, extra]).astype(np.complex64)
