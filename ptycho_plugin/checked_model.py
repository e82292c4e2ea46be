"""What users construct: frozen, finite, and refused in one sentence where it cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import shorten
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ptycho_plugin.errors import InputError

LONGEST_VALUE = 80
"""Characters of a value that a sentence repeats."""


class CheckedModel(BaseModel):
    """Base of the models that users construct: no unknown field, no number that is not finite.

    Raises
    ------
    InputError
        At construction; it names the field, its value and the remedy. pydantic makes a
        `ValidationError` of it where the model is validated as data, alone or inside another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            model = type(self)
            raise InputError(refusal(model.__name__, error, model.model_fields)) from None


def refusal(thing: str, error: ValidationError, names: Iterable[str]) -> str:
    """Return one sentence about the first value that pydantic refused.

    Parameters
    ----------
    thing : str
        The model or function that was given the value.
    error : ValidationError
    names : iterable of str
        Of its fields or parameters, in their order.
    """
    names = tuple(names)
    first = error.errors(include_url=False)[0]
    head, *inner = first["loc"] or ("",)
    where = ".".join(map(str, (names[head] if isinstance(head, int) else head, *inner)))
    value = shorten(repr(first["input"]), LONGEST_VALUE, placeholder=" ...")
    reason = first.get("ctx", {}).get("error", first["msg"])
    match first["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{thing} has no {where}: it takes {', '.join(names)}"
        case "unexpected_positional_argument":
            return f"{thing}: {value} has no name: give arguments by name, e.g. exposure_s=0.2"
        case "missing" | "missing_argument" | "missing_keyword_only_argument" if not inner:
            return f"{thing} lacks {where}: it takes {', '.join(names)}"
        case "value_error" if not where or isinstance(reason, InputError):
            return ": ".join(filter(None, (thing, where, str(reason))))
    return f"{thing}: {f'{where} = ' if where else ''}{value} cannot be used: {reason}"
