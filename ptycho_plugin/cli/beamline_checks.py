"""What ``ptycho doctor --beamline`` looks at: every process variable that a beamline file names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from threading import Condition
from types import ModuleType
from typing import Any

from ptycho_plugin.beamline_file import BeamlineFile, Motor, Piezo, ProcessVariable
from ptycho_plugin.cli.checks import Finding, State
from ptycho_plugin.errors import InputError

NOT_CONNECTED = "not connected"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process variable said.

    Parameters
    ----------
    connected, readable, writable : bool
        Readable is one that has said its value.
    units : str, optional
        Where it says them.
    value : object, optional
        What it said first.
    """

    connected: bool = False
    readable: bool = False
    writable: bool = False
    units: str | None = None
    value: Any = None


def examine_beamline(said: BeamlineFile, timeout_s: float) -> dict[str, Finding]:
    """Ask every process variable of a beamline file at the same time, and return a finding for each entry.

    Parameters
    ----------
    said : BeamlineFile
    timeout_s : float
        For all of them together.

    Raises
    ------
    InputError
        If pyepics is not installed.
    """
    variables = said.process_variables()
    answers = ask((variable.pv for variable in variables), timeout_s)
    entries: dict[str, list[ProcessVariable]] = defaultdict(list)
    for variable in variables:
        entries[variable.entry].append(variable)
    axes = said.axes
    return {
        entry: _finding(named, answers, _limits(axes.get(entry), said.prefix, answers))
        for entry, named in entries.items()
    }


def ask(names: Iterable[str], timeout_s: float) -> dict[str, Answer]:
    """Return what process variables answer until all have, or a time is over.

    Raises
    ------
    InputError
        If pyepics is not installed.
    """
    epics = _pyepics()
    told: dict[str, Mapping[str, Any]] = {}
    news = Condition()

    def hear(pvname: str, **said: Any) -> None:
        with news:
            told.setdefault(pvname, said)
            news.notify()

    pvs = [epics.PV(name, form="ctrl", auto_monitor=True, callback=hear) for name in dict.fromkeys(names)]
    with news:
        news.wait_for(lambda: len(told) == len(pvs), timeout_s)
    try:
        return {pv.pvname: _answer(pv, told.get(pv.pvname)) for pv in pvs}
    finally:
        for pv in pvs:
            pv.disconnect()


def _pyepics() -> ModuleType:
    try:
        import epics
    except ImportError:
        raise InputError(
            "process variables are asked through pyepics, which is not installed: "
            "install ptycho-plugin with its extra 'epics'"
        ) from None
    module: ModuleType = epics
    return module


def _answer(pv: Any, told: Mapping[str, Any] | None) -> Answer:
    if told is None:
        return Answer(connected=bool(pv.connected))
    return Answer(True, True, bool(told["write_access"]), told["units"], told["value"])


def _finding(named: Iterable[ProcessVariable], answers: Mapping[str, Answer], limits: Finding) -> Finding:
    """Return what was found of one entry: of its variables, and of its limits if it is an axis."""
    faults: dict[str, list[str]] = defaultdict(list)
    units = set()
    said: dict[str, Any] = {}
    for variable in named:
        answer = answers[variable.pv]
        fault = _fault(variable, answer)
        if fault is not None:
            faults[fault].append(variable.pv)
        if variable.units is not None:
            units.add(variable.units)
        of_pv = asdict(answer)
        del of_pv["value"]  # may be a waveform
        said[variable.pv] = {**of_pv, "fault": fault}
    sentences = [f"{fault}: {', '.join(pvs)}" for fault, pvs in faults.items()]
    if limits.state is State.BAD:
        sentences.append(limits.sentence)
    facts = {**limits.facts, "process_variables": said}
    if sentences:
        return Finding(State.BAD, "; ".join(sentences), facts)
    number = "1 process variable" if len(said) == 1 else f"{len(said)} process variables"
    good = [number, *(f"in {unit}" for unit in units), *filter(None, [limits.sentence])]
    return Finding(State.GOOD, ", ".join(good), facts)


def _fault(variable: ProcessVariable, answer: Answer) -> str | None:
    """Return what is wrong with a process variable, if anything is."""
    if not answer.connected:
        return NOT_CONNECTED
    if not answer.readable:
        return "cannot be read"
    if variable.writable and not answer.writable:
        return "cannot be written"
    units = answer.units or ""
    if variable.units is not None and units != variable.units:
        return f"in '{units}', should be in {variable.units}"
    return None


def _limits(axis: Motor | Piezo | None, prefix: str, answers: Mapping[str, Answer]) -> Finding:
    """Return whether an axis' limits are set and hold those of the file; nothing where nobody knows them."""
    if axis is None:
        return Finding(State.GOOD, "")
    names = [prefix + name for name in axis.limit_variables]
    if not all(answers[name].readable for name in names):
        return Finding(State.GOOD, "")
    low, high = (float(answers[name].value) for name in names)
    facts = {"limits": [low, high], "own_limits": axis.limits}
    faults = list(_limit_faults(low, high, axis.limits, " and ".join(names)))
    if faults:
        return Finding(State.BAD, "; ".join(faults), facts)
    return Finding(State.GOOD, f"from {low:g} to {high:g}", facts)


def _limit_faults(low: float, high: float, own: tuple[float, float] | None, names: str) -> Iterator[str]:
    if not low < high:
        yield f"no limits are set, they are {low:g} and {high:g}: {names}"
    elif own is not None and not low <= own[0] < own[1] <= high:
        yield f"the file's limits {own[0]:g} to {own[1]:g} leave {low:g} to {high:g}: {names}"
