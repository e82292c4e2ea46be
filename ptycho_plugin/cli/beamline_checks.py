"""What ``ptycho doctor --beamline`` looks at: every process variable that a beamline file names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from ptycho_plugin.beamline_file import BeamlineFile, ProcessVariable, read_beamline_file
from ptycho_plugin.cli.checks import Check, Finding, State
from ptycho_plugin.errors import InputError

POLL_S = 0.02
LOW, HIGH = "LLM", "HLM"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process variable said.

    Parameters
    ----------
    connected, readable, writable : bool
    value : object
    units : str
    """

    connected: bool = False
    readable: bool = False
    writable: bool = False
    value: Any = None
    units: str = ""


def beamline_checks(path: Path, patience_s: float) -> list[tuple[str, Check]]:
    """Return a check of each entry of a beamline file, whose process variables have been asked.

    Parameters
    ----------
    path : Path
    patience_s : float
        In which all of them must answer, in seconds.

    Raises
    ------
    InputError
        If the file cannot be used, or pyepics is not installed.
    """
    said = read_beamline_file(path)
    variables = said.process_variables()
    answers = ask([one.pv for one in variables], patience_s)
    own_limits = limits_of(said)
    return [
        (entry, partial(judge, list(ones), answers, own_limits.get(entry), patience_s))
        for entry, ones in groupby(variables, key=lambda one: one.entry)
    ]


def ask(names: Iterable[str], patience_s: float) -> dict[str, Answer]:
    """Return what each process variable says, after one time for all of them to answer."""
    try:
        import epics
    except ImportError:
        raise InputError(
            "a beamline cannot be asked without pyepics: install it by pip install 'ptycho-plugin[epics]'"
        ) from None
    channels = {name: epics.PV(name, auto_monitor=False) for name in names}
    deadline = monotonic() + patience_s
    while monotonic() < deadline and not all(channel.connected for channel in channels.values()):
        sleep(POLL_S)
    return {name: _answer(channel, patience_s) for name, channel in channels.items()}


def judge(
    variables: list[ProcessVariable],
    answers: Mapping[str, Answer],
    own_limits: tuple[float, float] | None = None,
    patience_s: float = 0.0,
) -> Finding:
    """Return what is wrong with the process variables of one entry, if anything is."""
    wrong = [said for one in variables for said in _wrong(one, answers[one.pv], patience_s)]
    facts = {"pvs": [one.pv for one in variables]}
    if wrong:
        return Finding(State.BAD, "; ".join(wrong), facts)
    unset = list(_limits(variables, answers, own_limits))
    if unset:
        return Finding(State.MISSING, "; ".join(unset), facts)
    number = len(variables)
    answer = f"{variables[0].pv} answers" if number == 1 else f"all {number} process variables answer"
    return Finding(State.GOOD, answer, facts)


def limits_of(said: BeamlineFile) -> dict[str, tuple[float, float]]:
    """Return the limits that a beamline file sets itself, by the axes' entries."""
    axes = {
        f"{name}.{letter}": getattr(getattr(said, name), letter)
        for name in ("stage", "coarse")
        for letter in "yx"
    }
    axes |= {f"optics.{name}": motor for name, motor in said.optics.motors.items()}
    axes |= {"source.monochromator": said.source.monochromator}
    return {
        entry: axis.limits for entry, axis in axes.items() if axis is not None and axis.limits is not None
    }


def searched() -> str:
    """Return where Channel Access looks for process variables."""
    addresses = os.environ.get("EPICS_CA_ADDR_LIST", "")
    automatic = os.environ.get("EPICS_CA_AUTO_ADDR_LIST", "YES").upper() != "NO"
    places = [*([addresses] if addresses else []), *(["every network of this machine"] if automatic else [])]
    return " and ".join(places) or "nowhere"


def _answer(channel: Any, patience_s: float) -> Answer:
    if not channel.connected:
        return Answer()
    value = channel.get(timeout=patience_s)
    details = channel.get_ctrlvars(timeout=patience_s) or {}
    return Answer(
        connected=True,
        readable=value is not None,
        writable=bool(channel.write_access),
        value=value,
        units=str(details.get("units", "")),
    )


def _wrong(asked: ProcessVariable, answer: Answer, patience_s: float) -> Iterator[str]:
    if not answer.connected:
        yield (
            f"{asked.pv} did not answer within {patience_s:g} s: see its name, that its IOC runs, and that "
            f"EPICS_CA_ADDR_LIST leads to it (searched: {searched()})"
        )
        return
    if not answer.readable:
        yield f"{asked.pv} cannot be read: see who may"
    if asked.writable and not answer.writable:
        yield f"{asked.pv} cannot be written: see that it is the command and not its readback, and who may"
    if asked.units is not None and answer.units != asked.units:
        said = f"in {answer.units!r}" if answer.units else "without units"
        yield f"{asked.pv} is {said} and must be in {asked.units}: set its EGU, or name another"


def _limits(
    variables: list[ProcessVariable], answers: Mapping[str, Answer], own: tuple[float, float] | None
) -> Iterator[str]:
    """Yield what is missing of the limits of an axis, if these are the process variables of one."""
    fields = {one.pv.rpartition(".")[2]: one.pv for one in variables}
    if LOW not in fields:
        return
    low, high = (float(answers[fields[end]].value) for end in (LOW, HIGH))
    if low == high:
        yield f"{fields[LOW]} and {fields[HIGH]} are both {low:g}, so that nothing keeps the motor: set them"
    elif own is not None and not (low <= own[0] and own[1] <= high):
        yield f"the file's limits {list(own)} are wider than the motor's, {low:g} to {high:g}: narrow them"
