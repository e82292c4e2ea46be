"""A beamline file read, or every wrong line of it named."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import Any

from pydantic import ValidationError

from ptycho_plugin.beamline_file.schema import BeamlineFile
from ptycho_plugin.checked_model import LONGEST_VALUE
from ptycho_plugin.errors import InputError

Path_ = tuple[str | int, ...]
HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
TABLE = 'give a table, for an axis such as { kind = "motor", pv = "COARSE:Y" }'
KEY = re.compile(r"\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")


def read_beamline_file(path: str | Path) -> BeamlineFile:
    """Return what a beamline file says.

    Parameters
    ----------
    path : str or Path
        A TOML file, UTF-8.

    Raises
    ------
    InputError
        If it cannot be read, or lines of it cannot be used: it names each with its number, its value and the
        remedy.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"the beamline file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"the beamline file {path} is no text in UTF-8: save it as such") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the beamline file {path} is no TOML: {error}") from None
    try:
        return BeamlineFile.model_validate(data)
    except ValidationError as error:
        lines = _lines(text)
        wrong = sorted(_wrong(one, data, lines) for one in _errors(error))
        said = [f"line {line}: {sentence}" if line else sentence for line, sentence in wrong]
        raise InputError("\n  ".join([f"the beamline file {path} cannot be used:", *said])) from None


def _errors(error: ValidationError, at: Path_ = ()) -> Iterator[Mapping[str, Any]]:
    """Yield every error, also those that a table's own model has made one sentence of."""
    for one in error.errors(include_url=False):
        where = (*at, *one["loc"])
        inner = getattr(one.get("ctx", {}).get("error"), "__context__", None)
        if isinstance(inner, ValidationError):
            yield from _errors(inner, where)
        else:
            yield {**one, "loc": where}


def _wrong(error: Mapping[str, Any], data: Mapping[str, Any], lines: Mapping[Path_, int]) -> tuple[int, str]:
    """Return the line of an error, 0 where there is none, and a sentence about it."""
    where = _without_tags(error, data)
    name = ".".join(map(str, where))
    if error["type"] == "missing" and isinstance(error["loc"][-1], str):
        return _line(where[:-1], lines), f"{name} is missing: add it"
    if error["type"] == "extra_forbidden":
        close = get_close_matches(str(where[-1]), list(_known(BeamlineFile.model_json_schema())), n=1)
        remedy = f"did you mean '{close[0]}'?" if close else "remove it"
        return _line(where, lines), f"{name} is not known: {remedy}"
    reason = error.get("ctx", {}).get("error", error["msg"])
    value = shorten(repr(error["input"]), LONGEST_VALUE, placeholder=" ...")
    if error["type"] == "union_tag_not_found":
        return _line(where, lines), f"{name}.kind is missing: say 'motor' or 'piezo'"
    if error["type"] == "union_tag_invalid":
        kind = error["input"]["kind"]
        return _line((*where, "kind"), lines), f"{name}.kind = {kind!r} is not known: say 'motor' or 'piezo'"
    if error["type"] in ("model_type", "model_attributes_type"):
        return _line(where, lines), f"{name} = {value} cannot be used: {TABLE}"
    return _line(where, lines), f"{name} = {value} cannot be used: {reason}"


def _without_tags(error: Mapping[str, Any], data: Any) -> Path_:
    """Return where an error is in the file: pydantic also names which of several models it tried."""
    location, kept = error["loc"], list[str | int]()
    for number, part in enumerate(location):
        inside = isinstance(data, Mapping) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            kept.append(part)
            data = data[part]
        elif error["type"] == "missing" and number == len(location) - 1 and not isinstance(data, list):
            kept.append(part)
    return tuple(kept)


def _line(where: Path_, lines: Mapping[Path_, int]) -> int:
    """Return the line of an entry, or of the nearest one around it."""
    for length in range(len(where), 0, -1):
        if where[:length] in lines:
            return lines[where[:length]]
    return 0


def _lines(text: str) -> dict[Path_, int]:
    """Return the line on which each table and key of a TOML text begins."""
    lines: dict[Path_, int] = {}
    table: Path_ = ()
    arrays: Counter[Path_] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = tuple(_parts(header[2]))
            if header[1] == "[[":
                arrays[table] += 1
                table = (*table, arrays[table] - 1)
            lines.setdefault(table, number)
        elif key := KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _known(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all entries that a file may have."""
    for model in (schema, *schema.get("$defs", {}).values()):
        yield from model.get("properties", {})
