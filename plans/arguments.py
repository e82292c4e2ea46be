"""What users type: plan arguments with units and bounds, checked at the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from pydantic import ConfigDict, Field, InstanceOf, ValidationError, validate_call

from ptycho_plugin.checked_model import refusal
from ptycho_plugin.devices import Beamline
from ptycho_plugin.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

BeamlineArgument = Annotated[InstanceOf[Beamline], Field(description="Where to measure.")]
Number = Annotated[float, Field(strict=True)]
ExposureSeconds = Annotated[
    Number, Field(gt=0, description="Exposure of one frame.", json_schema_extra={"units": "s"})
]
PositionMicrometres = Annotated[
    tuple[Number, Number],
    Field(description="Stage position (row, column).", json_schema_extra={"units": "um"}),
]
Energy = Annotated[Number, Field(gt=0, description="Photon energy.", json_schema_extra={"units": "eV"})]
TurnDegrees = Annotated[
    Number,
    Field(
        description="Turn of concentric rings from one repeat to the next.",
        json_schema_extra={"units": "deg"},
    ),
]
Transmission = Annotated[Number, Field(gt=0, le=1, description="Part of the beam that passes.")]
FrameCount = Annotated[int, Field(strict=True, ge=1, description="Frames to take.")]
SeveralFrames = Annotated[int, Field(strict=True, ge=2, description="Frames to take and compare.")]
StageName = Annotated[Literal["piezo", "coarse"], Field(description="Stage that moves.")]
ProbeName = Annotated[
    str, Field(description='Probe to start from: "zone_plate", "latest", or the uid of a stored one.')
]
BackgroundRun = Annotated[str, Field(description="Uid of a run of background_frames.")]
AGAIN = Field(
    description="Expose points again that earlier runs of the repeat may have exposed, or did without "
    "saving a frame."
)
Metadata = Annotated[Mapping[str, Any], Field(description="More entries for the start document.")]


def checked(plan: Callable[P, R]) -> Callable[P, R]:
    """Decorate a plan so that a bad argument is refused when the plan is called, not when it runs.

    Or the ``__init__`` of what a plan is given.

    Raises
    ------
    InputError
        From the plan's call; it names the argument, its value and the remedy.
    """
    validated = validate_call(config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))(plan)

    @wraps(plan)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return validated(*args, **kwargs)
        except ValidationError as error:
            name = plan.__qualname__.removesuffix(".__init__")
            raise InputError(refusal(name, error, signature(plan).parameters)) from None

    return call
