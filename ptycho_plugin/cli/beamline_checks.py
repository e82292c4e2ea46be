"""What ``ptycho doctor --beamline`` looks at: every process variable that a beamline file names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from threading import Condition
from typing import Any

from ptycho_plugin.beamline_file import BeamlineFile, Motor, Piezo, ProcessVariable, read_beamline_file
from ptycho_plugin.cli.checks import Check, Finding, State
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import is_same_energy


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process variable said.

    Parameters
    ----------
    connected, readable, writable : bool
        Readable is one that has said its value.
    value : object
        What it said first.
    units : str
    """

    connected: bool = False
    readable: bool = False
    writable: bool = False
    value: Any = None
    units: str = ""


def beamline_checks(path: Path, patience_s: float) -> list[tuple[str, Check]]:
    """Return a check of each entry of a beamline file, whose process variables have been asked.

    Where none of them answers there is one check, which says so.

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
    variables, axes = said.process_variables(), said.axes
    answers = ask((one.pv for one in variables), patience_s)
    where = f"within {patience_s:g} s (searched {searched()})"
    if not any(answer.connected for answer in answers.values()):
        return [("process variables", partial(_nobody, sorted(answers), said.prefix, where))]
    entries: list[tuple[str, Check]] = [
        (entry, partial(judge, list(ones), answers, axes.get(entry), said.prefix, f"did not answer {where}"))
        for entry, ones in groupby(variables, key=lambda one: one.entry)
    ]
    return [*entries, *comparisons(said, answers)]


def ask(names: Iterable[str], patience_s: float) -> dict[str, Answer]:
    """Return what process variables answer, all asked at once, until each has or a time is over.

    Raises
    ------
    InputError
        If pyepics is not installed.
    """
    try:
        import epics
    except ImportError:
        raise InputError(
            "a beamline cannot be asked without pyepics: install it by pip install 'ptycho-plugin[epics]'"
        ) from None
    told: dict[str, Mapping[str, Any]] = {}
    news = Condition()

    def hear(pvname: str, **said: Any) -> None:
        with news:
            told.setdefault(pvname, said)
            news.notify()

    pvs = [epics.PV(name, form="ctrl", auto_monitor=True, callback=hear) for name in dict.fromkeys(names)]
    with news:
        news.wait_for(lambda: len(told) == len(pvs), patience_s)
    try:
        return {pv.pvname: _answer(pv, told.get(pv.pvname)) for pv in pvs}
    finally:
        for pv in pvs:  # its channel may be a device's too
            pv.clear_callbacks()


def judge(
    variables: list[ProcessVariable],
    answers: Mapping[str, Answer],
    axis: Motor | Piezo | None,
    prefix: str,
    silence: str,
) -> Finding:
    """Return what was found of one entry.

    Parameters
    ----------
    variables : list of ProcessVariable
    answers : mapping of str to Answer
        Of all process variables.
    axis : Motor or Piezo, optional
        That the entry names.
    prefix : str
        Of the beamline.
    silence : str
        What is said of those that did not answer.
    """
    faults: dict[str, list[str]] = defaultdict(list)
    for one in variables:
        for fault in _faults(one, answers[one.pv], silence):
            faults[fault].append(one.pv)
    bad = {pv for pvs in faults.values() for pv in pvs}
    facts = {"pvs": [one.pv for one in variables], "bad": sorted(bad)}
    if faults:
        said = [f"{fault}: {', '.join(pvs)}" for fault, pvs in faults.items()]
        return Finding(State.BAD, "; ".join(said), facts)
    answer = _that_answer(variables)
    if axis is None:
        return Finding(State.GOOD, answer, facts)
    names = [prefix + name for name in axis.limit_variables]
    low, high = (float(answers[name].value) for name in names)
    if fault_of_limits := _limit_fault(low, high, axis.limits):
        return Finding(State.MISSING, f"{fault_of_limits}: {', '.join(names)}", facts)
    return Finding(State.GOOD, f"{answer}, from {low:g} to {high:g}", facts)


def comparisons(said: BeamlineFile, answers: Mapping[str, Answer]) -> Iterator[tuple[str, Check]]:
    """Yield a check of the file's energy and one of its places, where what they are compared with answers."""
    if said.source.monochromator is not None:
        energy = answers[f"{said.prefix}{said.source.monochromator.pv}.RBV"]
        if energy.readable:
            yield "energy", partial(judge_energy, said.geometry.energy_eV, float(energy.value))
    for number, axis in enumerate((said.coarse.y, said.coarse.x)):
        low, high = (answers[said.prefix + name] for name in axis.limit_variables)
        if not (said.places and low.readable and high.readable):
            continue
        pairs = [pair for pair in ((low.value, high.value), axis.limits) if pair and pair[0] < pair[1]]
        if pairs:
            at_um = {name: place[number] for name, place in said.places.items()}
            lowest, highest = max(low for low, _ in pairs), min(high for _, high in pairs)
            yield f"places, {'yx'[number]}", partial(judge_places, at_um, float(lowest), float(highest))


def judge_energy(known_eV: float, energy_eV: float) -> Finding:
    """Return whether the monochromator is at the file's energy, without which no run begins."""
    if is_same_energy(energy_eV, known_eV):
        return Finding(State.GOOD, f"the monochromator is at the file's {known_eV:.1f} eV")
    return Finding(
        State.BAD,
        f"the monochromator is at {energy_eV:.1f} eV and the file says {known_eV:.1f} eV: bring it back, or "
        "write its energy into the file, if the zone plate stands for that",
    )


def judge_places(at_um: Mapping[str, float], low_um: float, high_um: float) -> Finding:
    """Return whether an axis of the coarse stage can go to the file's places."""
    beyond = [f"{name} at {um:g} um" for name, um in at_um.items() if not low_um <= um <= high_um]
    limits = f"{low_um:g} to {high_um:g} um"
    if beyond:
        return Finding(
            State.BAD,
            f"the coarse stage goes from {limits}, move the place or set its limits: {', '.join(beyond)}",
        )
    return Finding(State.GOOD, f"within {limits}: {', '.join(at_um)}")


def searched() -> str:
    """Return where Channel Access looks for process variables."""
    addresses = os.environ.get("EPICS_CA_ADDR_LIST", "")
    automatic = os.environ.get("EPICS_CA_AUTO_ADDR_LIST", "YES").upper() != "NO"
    places = [*([addresses] if addresses else []), *(["every network of this machine"] if automatic else [])]
    return " and ".join(places) or "nowhere"


def _nobody(names: list[str], prefix: str, where: str) -> Finding:
    return Finding(
        State.BAD,
        f"none of {len(names)} answered {where}: see that the IOC runs, that EPICS_CA_ADDR_LIST and "
        f"EPICS_CA_SERVER_PORT lead to it, and that the file's prefix {prefix!r} is right",
        {"pvs": names, "bad": names},
    )


def _answer(pv: Any, told: Mapping[str, Any] | None) -> Answer:
    if told is None:
        return Answer(connected=bool(pv.connected))
    return Answer(True, True, bool(told["write_access"]), told["value"], told["units"] or "")


def _faults(asked: ProcessVariable, answer: Answer, silence: str) -> Iterator[str]:
    """Yield what is wrong with a process variable."""
    if not answer.connected:
        yield silence
        return
    if not answer.readable:
        yield "cannot be read, see who may"
        return
    if asked.writable and not answer.writable:
        yield "cannot be written, see that it is the command and not its readback, and who may"
    if asked.units is not None and answer.units != asked.units:
        said = f"in {answer.units!r}" if answer.units else "without units"
        yield f"{said} and must be in {asked.units}, set its EGU or name another"


def _limit_fault(low: float, high: float, own: tuple[float, float] | None) -> str | None:
    """Return what is missing of an axis' limits, besides which a beamline file may have its own."""
    if not low < high:
        return f"the limits are {low:g} and {high:g}, so that nothing keeps the axis, set them"
    if own is not None and not low <= own[0] < own[1] <= high:
        return f"the file's limits {own[0]:g} to {own[1]:g} are wider than {low:g} to {high:g}, narrow them"
    return None


def _that_answer(variables: list[ProcessVariable]) -> str:
    """Return how many process variables answer, and in which unit."""
    units = dict.fromkeys(one.units for one in variables if one.units is not None)
    number = len(variables)
    answer = f"{variables[0].pv} answers" if number == 1 else f"{number} process variables answer"
    return ", ".join([answer, *(f"in {unit}" for unit in units)])
