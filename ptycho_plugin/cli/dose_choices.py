"""What the commands of ``ptycho dose`` have in common: regions, materials, and the illumination's source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptycho_plugin.errors import InputError
from ptycho_plugin.orientation import PositionSign

if TYPE_CHECKING:
    from ptycho_plugin.ledger import Exposures, Ledger, Region
    from ptycho_plugin.materials import Material
    from ptycho_plugin.region_dose import Illumination

LedgerArgument = Annotated[Path, typer.Argument(metavar="LEDGER", help="The ledger's file.")]
TiledOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Take the illumination from this Tiled tree: the probe that a region's latest scan names. Set "
        "TILED_API_KEY to its key.",
    ),
]
ProbeOption = Annotated[
    Path | None,
    typer.Option(metavar="HDF5", help="Take the illumination from a file that ptycho reconstruct wrote."),
]
SignOption = Annotated[
    PositionSign,
    typer.Option(help="Whether the stage carries the probe or the sample; with --tiled, the run says it."),
]
ElectronRangeOption = Annotated[
    float | None, typer.Option(min=0.0, help="Of the photoelectrons, which blur the dose: 0.5 unless given.")
]


IlluminationOf = Callable[["Exposures"], "Illumination"]
"""Returns the illumination of some exposures."""


@contextmanager
def open_illumination(
    tiled: str | None, probe: Path | None, position_sign: PositionSign
) -> Iterator[IlluminationOf]:
    """Give the source that the options name; without one, all photons of an exposure fall on a point.

    Raises
    ------
    InputError
        If they name two.
    """
    from ptycho_plugin.region_dose import Illumination

    if tiled is not None and probe is not None:
        raise InputError("--tiled and --probe both say what the illumination is: give one of them")
    if tiled is not None:
        with _in_tiled(tiled, position_sign) as illumination_of:
            yield illumination_of
    elif probe is not None:
        from ptycho_plugin.io.result_file import read_probe

        measured, pixel = read_probe(probe)
        source = f"the probe of {probe}"
        light = Illumination(probe=measured, pixel=pixel, position_sign=position_sign, source=source)
        yield lambda _: light
    else:
        point = Illumination.point(position_sign)
        yield lambda _: point


@contextmanager
def _in_tiled(address: str, position_sign: PositionSign) -> Iterator[IlluminationOf]:
    from contextlib import closing

    from ptycho_plugin.publishing.connection import connect
    from ptycho_plugin.publishing.raw import illumination_from_tiled
    from ptycho_plugin.region_dose import Illumination

    client = connect(address)

    def of_latest_scan(exposures: Exposures) -> Illumination:
        scans = exposures.run_uid[exposures.kind == "scan"]
        if not len(scans):
            return Illumination.point(position_sign)
        return illumination_from_tiled(client, str(scans[-1]))

    with closing(client.context):
        yield of_latest_scan


def chosen_regions(ledger: Ledger, sample: str, area: str | None, region: str | None) -> tuple[Region, ...]:
    """Return the regions of a sample that the arguments name.

    Raises
    ------
    InputError
        If there are none.
    """
    if area is not None and region is not None:
        return (ledger.samples.region(sample, area, region),)
    regions = ledger.samples.regions(sample)
    chosen = tuple(place for place in regions if area in (None, place.area))
    if not chosen:
        areas = ", ".join(sorted({place.area for place in regions})) or "none"
        where = f" in an area '{area}', it has some in: {areas}" if area else ": place one first"
        raise InputError(f"'{sample}' has no regions{where}")
    return chosen


def material_of(said: str) -> Material:
    """Return the material that an option says as ``NAME:FORMULA:G_CM3``.

    Raises
    ------
    InputError
        If it does not, a name is empty, or its density is not positive.
    """
    from ptycho_plugin.materials import G_PER_CM3, Material

    name, _, rest = said.partition(":")
    formula, _, density = rest.rpartition(":")
    reason: Exception | str = "give name, formula and g/cm3"
    try:
        if name and formula:
            return Material(name, formula, float(density) / G_PER_CM3)
    except InputError as error:
        reason = error
    except ValueError:
        pass
    raise InputError(f"--material {said}: {reason}, as in PMMA:C5H8O2:1.188")


def electron_range_of(electron_range_um: float | None) -> float:
    """Return the electrons' range in metres."""
    from ptycho_plugin.dose import ELECTRON_RANGE
    from ptycho_plugin.geometry import M_PER_UM

    return ELECTRON_RANGE if electron_range_um is None else electron_range_um * M_PER_UM
