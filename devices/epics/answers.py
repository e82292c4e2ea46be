"""Devices that answer in time, or are named with their process variable."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from ophyd import Device
from ophyd.signal import EpicsSignalBase
from ophyd.status import Status, StatusBase, SubscriptionStatus

from ptycho_plugin.devices.statuses import following
from ptycho_plugin.errors import DeviceError

CONNECT_S = 10.0
"""For all process variables of a beamline to answer for the first time."""
ANSWER_S = 5.0
"""For a device to do what takes no time of its own."""


def connect(*devices: Device | EpicsSignalBase, timeout_s: float = CONNECT_S) -> None:
    """Wait until devices are connected, but for what they look up only when it is asked for.

    Raises
    ------
    DeviceError
        If process variables do not answer; it names each.
    """
    for device in devices:
        try:
            device.wait_for_connection(timeout=timeout_s)
        except TimeoutError:
            raise DeviceError(
                f"{device.name} is not connected: {', '.join(missing(device))} did not answer within "
                f"{timeout_s:g} s; see that the IOC runs, that EPICS_CA_ADDR_LIST leads to it, and that the "
                "beamline file has the names right"
            ) from None


def missing(device: Device | EpicsSignalBase) -> list[str]:
    """Return the process variables that are not connected, of a device that is not."""
    if isinstance(device, EpicsSignalBase):
        return [device.pvname]
    signals = (walk.item for walk in device.walk_signals(include_lazy=False))
    return [
        signal.pvname for signal in signals if isinstance(signal, EpicsSignalBase) and not signal.connected
    ]


def told(signal: Any, value: Any, timeout_s: float | None, remedy: str) -> Status:
    """Set a signal with put completion, and return when it has answered, however late if there is no timeout.

    The status fails, as `DeviceError`, with the process variable's name and the remedy.

    Raises
    ------
    DeviceError
        If it is not connected.
    """
    answer = _sent(signal, value, remedy, lambda: signal.set(value, timeout=timeout_s))
    within = "" if timeout_s is None else f" within {timeout_s:g} s"
    said = f"{signal.setpoint_pvname} = {value!r} was not completed{within}: {remedy}"
    return named(answer, lambda _: said)


def send(signal: Any, value: Any, remedy: str) -> None:
    """Set a signal, and wait for no answer.

    Raises
    ------
    DeviceError
        If it is not connected.
    """
    _sent(signal, value, remedy, lambda: signal.put(value, use_complete=False))


def commanded(signal: Any, value: int, timeout_s: float, remedy: str) -> Status:
    """Set what has a record of type busy, and return when its readback has the value.

    Such a record completes a put of 1 when all that it began is over. A put of 0 with completion would wait
    for that as well, so that it could not end it.

    Raises
    ------
    DeviceError
        If it is not connected.
    """
    send(signal, value, remedy)
    return becomes(signal, value, timeout_s, f"say {value}", remedy)


def becomes(signal: Any, wanted: int, timeout_s: float, what: str, remedy: str) -> Status:
    """Return when a signal has a value.

    The status fails, as `DeviceError`, with the process variable's name, what it does not, and the remedy.
    """
    seen = SubscriptionStatus(
        signal, lambda *_, value, **__: int(value) == wanted, run=True, timeout=timeout_s
    )
    return named(seen, lambda _: f"{signal.pvname} does not {what} after {timeout_s:g} s: {remedy}")


def read(signal: Any) -> Any:
    """Return what a signal says.

    Raises
    ------
    DeviceError
        If it does not answer.
    """
    try:
        return signal.get()
    except (TimeoutError, OSError, RuntimeError) as error:
        raise DeviceError(f"{signal.pvname} does not answer: {error}") from error


def named(status: StatusBase, sentence: Callable[[Exception], str]) -> Status:
    """Return a status that fails with a sentence of ours where another one fails."""

    def judge(error: Exception | None) -> None:
        if error is not None:
            raise DeviceError(sentence(error)) from error

    return following(status, status, judge)


def all_of(*statuses: StatusBase) -> Status:
    """Return when all are done; it fails as the first that failed.

    ophyd's own ``&`` does not say why it failed.
    """
    own = Status(statuses)
    pending = set(map(id, statuses))
    lock = Lock()

    def finish(ended: StatusBase) -> None:
        error = ended.exception(timeout=0)
        with lock:
            pending.discard(id(ended))
            if own.done or (error is None and pending):
                return
            if error is None:
                own.set_finished()
            else:
                pending.clear()
                own.set_exception(error)

    for status in statuses:
        status.add_callback(finish)
    return own


def _sent(signal: Any, value: Any, remedy: str, send: Callable[[], Any]) -> Any:
    """Return what sending a value answers."""
    if not signal.connected:
        raise DeviceError(f"{signal.setpoint_pvname} is not connected, and was to be {value!r}: {remedy}")
    try:
        return send()
    except (TimeoutError, OSError, RuntimeError) as error:
        raise DeviceError(f"{signal.setpoint_pvname} takes no value: {error}; {remedy}") from error
