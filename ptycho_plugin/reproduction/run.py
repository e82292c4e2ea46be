"""Every map of a reproduction, made once: several processes, a core and a map for each."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

from ptycho_plugin.errors import ReconstructionError
from ptycho_plugin.reconstruction.whole_scan import reconstruct
from ptycho_plugin.reproduction.options import Conditions, ReproductionOptions
from ptycho_plugin.reproduction.scans import Region, Scan, calibration_scan, scans_of
from ptycho_plugin.reproduction.store import RepeatMap, Store
from ptycho_plugin.simulation.specimens import FILM, Truth

Report = Callable[[int, int, str], None]
"""Told how many maps are there, of how many, and which was the last one."""


@dataclass(frozen=True, slots=True)
class MeasuredRegion:
    """What is known of a region: the maps of its repeats, in their order, and the truth."""

    region: Region
    repeats: tuple[RepeatMap, ...]
    truth: Truth


def reproduce(
    options: ReproductionOptions, folder: Path, report: Report | None = None
) -> tuple[MeasuredRegion, ...]:
    """Return the maps of every region, made where they are not in the folder yet.

    Parameters
    ----------
    options : ReproductionOptions
    folder : Path
        What is in it when this is cut off is found there the next time.
    report : callable, optional

    Raises
    ------
    InputError
        If the folder cannot be written, or a file in it cannot be read.
    ReconstructionError
        If an engine diverges or a process is killed; the maps that are complete stay.
    """
    store = Store(folder, options.conditions)
    scans = list(scans_of(options))
    regions = list(dict.fromkeys(scan.region for scan in scans))
    if not store.probe_file.exists():
        scan = calibration_scan(options.conditions)
        store.write_probe(reconstruct(scan, options.conditions.recipe))
    missing = [scan for scan in scans if not store.map_file(scan).exists()]
    _make(
        folder,
        options.conditions,
        [region for region in regions if not store.truth_file(region).exists()],
        missing,
        lambda made, name: report(len(scans) - len(missing) + made, len(scans), name) if report else None,
    )
    return tuple(
        MeasuredRegion(
            region, tuple(store.map(scan) for scan in scans if scan.region == region), store.truth(region)
        )
        for region in regions
    )


def make_map(folder: Path, conditions: Conditions, scan: Scan) -> str:
    """Take a scan, reconstruct it from the calibration's probe, and keep the map; return its name."""
    store = Store(folder, conditions)
    dataset = scan.take(conditions).with_probe(store.probe())
    store.write_map(scan, reconstruct(dataset, conditions.recipe))
    return scan.name


def make_truth(folder: Path, conditions: Conditions, region: Region) -> None:
    """Keep the truth of a region."""
    world = region.world(conditions, seed=0)
    Store(folder, conditions).write_truth(region, world.truth(FILM))


def _make(
    folder: Path,
    conditions: Conditions,
    regions: Sequence[Region],
    scans: Sequence[Scan],
    report: Callable[[int, str], None],
) -> None:
    """Make truths and maps, one on each core at a time: no core then waits for another."""
    if not (regions or scans):
        return
    context = get_context("spawn")  # a fork would not bring along the threads of this process
    cores = context.Queue()
    usable = sorted(os.sched_getaffinity(0))
    for core in usable:
        cores.put(core)
    with ProcessPoolExecutor(len(usable), context, _begin, (cores,)) as pool:
        truths = [pool.submit(make_truth, folder, conditions, region) for region in regions]
        maps = [pool.submit(make_map, folder, conditions, scan) for scan in scans]
        try:
            for made, future in enumerate(as_completed(maps), start=1):
                report(made, future.result())
            _wait(truths)
        except BrokenProcessPool:
            raise ReconstructionError(
                "a process that made a map was killed, perhaps for want of memory (0.6 GB each): the "
                "maps that are complete stay, run it again for the others"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _wait(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()


def _begin(cores: Queue[int]) -> None:
    """Take one core, and end at once on Ctrl-C: a file is there whole or not at all."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.sched_setaffinity(0, {cores.get()})
