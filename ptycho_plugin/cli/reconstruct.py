"""``ptycho reconstruct``: a recorded scan in, a result file and one line of JSON out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptycho_plugin.cli.bars import ReconstructionBar, progress_bars
from ptycho_plugin.errors import InputError
from ptycho_plugin.reconstruction.options import ReconstructionOptions

if TYPE_CHECKING:
    from ptycho_plugin.dataset import PtychoDataset
    from ptycho_plugin.reconstruction import Result

DEFAULTS = ReconstructionOptions()


def reconstruct_file(
    file: Annotated[Path, typer.Argument(help="CXI file, or HDF5 file in the documented layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HDF5 file to write.")],
    difference_map: Annotated[
        int, typer.Option(min=0, help="Iterations of the difference map.")
    ] = DEFAULTS.difference_map_iterations,
    maximum_likelihood: Annotated[
        int, typer.Option(min=0, help="Iterations of the maximum-likelihood refinement.")
    ] = DEFAULTS.maximum_likelihood_iterations,
    probe_modes: Annotated[
        int, typer.Option(min=1, help="Mutually incoherent probe modes.")
    ] = DEFAULTS.probe_modes,
    zone_plate: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            metavar="DIAMETER_UM OUTERMOST_ZONE_NM STOP_UM DEFOCUS_UM",
            help="Start from this zone plate's probe instead of the file's; defocus is positive downstream.",
        ),
    ] = None,
) -> None:
    """Reconstruct a recorded scan.

    Example: ptycho reconstruct scan.h5 -o map.h5
    """
    from ptycho_plugin.io import read_dataset, write_result
    from ptycho_plugin.io.atomic import check_writable
    from ptycho_plugin.provenance import provenance
    from ptycho_plugin.reconstruction import reconstruct

    check_writable(output)
    options = _options(difference_map, maximum_likelihood, probe_modes)
    dataset = read_dataset(file)
    if output.exists() and output.samefile(file):
        raise InputError(f"{output} is the input file: name another output")
    for remark in dataset.remarks:
        print(f"ptycho: {file}: {remark}", file=sys.stderr)
    dataset = _with_start_probe(dataset, zone_plate)
    with progress_bars() as bars:
        result = reconstruct(dataset, options, ReconstructionBar(bars))
    made_by = provenance(
        options=options.model_dump(mode="json"), frames=(0, len(dataset)), command=sys.argv, source=file
    )
    write_result(output, result, made_by)
    print(json.dumps(_summary(result, output)))


def _options(difference_map: int, maximum_likelihood: int, probe_modes: int) -> ReconstructionOptions:
    if difference_map + maximum_likelihood == 0:
        raise InputError("no iterations: give --difference-map or --maximum-likelihood more than 0")
    return ReconstructionOptions(
        difference_map_iterations=difference_map,
        maximum_likelihood_iterations=maximum_likelihood,
        probe_modes=probe_modes,
    )


def _with_start_probe(
    dataset: PtychoDataset, zone_plate: tuple[float, float, float, float] | None
) -> PtychoDataset:
    from pydantic import ValidationError

    from ptycho_plugin.optics import ZonePlate

    if zone_plate is None:
        if dataset.probe is None:
            raise InputError(
                f"{dataset.source} holds no start probe (dataset 'probe0'): "
                "describe the optic with --zone-plate"
            )
        return dataset
    diameter_um, outermost_zone_nm, stop_um, defocus_um = zone_plate
    try:
        optic = ZonePlate(
            diameter=diameter_um * 1e-6,
            outermost_zone=outermost_zone_nm * 1e-9,
            central_stop=stop_um * 1e-6,
            defocus=defocus_um * 1e-6,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{name}: " for name in first["loc"])
        raise InputError(
            f"--zone-plate {diameter_um:g} {outermost_zone_nm:g} {stop_um:g} {defocus_um:g} cannot be used: "
            f"{where}{first['msg']}"
        ) from error
    return dataset.with_probe(optic.probe(dataset.geometry))


def _summary(result: Result, output: Path) -> dict[str, object]:
    return {
        "R": round(result.residual, 6),
        "iterations": len(result.errors),
        "seconds": round(result.seconds, 2),
        "device": result.device,
        "frames": len(result.positions),
        "output": str(output),
    }
