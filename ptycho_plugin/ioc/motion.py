"""How an axis really moves: at a constant speed, then it settles; it can be slow, or stall."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from ptycho_plugin.errors import InputError


@dataclass(frozen=True, slots=True)
class AxisSpec:
    """What an axis can do.

    Parameters
    ----------
    egu : str
        Unit of its positions.
    limits : (float, float)
        Lowest and highest position.
    velocity : float
        In units a second.
    settle_s : float
        From arrival until a move counts as done.
    start : float
        Where it is at first.
    """

    egu: str
    limits: tuple[float, float]
    velocity: float
    settle_s: float = 0.0
    start: float = 0.0


class Axis:
    """One axis, of which everything is a function of time: nothing here waits.

    Times are seconds on any one clock, and never go back.

    Parameters
    ----------
    name : str
        As its process variables are named, such as ``"COARSE:X"``.
    spec : AxisSpec
    """

    def __init__(self, name: str, spec: AxisSpec) -> None:
        self.name = name
        self.egu = spec.egu
        self.low, self.high = spec.limits
        self.velocity = spec.velocity
        self.settle_s = spec.settle_s
        self._speed_factor = 1.0
        self._start = self._target = spec.start
        self._began, self._speed = -inf, inf

    @property
    def target(self) -> float:
        """Where it is going, or stands."""
        return self._target

    @property
    def stalls(self) -> bool:
        """Whether it does not move, whatever it is told."""
        return self._speed_factor == 0

    def position(self, now: float) -> float:
        """Return where it is."""
        distance = self._target - self._start
        travelled = self._speed * (now - self._began)
        if distance == 0 or travelled >= abs(distance):
            return self._target
        return self._start + travelled * (1 if distance > 0 else -1)

    @property
    def done_at(self) -> float:
        """When its move is, or was, done: it has settled at its target. Never, if it stalls on its way."""
        distance = abs(self._target - self._start)
        if distance == 0:
            return self._began + self.settle_s
        return inf if self._speed == 0 else self._began + distance / self._speed + self.settle_s

    def check(self, target: float) -> None:
        """Raise `InputError` if it cannot go there."""
        if not (isfinite(target) and self.low <= target <= self.high):
            raise InputError(
                f"{self.name} cannot go to {target:g} {self.egu}: its limits are {self.low:g} to "
                f"{self.high:g} {self.egu}"
            )

    def move(self, target: float, now: float) -> None:
        """Start to move from where it is now; a move under way is given up.

        Raises
        ------
        InputError
            If the target is outside its limits.
        """
        self.check(target)
        self._begin(target, now)

    def stop(self, now: float) -> None:
        """Stand still where it is now."""
        self._begin(self.position(now), now)

    def hinder(self, speed_factor: float, now: float) -> None:
        """Go so many times as fast as it should from now on; 0 is a stall."""
        self._speed_factor = speed_factor
        if now < self.done_at:
            self._begin(self._target, now)

    def _begin(self, target: float, now: float) -> None:
        self._start, self._target = self.position(now), target
        self._began, self._speed = now, self.velocity * self._speed_factor
