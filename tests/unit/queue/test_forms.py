"""What the queue server shows of an argument is what its annotation says, and nothing else."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.devices import Beamline
from ptycho_plugin.plans import DoseGuard
from ptycho_plugin.plans.arguments import BeamlineArgument
from ptycho_plugin.queue.forms import as_json, form_of


class Layer(CheckedModel):
    """A sheet in the beam.

    Not said in a form.
    """

    thickness_um: Annotated[float, Field(ge=1, lt=50, json_schema_extra={"units": "um"})] = 2.0
    material: str


class Path(CheckedModel):
    """What lies in the beam."""

    kind: Literal["path"] = "path"
    first: Layer | None = None
    others: tuple[Layer, ...] = ()


SECONDS = Annotated[float, Field(gt=0, description="How long.", json_schema_extra={"units": "s"})]


@pytest.mark.parametrize(
    ("annotation", "form"),
    [
        (SECONDS, {"annotation": "float", "min": 0, "description": "How long [s, > 0]."}),
        (
            SECONDS | None,
            {"annotation": "typing.Union[float, None]", "min": 0, "description": "How long [s, > 0]."},
        ),
        (
            Annotated[int, Field(ge=1, le=9, description="How many.")],
            {"annotation": "int", "min": 1, "max": 9, "description": "How many [>= 1, <= 9]."},
        ),
        (
            Annotated[Literal["left", "right"], Field(description="Where.")],
            {
                "annotation": "Choices",
                "enums": {"Choices": ["left", "right"]},
                "description": "Where [left | right].",
            },
        ),
        (
            Annotated[tuple[float, float], Field(description="Place.", json_schema_extra={"units": "um"})],
            {"annotation": "typing.Tuple[float, float]", "description": "Place [um]."},
        ),
        (
            Annotated[bool | list[int], Field(description="Which.")],
            {"annotation": "typing.Union[bool, typing.List[int]]", "description": "Which."},
        ),
        (
            Layer | None,
            {
                "annotation": "typing.Union[dict, None]",
                "description": "A sheet in the beam.\nLayer: thickness_um = 2.0 [um, >= 1, < 50], material",
            },
        ),
        (
            Path,
            {
                "annotation": "dict",
                "description": "What lies in the beam.\npath: "
                "first: {thickness_um = 2.0 [um, >= 1, < 50], material}, "
                "others: {thickness_um = 2.0 [um, >= 1, < 50], material}",
            },
        ),
    ],
)
def test_a_form_says_what_the_annotation_says(annotation: Any, form: dict[str, Any]) -> None:
    assert form_of(annotation) == form


@pytest.mark.parametrize("annotation", [BeamlineArgument, Beamline, DoseGuard | None])
def test_what_json_cannot_say_has_no_form(annotation: Any) -> None:
    assert form_of(annotation) is None


def test_defaults_are_said_in_json() -> None:
    assert as_json(Path, Path(first=Layer(material="Au"))) == {
        "kind": "path",
        "first": {"thickness_um": 2.0, "material": "Au"},
        "others": [],
    }
