"""The plans that can be queued: those of the house, with names and numbers in place of objects."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_type_hints

from bluesky.utils import MsgGenerator
from pydantic import Field

from ptycho_plugin import plans
from ptycho_plugin.ledger.records import Name
from ptycho_plugin.plans import DoseGuard, Sample
from ptycho_plugin.plans.arguments import ProbeName, checked
from ptycho_plugin.plans.series import SampleArgument
from ptycho_plugin.plans.stubs import go_to_region
from ptycho_plugin.postprocess.stopping import StopCriteria
from ptycho_plugin.queue.forms import Form, as_json, form_of
from ptycho_plugin.queue.session import Session

AreaName = Annotated[Name, Field(description="Area of the sample, as the ledger names it.")]
RegionName = Annotated[Name, Field(description="Region of the area, as the ledger names it.")]
RepeatNumber = Annotated[int, Field(strict=True, ge=1, description="Which scan of the region it is.")]

Plan = Callable[..., MsgGenerator[Any]]


def queued_plans(session: Session) -> dict[str, Plan]:
    """Return the plans that can be queued, by their names.

    Whatever exposes a sample is guarded: it takes the names that its guard is made from, and no less.
    """
    beamline, ledger = session.beamline, session.ledger

    def at_beamline(house_plan: Plan) -> Plan:
        return queued(house_plan)(lambda **said: house_plan(beamline, **said))

    def of_region(house_plan: Plan) -> Plan:
        """Return a scan of a region that is gone to first, and guarded."""

        @queued(house_plan)
        def scan(
            *,
            sample: SampleArgument,
            area: AreaName,
            region: RegionName,
            repeat: RepeatNumber = 1,
            probe: ProbeName | None = None,
            **said: Any,
        ) -> MsgGenerator[str]:
            place = ledger.samples.region(_name(sample), area, region)
            guard = DoseGuard(beamline, ledger, place, probe=probe, repeat=repeat)
            exposures = house_plan(beamline, sample=_known(sample), guard=guard, probe=probe, **said)
            return _after(go_to_region(beamline, ledger.samples.stage_position(place)), exposures)

        return scan

    @queued(plans.dose_series)
    def dose_series(*, stop_rule: StopCriteria | None = None, **said: Any) -> MsgGenerator[str]:
        rule = None if stop_rule is None else session.stop_rule(stop_rule)
        return plans.dose_series(beamline, ledger, stop_rule=rule, **said)

    @queued(plans.stxm_map)
    def stxm_map(*, sample: SampleArgument, **said: Any) -> MsgGenerator[Any]:
        guard = DoseGuard(beamline, ledger, _name(sample), kind="alignment")
        return plans.stxm_map(beamline, sample=_known(sample), guard=guard, **said)

    of_beamline: tuple[Plan, ...] = (
        plans.find_beam_centre,
        plans.background_frames,
        plans.calibrate_flux,
        plans.probe_calibration,
        plans.change_energy,
    )
    scans = (plans.ptycho_scan, plans.ptycho_fly_scan)
    offered = (*map(at_beamline, of_beamline), *map(of_region, scans), stxm_map, dose_series)
    return {each.__name__: each for each in offered}


def queued(house_plan: Plan) -> Callable[[Plan], Plan]:
    """Decorate a plan of the house as the queue server takes it: arguments are JSON, and say what they are.

    The decorated function has arguments of its own, and takes those of the house's plan that JSON can say
    besides. What JSON cannot say, such as a device or a guard, it makes.

    Parameters
    ----------
    house_plan : callable
        Whose name, documentation and arguments are offered.
    """
    from bluesky_queueserver import parameter_annotation_decorator

    def decorate(function: Plan) -> Plan:
        forms: dict[str, Form] = {}
        parameters: dict[str, Parameter] = {}
        for name, parameter, annotation in [*_keywords(function), *_keywords(house_plan)]:
            form = None if name in forms else form_of(annotation)
            if form is not None:
                forms[name] = form
                parameters[name] = _in_json(parameter, annotation)

        def offer(**said: Any) -> MsgGenerator[Any]:
            return function(**said)

        offer.__name__ = offer.__qualname__ = house_plan.__name__
        offer.__doc__ = house_plan.__doc__
        offer.__annotations__ = {name: each.annotation for name, each in parameters.items()}
        in_order = sorted(parameters.values(), key=_is_optional)
        vars(offer).update(__signature__=Signature(in_order), _is_plan_=True)  # as bluesky.utils.is_plan asks
        offered: Plan = parameter_annotation_decorator({"parameters": forms})(checked(offer))
        return offered

    return decorate


def _keywords(function: Plan) -> list[tuple[str, Parameter, Any]]:
    """Return names, parameters and annotations of a function's arguments, but for ``**others``."""
    hints = get_type_hints(function, include_extras=True)
    return [
        (name, parameter, hints[name])
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is not Parameter.VAR_KEYWORD
    ]


def _in_json(parameter: Parameter, annotation: Any) -> Parameter:
    """Return a parameter that is given by its name, and whose default JSON can say."""
    default = as_json(annotation, parameter.default) if _is_optional(parameter) else Parameter.empty
    return Parameter(parameter.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _is_optional(parameter: Parameter) -> bool:
    return parameter.default is not Parameter.empty


def _after(first: MsgGenerator[None], then: MsgGenerator[str]) -> MsgGenerator[str]:
    yield from first
    return (yield from then)


def _name(sample: Sample | str) -> str:
    return sample.name if isinstance(sample, Sample) else sample


def _known(sample: Sample | str) -> Sample | None:
    """Return what is known of a sample besides its name."""
    return sample if isinstance(sample, Sample) else None
