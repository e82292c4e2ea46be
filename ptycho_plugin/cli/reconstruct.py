"""``ptycho reconstruct``: a recorded scan in, a result file and one line of JSON out."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptycho_plugin.cli.bars import ReconstructionBar, progress_bars
from ptycho_plugin.errors import InputError
from ptycho_plugin.reconstruction.options import Device, ReconstructionOptions

if TYPE_CHECKING:
    from ptycho_plugin.dataset import PtychoDataset
    from ptycho_plugin.reconstruction.result import Result

DEFAULTS = ReconstructionOptions()


def reconstruct_scan(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RUN_UID",
            help="CXI file, or HDF5 file in the documented layout; with --tiled, the uid of a run.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="HDF5 file to write.")],
    tiled: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Take the run from this Tiled tree. Set TILED_API_KEY to its key; one in the address "
            "(?api_key=...) is taken too, but other users of the machine can see it.",
        ),
    ] = None,
    difference_map: Annotated[
        int, typer.Option(min=0, help="Iterations of the difference map.")
    ] = DEFAULTS.difference_map_iterations,
    maximum_likelihood: Annotated[
        int, typer.Option(min=0, help="Iterations of the maximum-likelihood refinement.")
    ] = DEFAULTS.maximum_likelihood_iterations,
    probe_modes: Annotated[
        int, typer.Option(min=1, help="Mutually incoherent probe modes.")
    ] = DEFAULTS.probe_modes,
    device: Annotated[
        Device, typer.Option(help="What computes: auto takes a GPU that works, else the processor.")
    ] = DEFAULTS.device,
    zone_plate: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            metavar="DIAMETER_UM OUTERMOST_ZONE_NM STOP_UM DEFOCUS_UM",
            help="Start from this zone plate's probe instead of the scan's; defocus is positive downstream.",
        ),
    ] = None,
) -> None:
    """Reconstruct a recorded scan, from a file or from Tiled.

    Options and defaults are the same for both: the recipe that a run was taken with is not looked at.

    Example: ptycho reconstruct scan.h5 -o map.h5

    Example: ptycho reconstruct RUN_UID --tiled https://tiled.example.org -o map.h5
    """
    from ptycho_plugin.io import write_result
    from ptycho_plugin.io.atomic import check_writable
    from ptycho_plugin.provenance import provenance
    from ptycho_plugin.reconstruction.driver import reconstruct

    if "://" in source:  # not repeated: it may hold a key
        raise InputError("an address is no scan: give the uid of its run, and the address with --tiled")
    check_writable(output)
    options = _options(difference_map, maximum_likelihood, probe_modes, device)
    dataset, origin = _from_file(source, output) if tiled is None else _from_tiled(source, tiled)
    dataset = _with_start_probe(dataset, zone_plate)
    for remark in dataset.remarks:
        print(f"ptycho: {source}: {remark}", file=sys.stderr)
    with progress_bars() as bars:
        result = reconstruct(dataset, options, ReconstructionBar(bars))
    made_by = provenance(
        options=options.model_dump(mode="json"),
        frames=(0, len(dataset)),
        command=_without_key(sys.argv, tiled),
        source=origin,
    )
    write_result(output, result, made_by)
    print(json.dumps(_summary(result, output)))


def _from_file(source: str, output: Path) -> tuple[PtychoDataset, dict[str, str]]:
    from ptycho_plugin.io import read_dataset
    from ptycho_plugin.provenance import file_source

    file = Path(source)
    dataset = read_dataset(file)
    if output.exists() and output.samefile(file):
        raise InputError(f"{output} is the input file: name another output")
    return dataset, file_source(file)


def _from_tiled(run_uid: str, uri: str) -> tuple[PtychoDataset, dict[str, str]]:
    from ptycho_plugin.provenance import run_source
    from ptycho_plugin.publishing.connection import connect, split_key
    from ptycho_plugin.publishing.raw import dataset_from_tiled

    client = connect(uri)
    with closing(client.context):
        return dataset_from_tiled(client, run_uid), run_source(run_uid, split_key(uri)[0])


def _without_key(command: list[str], tiled: str | None) -> list[str]:
    """Return the command line with the bare address where the user's may hold a key."""
    from ptycho_plugin.publishing.connection import split_key

    return [argument.replace(tiled, split_key(tiled)[0]) for argument in command] if tiled else command


def _options(
    difference_map: int, maximum_likelihood: int, probe_modes: int, device: Device
) -> ReconstructionOptions:
    if difference_map + maximum_likelihood == 0:
        raise InputError("no iterations: give --difference-map or --maximum-likelihood more than 0")
    return ReconstructionOptions(
        difference_map_iterations=difference_map,
        maximum_likelihood_iterations=maximum_likelihood,
        probe_modes=probe_modes,
        device=device,
    )


def _with_start_probe(
    dataset: PtychoDataset, zone_plate: tuple[float, float, float, float] | None
) -> PtychoDataset:
    from ptycho_plugin.optics import ZonePlate

    if zone_plate is None:
        if dataset.probe is None:
            raise InputError(
                f"{dataset.source} holds no start probe ('probe0' of a file, 'ptycho.probe' of a run): "
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
    except InputError as error:
        raise InputError(
            f"--zone-plate {diameter_um:g} {outermost_zone_nm:g} {stop_um:g} {defocus_um:g}: {error}"
        ) from None
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
