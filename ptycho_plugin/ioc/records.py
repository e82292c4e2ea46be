"""Records of areaDetector that only keep what is written to them, made from ophyd's own classes.

Whatever an ophyd class connects to is there: its components name the process variables, and its
documentation says of many which record they are. The readback follows its setpoint.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any

from caproto import ChannelType
from caproto.server import PVGroup, pvproperty
from ophyd.areadetector.base import EpicsSignalWithRBV
from ophyd.areadetector.paths import EpicsPathSignal

READBACK = "_RBV"
NO_YES = ("No", "Yes")
PATH_LENGTH = 256
_RECORD = re.compile(r"\[\S+ \S+ (\w+)\]")
_CHOICES = re.compile(r"\d+='?([^'=]+?)'?(?=\s+\d+=|$)")
_FLOATS = ("ai", "ao", "calc", "calcout")
_TEXTS = ("stringin", "stringout")
Putter = Callable[[Any, Any, Any], Awaitable[Any]]


async def follow(group: Any, instance: Any, value: Any) -> Any:
    """Let a setpoint's readback say what was written."""
    await group.pvdb[instance.pvname + READBACK].write(value)
    return value  # of a menu, its text: caproto would keep the number that came


def passive_group(
    *devices: Any,
    values: Mapping[str, Any],
    choices: Mapping[str, tuple[str, ...]],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """Return a group of records, for a class of records with a life of their own to inherit from.

    Parameters
    ----------
    *devices : ophyd class
        Each record is an attribute that is named as ophyd's component is; the readback has an ``_rbv``.
    values : mapping of str to value
        At first, where that is not nothing; its type is the record's.
    choices : mapping of str to tuple of str
        Of the records that are menus.
    more : mapping of str to value
        Records that these classes do not know, as others of other packages do.
    """
    attributes: dict[str, Any] = {}
    names: set[str] = set()
    for walked in chain.from_iterable(device.walk_components() for device in devices):
        for name, attribute, put in _records(walked):
            if name in names:  # ophyd has some of them twice
                continue
            names.add(name)
            setpoint, kind = name.removesuffix(READBACK), _kind(walked.item)
            menu = choices.get(setpoint) or _choices(kind, walked.item)
            record = _record(kind, values.get(setpoint), menu)
            attribute = attribute if attribute not in attributes else name.replace(".", "_")
            attributes[attribute] = pvproperty(name=name, put=put, **record)
    for name, value in more.items():
        kind = "stringin" if isinstance(value, str) else "longin"
        record = _record(kind, value, choices.get(name.removesuffix(READBACK), ()))
        put = follow if name + READBACK in more else None
        attributes[name] = pvproperty(name=name, put=put, **record)
    return type(PVGroup)(f"Passive{devices[0].__name__}", (PVGroup,), attributes)


def _records(walked: Any) -> Iterator[tuple[str, str, Putter | None]]:
    """Yield name, attribute and putter of the records, if any, that a component connects to."""
    name, attribute = walked.item.suffix, walked.dotted_name.replace(".", "_")
    if not name:
        return
    has_readback = issubclass(walked.item.cls, EpicsSignalWithRBV | EpicsPathSignal)
    yield name, attribute, follow if has_readback else None
    if has_readback:
        yield name + READBACK, f"{attribute}_rbv", None


def _kind(component: Any) -> str:
    """Return the type of a record; where ophyd's documentation is silent, its component says a little."""
    if known := _RECORD.search(component.doc or ""):
        return known.group(1)
    return "waveform" if component.kwargs.get("string") else "longout"


def _choices(kind: str, component: Any) -> tuple[str, ...]:
    if kind in ("bi", "bo"):
        return NO_YES
    return tuple(_CHOICES.findall(component.doc.strip())) if (component.doc or "").startswith("0=") else ()


def _record(kind: str, value: Any, choices: tuple[str, ...]) -> dict[str, Any]:
    """Return what makes a record of the right type."""
    if choices:
        return {"value": value or choices[0], "enum_strings": choices, "dtype": ChannelType.ENUM}
    if kind == "waveform" and (value is None or isinstance(value, str)):
        return {"value": value or "", "dtype": ChannelType.CHAR, "max_length": PATH_LENGTH}
    if kind in _TEXTS:
        return {"value": value or "", "dtype": ChannelType.STRING}
    return {"value": value if value is not None else 0.0 if kind in _FLOATS else 0}
