"""The reconstruction of one running scan: engine, live maps, final result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import DivergenceError, PtychoError, ReconstructionError
from ptycho_plugin.live.join import RunDocuments
from ptycho_plugin.live.publisher import Publisher
from ptycho_plugin.measurement import planned_centre, planned_positions, window_half_px
from ptycho_plugin.metadata import START_KEY
from ptycho_plugin.optics import ZonePlate, defocus_of
from ptycho_plugin.postprocess.repeats import fitting_window
from ptycho_plugin.publishing.calibrations import CalibrationStore, start_probe
from ptycho_plugin.publishing.results import ResultWriter
from ptycho_plugin.publishing.run_facts import RegionOfRun, facts_of_run
from ptycho_plugin.reconstruction.growing import GrowingReconstruction
from ptycho_plugin.reconstruction.result import Progress, Result

LARGEST_PROBE_R = 0.3
"""A calibration that fits its frames no better than this found no probe."""


class Report(Protocol):
    """Tells the owner of a worker something."""

    def __call__(
        self,
        *,
        progress: Mapping[str, Any] | None = None,
        warning: str | None = None,
        outcome: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell it; an argument that is not given says nothing."""


class Session:
    """Reconstructs a run's exposures as they come.

    Parameters
    ----------
    run : RunDocuments
        Its start document must be there.
    client : tiled client
        Of the tree's root.
    folder : path
        The run's own.
    report : Report
    results : path, optional
        Folder of result files, which the server may read; without it they are in Tiled's own storage.

    Raises
    ------
    PtychoError
        If the run's probe cannot be read, or was measured in another geometry.
    """

    def __init__(
        self, run: RunDocuments, client: Any, folder: Path, report: Report, results: Path | None = None
    ) -> None:
        self._run = run
        self._report = report
        self._client = client
        self._region = RegionOfRun.of(run.start)
        self._store = CalibrationStore(client)
        writer = ResultWriter(client, run.start["uid"], facts_of_run(run.start), results)
        self._publisher = Publisher(writer, folder, report, run.start["time"])
        probe, warnings = start_probe(self._store, run.scan)
        for warning in warnings:
            report(warning=warning)
        positions = planned_positions(run.scan)
        self._engine = GrowingReconstruction(run.scan.geometry, probe, positions, run.scan.options)
        self._iterations = 0
        self._outside = 0

    @property
    def is_due(self) -> bool:
        """Whether there is an iteration to be done before more frames come."""
        return self._engine.is_due

    def add(self, exposures: PtychoDataset) -> None:
        """Take in frames and positions."""
        self._engine.add(exposures.intensities(), exposures.positions)

    def iterate(self) -> None:
        """Do one iteration on the frames so far, and show the map if it is time."""
        with self._keeping_the_last_good():
            error = self._engine.iterate()
        self._iterations += 1
        self._tell_of_those_outside()
        self._tell(Progress("live", self._iterations, 0, self._engine.frames, error))

    def finish(self, counts: Mapping[str, int]) -> None:
        """Finish the recipe and publish; keep the probe of a calibration that succeeded and fits.

        Parameters
        ----------
        counts : mapping
            What did not make it, told with the result.

        Raises
        ------
        PtychoError
            If the engine fails, or Tiled does not take result or probe. What was good before an engine
            diverged is published all the same.
        """
        with self._keeping_the_last_good():
            result = self._engine.finish(self._tell)
        self._tell_of_those_outside()
        counts = {**counts, "outside": self._outside}
        status = (self._run.stop or {}).get("exit_status", "abort")
        md = {"run": {"exit_status": status, **counts}, **self._in_region(result)}
        path = self._publisher.finish(result, md)
        self._report(
            outcome={
                "tiled_path": path,
                "final_map_s": time.time() - self._run.last_event,
                "frames": self._engine.frames,
                "r_factor": result.residual,
                "verdict": str(result.verdict),
                **counts,
            }
        )
        if self._run.scan.purpose == "probe_calibration" and status == "success":
            self._keep_probe(result)
        if self._region is not None:
            self._postprocess(self._region)

    def _in_region(self, result: Result) -> dict[str, Any]:
        """Return what is kept of a repeat, so that it can be compared with the region's others."""
        if self._region is None:
            return {}
        scan = self._run.scan
        half = window_half_px(planned_positions(scan), result.object_pixel)
        offsets_px = (result.positions - planned_centre(scan)) / result.object_pixel
        corner, side = fitting_window(
            result.object.shape, result.positions_px, offsets_px, result.geometry.frame_side, half
        )
        photons = float(np.sum(np.abs(result.probe) ** 2, dtype=np.float64)) * len(result.positions)
        return {
            "window": {"corner": corner, "side": side},
            "photons": photons,
        }

    def _postprocess(self, region: RegionOfRun) -> None:
        """Compare the region's repeats so far; the map is safe already, whatever fails here."""
        # Seconds to import, which a worker that gets ready for a scan need not wait for.
        from ptycho_plugin.publishing.regions import CONTAINER as REGIONS
        from ptycho_plugin.publishing.regions import postprocess_region, region_key
        from ptycho_plugin.publishing.reports import publish_region_report

        began = time.monotonic()
        try:
            told = postprocess_region(self._client, region.sample, region.area, region.region)
            if told is None:
                return
            path = f"{REGIONS}/{region_key(region.sample, region.area, region.region)}/{len(told.phases)}"
            self._report(outcome={"region_path": path, "region_s": time.monotonic() - began})
            publish_region_report(self._client, path)
        except PtychoError as error:
            self._report(warning=f"the repeats of the region could not be post-processed: {error}")

    @contextmanager
    def _keeping_the_last_good(self) -> Iterator[None]:
        try:
            yield
        except DivergenceError as error:
            raise ReconstructionError(f"{error}; {self._publisher.keep(error)}") from error

    def _keep_probe(self, result: Result) -> None:
        if not result.residual <= LARGEST_PROBE_R:  # also where it is not a number
            self._report(
                warning=f"the probe is not kept: R is {result.residual:.2f}, above {LARGEST_PROBE_R}: "
                "look at the result and run probe_calibration again"
            )
            return
        self._report(outcome={"probe_uid": self._store_probe(result)})

    def _store_probe(self, result: Result) -> str:
        start = self._run.start
        said = {key: value for key, value in start.items() if key != START_KEY}  # slit gaps, sample, ...
        return self._store.store_probe(
            result.probe,
            geometry=result.geometry,
            optic=self._measured_optic(result),
            run_uid=start["uid"],
            date=datetime.fromtimestamp(start["time"], UTC),
            md={**said, "r_factor": result.residual},
        )

    def _measured_optic(self, result: Result) -> ZonePlate | None:
        """Return the nominal optic where the probe shows it to be: the scan's own keeps the nominal one."""
        optic = self._run.scan.optic
        if optic is None:
            return None
        return optic.model_copy(update={"defocus": defocus_of(result.probe, result.geometry)})

    def _tell_of_those_outside(self) -> None:
        for row, column in np.array(self._engine.outside[self._outside :]) * 1e6:
            self._report(warning=f"a frame at ({row:.3f}, {column:.3f}) um lies outside the planned scan")
        self._outside = len(self._engine.outside)

    def _tell(self, progress: Progress) -> None:
        self._report(progress=asdict(progress))
        self._publisher.show(self._engine.result)
