"""What the queue server shows of an argument, and checks before it queues a plan.

All of it is said by the argument's annotation (`ptycho_plugin.plans.arguments`), which pydantic tells as a
JSON schema. The queue server knows types by their names, inclusive bounds, choices and a text; the text says
the rest: units, bounds that are not included, and the fields of a mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from ptycho_plugin.errors import InputError

Schema = Mapping[str, Any]
Form = dict[str, Any]
"""As ``bluesky_queueserver.parameter_annotation_decorator`` takes it of a parameter."""

CHOICES = "Choices"
TYPES = {
    "array": "list",
    "boolean": "bool",
    "integer": "int",
    "null": "None",
    "number": "float",
    "object": "dict",
    "string": "str",
}
BOUNDS = {
    "minimum": ("min", ">="),
    "exclusiveMinimum": ("min", ">"),
    "maximum": ("max", "<="),
    "exclusiveMaximum": ("max", "<"),
}
"""The queue server's names of JSON schema's bounds, and signs."""


def form_of(annotation: Any) -> Form | None:
    """Return the form of an argument, or None where no JSON can say it, such as a device.

    Parameters
    ----------
    annotation : type
        Of the argument, with its fields.
    """
    try:
        schema = TypeAdapter(annotation).json_schema()
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError):
        return None
    variants = list(_variants(schema, schema.get("$defs", {})))
    form: Form = {"description": _text(schema, variants), "annotation": _type(variants)}
    for variant in variants:
        if "enum" in variant:
            form["enums"] = {CHOICES: list(variant["enum"])}
        form |= {name: variant[key] for key, (name, _) in BOUNDS.items() if key in variant}
    return form


def as_json(annotation: Any, value: Any) -> Any:
    """Return the value of an argument as JSON says it."""
    return TypeAdapter(annotation).dump_python(value, mode="json")


def _variants(schema: Schema, models: Mapping[str, Schema]) -> Iterator[Schema]:
    """Yield the schemas of which a value follows one, models with the schemas of their fields."""
    if "$ref" in schema:
        yield from _variants(models[schema["$ref"].rpartition("/")[2]], models)
    elif several := schema.get("anyOf") or schema.get("oneOf"):
        for one in several:
            yield from _variants(one, models)
    elif "items" in schema:
        for item in _variants(schema["items"], models):
            yield {**schema, "items": item}
    elif "properties" in schema:
        fields = {name: list(_variants(field, models)) for name, field in schema["properties"].items()}
        yield {**schema, "fields": fields}
    else:
        yield schema


def _type(variants: list[Schema]) -> str:
    """Return what the queue server calls the type."""
    names = list(dict.fromkeys(map(_name, variants)))
    return names[0] if len(names) == 1 else f"typing.Union[{', '.join(names)}]"


def _name(schema: Schema) -> str:
    if "enum" in schema:
        return CHOICES
    if items := schema.get("prefixItems"):
        return f"typing.Tuple[{', '.join(map(_name, items))}]"
    if items := schema.get("items"):
        return f"typing.List[{_name(items)}]"
    return TYPES[schema["type"]]


def _text(schema: Schema, variants: list[Schema]) -> str:
    """Return what an argument is, its units and bounds, and a line for each kind of mapping."""
    what, facts = _summary(schema, variants).removesuffix("."), ", ".join(_of_all(variants))
    kinds = [f"{_kind(model)}: {_fields(model)}" for model in _models(variants)]
    return "\n".join([f"{what} [{facts}]." if facts else f"{what}.", *kinds])


def _summary(schema: Schema, variants: list[Schema]) -> str:
    """Return the first paragraph of the description, which may be that of a part."""
    parts = [schema, *schema.get("anyOf", ()), *variants]
    described: str | None = next((part["description"] for part in parts if "description" in part), None)
    if described is None:
        raise InputError(f"an argument has no description to show: give {schema} one in plans/arguments.py")
    return " ".join(described.partition("\n\n")[0].split())


def _of_all(variants: list[Schema]) -> list[str]:
    return [fact for variant in variants for fact in _facts(variant)]


def _facts(schema: Schema) -> Iterator[str]:
    """Yield units, bounds and choices of a value, or of the first of several."""
    if "units" in schema:
        yield schema["units"]
    yield from (f"{sign} {schema[key]:g}" for key, (_, sign) in BOUNDS.items() if key in schema)
    if "enum" in schema:
        yield " | ".join(schema["enum"])
    for part in (*schema.get("prefixItems", ())[:1], *filter(None, [schema.get("items")])):
        yield from _facts(part)


def _models(variants: list[Schema]) -> Iterator[Schema]:
    """Yield the mappings among them, or those that a sequence has."""
    for variant in variants:
        if "fields" in variant:
            yield variant
        elif "items" in variant:
            yield from _models([variant["items"]])


def _kind(schema: Schema) -> str:
    return schema["properties"].get("kind", {}).get("const", schema["title"])


def _fields(schema: Schema) -> str:
    return ", ".join(
        _field(name, schema["properties"][name], variants)
        for name, variants in schema["fields"].items()
        if "const" not in schema["properties"][name]
    )


def _field(name: str, schema: Schema, variants: list[Schema]) -> str:
    """Return a field with its default, units and bounds, or with its own fields."""
    inner = " or ".join(f"{{{_fields(model)}}}" for model in _models(variants))
    if inner:
        return f"{name}: {inner}"
    default, facts = schema.get("default"), ", ".join(_of_all(variants))
    return name + ("" if default is None else f" = {default}") + (f" [{facts}]" if facts else "")
