import json
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_plugin.errors import InputError, ReconstructionError
from ptycho_plugin.reproduction import run
from ptycho_plugin.reproduction.figures import figures, judged
from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.reproduction.run import make_truth, reproduce
from ptycho_plugin.reproduction.scans import Region, Scan, scans_of
from ptycho_plugin.reproduction.store import Store


@pytest.fixture(scope="module", autouse=True)
def threads():
    """Threads do what processes do, and take no seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "ProcessPoolExecutor", lambda workers, *_: ThreadPoolExecutor(workers))
        yield


@pytest.fixture(scope="module")
def made(options, tmp_path_factory, threads):
    """A reproduction, its folder, and what it reported."""
    folder, reports = tmp_path_factory.mktemp("reproduction"), []
    maps = reproduce(options, folder, lambda *report: reports.append(report))
    return maps, folder, reports


def test_a_region_has_its_repeats_and_its_truth(made, options):
    (maps,), _, reports = made
    assert maps.region == Region("OCT", "1", "A")
    assert len(maps.repeats) == 2
    assert [report[:2] for report in reports] == [(1, 2), (2, 2)]
    assert {report[2] for report in reports} == {"OCT-1-A-1", "OCT-1-A-2"}
    for repeat in maps.repeats:
        assert repeat.transmission.dtype == np.complex64
        assert len(repeat.positions) == len(repeat.positions_px) == 31
        assert 0 < repeat.residual < 0.1
    assert maps.truth.pixel == options.conditions.geometry.object_pixel
    assert maps.repeats[0].drift != maps.repeats[1].drift


def test_a_map_says_what_made_it(made, options):
    _, folder, _ = made
    (scan, _) = scans_of(options)
    with h5py.File(Store(folder, options.conditions).map_file(scan)) as file:
        made_by = json.loads(file["provenance"][()])
    assert Conditions.model_validate(made_by["conditions"]) == options.conditions
    assert made_by["sample"]["membrane"]["material"]["name"] == "Si3N4"
    assert made_by["source"] == {"simulated": "OCT-1-A-1"}


def test_what_is_there_is_not_made_again(made, options, monkeypatch):
    maps, folder, _ = made
    times = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    monkeypatch.setattr(run, "ProcessPoolExecutor", None)
    again = reproduce(options, folder)
    np.testing.assert_array_equal(again[0].repeats[1].transmission, maps[0].repeats[1].transmission)
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == times


def test_what_is_missing_is_made_as_it_was_in_another_process(made, options, monkeypatch):
    maps, folder, _ = made
    scan = list(scans_of(options))[1]
    store, reports = Store(folder, options.conditions), []
    others = {file for file in folder.iterdir() if file != store.map_file(scan)}
    times = {file: file.stat().st_mtime_ns for file in others}
    store.map_file(scan).unlink()
    monkeypatch.setattr(run, "ProcessPoolExecutor", ProcessPoolExecutor)
    again = reproduce(options, folder, lambda *report: reports.append(report))
    assert reports == [(2, 2, "OCT-1-A-2")]
    np.testing.assert_array_equal(again[0].repeats[1].transmission, maps[0].repeats[1].transmission)
    assert {file: file.stat().st_mtime_ns for file in others} == times


def test_other_conditions_or_another_sample_are_other_files(tmp_path):
    region = Region("OCT", "1", "A")
    stores = [Store(tmp_path, Conditions(**changes)) for changes in ({}, {"photons": 2e6}, {"seed": 1})]
    scans = [Scan(region, 1), Scan(region, 2), Scan(Region("drop", "1", "A"), 1)]
    files = {store.map_file(scan) for store in stores for scan in scans}
    files |= {store.truth_file(region) for store in stores} | {store.probe_file for store in stores}
    assert len(files) == 9 + 3 + 3
    assert Store(tmp_path, Conditions()).probe_file == stores[0].probe_file


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(ReconstructionError("it ran off"), "it ran off"), (BrokenProcessPool(), "maps that are complete stay")],
)
def test_a_map_that_fails_leaves_what_is_complete(options, made, tmp_path, monkeypatch, error, sentence):
    _, folder, _ = made
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    store, (whole, missing) = Store(tmp_path, options.conditions), scans_of(options)
    store.map_file(missing).unlink()

    def fails(*_):
        raise error

    monkeypatch.setattr(run, "reconstruct", fails)
    with pytest.raises(ReconstructionError, match=sentence):
        reproduce(options, tmp_path)
    assert store.map_file(whole).exists()
    assert not store.map_file(missing).exists()
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("kind", ["map", "truth"])
def test_a_file_that_is_no_map_is_named(kind, options, tmp_path):
    store, scan = Store(tmp_path, options.conditions), next(scans_of(options))
    target = {"map": scan, "truth": scan.region}[kind]
    getattr(store, f"{kind}_file")(target).write_bytes(b"nothing")
    with pytest.raises(InputError, match="remove it to have it made again"):
        getattr(store, kind)(target)


def test_a_folder_that_cannot_be_made_is_named(options):
    with pytest.raises(InputError, match="/dev/null/maps cannot be made"):
        Store(Path("/dev/null/maps"), options.conditions)


def test_the_truth_is_kept_as_it_is(options, tmp_path):
    region = Region("OCT", "1", "A")
    make_truth(tmp_path, options.conditions, region)
    kept = Store(tmp_path, options.conditions).truth(region)
    truth = region.world(options.conditions, seed=5).truth("film")
    np.testing.assert_array_equal(kept.transmission, truth.transmission)
    assert (kept.pixel, kept.origin) == (truth.pixel, truth.origin)


@pytest.mark.parametrize("sample", ["OCT", "PS-190"])
def test_the_smallest_reproduction_goes_all_the_way_to_its_figures(options, tmp_path, threads, sample):
    """Of a map with a few pixels and perhaps no ground at all."""
    small = options.model_copy(update={"samples": (sample,)})
    regions = [judged(small.conditions, maps) for maps in reproduce(small, tmp_path)]
    found = json.loads(json.dumps(figures(small.conditions, regions)))
    figure = found["samples"][sample]
    # Where nothing is resolved there is no half period.
    assert np.isfinite([value for name, value in figure.items() if not name.endswith("_nm")]).all()
    assert all(value is None or value > 0 for value in figure.values())
