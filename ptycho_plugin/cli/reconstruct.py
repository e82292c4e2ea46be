"""``ptycho reconstruct``: a recorded scan in, a result file and one line of JSON out."""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_plugin.errors import DivergenceError, InputError, ReconstructionError
from ptycho_plugin.reconstruction.options import Device, ReconstructionOptions
from ptycho_plugin.view.bars import ReconstructionBar, progress_bars

if TYPE_CHECKING:
    from ptycho_plugin.dataset import PtychoDataset
    from ptycho_plugin.reconstruction.result import Progress, Result

DEFAULTS = ReconstructionOptions()
CHECKPOINT_S = 60.0
"""Seconds between two checkpoints: each takes about as long as a few iterations."""


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
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="TOML",
            help="File of reconstruction options by name, e.g. position_tolerance = 40e-9; those below "
            "go before it.",
        ),
    ] = None,
    difference_map: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Iterations of the difference map, {DEFAULTS.difference_map_iterations} unless given.",
        ),
    ] = None,
    maximum_likelihood: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Iterations of the maximum-likelihood refinement, "
            f"{DEFAULTS.maximum_likelihood_iterations} unless given.",
        ),
    ] = None,
    probe_modes: Annotated[
        int | None,
        typer.Option(min=1, help=f"Mutually incoherent probe modes, {DEFAULTS.probe_modes} unless given."),
    ] = None,
    focus_to_sample_mm: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="The frames are magnified near fields of a sample that stands this far behind the focus.",
        ),
    ] = None,
    device: Annotated[
        Device | None, typer.Option(help="What computes: auto, unless given, takes a GPU that works.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="HDF5",
            help="Keep the state here, at most a minute old, and go on from it if it is there; it is removed "
            "once the output is written.",
        ),
    ] = None,
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
    Where an engine diverges there is no output, but its last good state in map.diverged.h5 beside it.

    Example: ptycho reconstruct scan.h5 -o map.h5

    Example: ptycho reconstruct RUN_UID --tiled https://tiled.example.org -o map.h5
    """
    from ptycho_plugin.io import write_result
    from ptycho_plugin.provenance import provenance
    from ptycho_plugin.reconstruction.whole_scan import reconstruct

    if "://" in source:  # not repeated: it may hold a key
        raise InputError("an address is no scan: give the uid of its run, and the address with --tiled")
    _check_outputs(output, checkpoint)
    options = _options(
        recipe,
        difference_map_iterations=difference_map,
        maximum_likelihood_iterations=maximum_likelihood,
        probe_modes=probe_modes,
        device=device,
    )
    dataset, origin = _from_file(source, output) if tiled is None else _from_tiled(source, tiled)
    if focus_to_sample_mm is not None:
        near = dataset.geometry.in_near_field(focus_to_sample_mm * 1e-3)
        dataset = replace(dataset, geometry=near, probe=None)  # one that was there has far-field pixels
    dataset = _with_start_probe(dataset, zone_plate)
    for remark in dataset.remarks:
        print(f"ptycho: {source}: {remark}", file=sys.stderr)
    made_by = provenance(
        options=options.model_dump(mode="json"),
        frames=(0, len(dataset)),
        command=_without_key(sys.argv, tiled),
        source=origin,
    )
    try:
        with progress_bars() as bars:
            bar = ReconstructionBar(bars)
            if checkpoint is None:
                result = reconstruct(dataset, options, bar)
            else:
                result = _with_checkpoint(checkpoint, dataset, options, origin, bar)
    except DivergenceError as error:
        kept = output.with_name(f"{output.stem}.diverged{output.suffix}")
        write_result(kept, error.last_good, made_by | {"error": str(error)})
        raise ReconstructionError(f"{error}; the last good state is in {kept}") from None
    write_result(output, result, made_by)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    print(json.dumps(_summary(result, output)))


def _check_outputs(output: Path, checkpoint: Path | None) -> None:
    from ptycho_plugin.io.atomic import check_writable

    for file in filter(None, (output, checkpoint)):
        check_writable(file)
    if checkpoint is not None and checkpoint.resolve() == output.resolve():
        raise InputError(f"{checkpoint} is the output as well: name another file for the checkpoint")


def _with_checkpoint(
    file: Path,
    dataset: PtychoDataset,
    options: ReconstructionOptions,
    source: dict[str, str],
    bar: ReconstructionBar,
) -> Result:
    """Reconstruct from where a checkpoint was written, if there is one, and keep it up to date."""
    import numpy as np

    from ptycho_plugin.io.checkpoint import read_checkpoint, write_checkpoint
    from ptycho_plugin.reconstruction.whole_scan import started

    probe = hashlib.sha256(np.ascontiguousarray(dataset.probe).tobytes()).hexdigest()
    source = source | {"geometry": dataset.geometry.model_dump_json(), "start probe": probe}
    reconstruction = read_checkpoint(file, options, source) if file.exists() else started(dataset, options)
    written = perf_counter()

    def keep(progress: Progress) -> None:
        nonlocal written
        bar(progress)
        if perf_counter() - written >= CHECKPOINT_S:
            write_checkpoint(file, reconstruction, source)
            written = perf_counter()

    return reconstruction.finish(keep)


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


def _options(recipe: Path | None, **chosen: Any) -> ReconstructionOptions:
    """Return the recipe's options with those that were chosen on the command line."""
    given = {name: value for name, value in chosen.items() if value is not None}
    options = ReconstructionOptions(**(_of_recipe(recipe) | given))
    if options.iterations == 0:
        raise InputError("no iterations: give --difference-map or --maximum-likelihood more than 0")
    return options


def _of_recipe(recipe: Path | None) -> dict[str, Any]:
    if recipe is None:
        return {}
    try:
        return tomllib.loads(recipe.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{recipe} is no recipe: {error}") from None


def _with_start_probe(
    dataset: PtychoDataset, zone_plate: tuple[float, float, float, float] | None
) -> PtychoDataset:
    from ptycho_plugin.optics import ZonePlate, near_field_probe

    if zone_plate is None:
        if dataset.probe is not None:
            return dataset
        if dataset.geometry.focus_to_sample is not None:
            return dataset.with_probe(near_field_probe(dataset.mean_frame(), dataset.geometry))
        raise InputError(
            f"{dataset.source} holds no start probe ('probe0' of a file, 'ptycho.probe' of a run): "
            "describe the optic with --zone-plate, or give --focus-to-sample-mm for a near field"
        )
    if dataset.geometry.focus_to_sample is not None:
        raise InputError("--zone-plate: a near field starts from its mean frame: leave it out")
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
        "verdict": result.verdict.colour,
        "reasons": result.verdict.reasons,
        "iterations": len(result.errors),
        "seconds": round(result.seconds, 2),
        "device": result.device,
        "frames": len(result.positions),
        "output": str(output),
    }
