"""Plans of the house, queued in a real RE Manager with a real Redis, into a real Tiled server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from bluesky import RunEngine
from bluesky_queueserver.manager.profile_ops import format_text_descriptions

from ptycho_plugin import Budget, Ledger, calibrate_flux, simulated_beamline
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.publishing.server import LocalTiledServer

STARTUP = "ptycho_plugin.queue.startup"
PERMISSIONS = files("ptycho_plugin.queue") / "user_group_permissions.yaml"
PATIENCE_S = 120
FIELD = {"kind": "concentric_rings", "height_um": 0.4, "width_um": 0.4}
RECIPE = {"difference_map_iterations": 2, "maximum_likelihood_iterations": 1, "frames_to_start": 2}
BUDGET = Budget(dose=1e6, material="PMMA", formula="C5H8O2")
REGION = {"sample": "film", "area": "1", "region": "A"}
QUICK = {"exposure_s": 0.02, "trajectory": FIELD, "options": RECIPE}


class Manager:
    """A client of an RE Manager: JSON over two sockets, as any front end has them."""

    def __init__(self, control: str, info: str) -> None:
        self._context = zmq.Context()
        self._control, self._info = self._context.socket(zmq.REQ), self._context.socket(zmq.SUB)
        for one, address in ((self._control, control), (self._info, info)):
            one.setsockopt(zmq.RCVTIMEO, PATIENCE_S * 1000)
            one.connect(address)
        self._info.subscribe("QS_Info")

    def close(self) -> None:
        self._context.destroy(linger=0)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._control.send_json({"method": method, "params": params})
        answer: dict[str, Any] = self._control.recv_json()
        return answer

    def do(self, method: str, **params: Any) -> dict[str, Any]:
        answer = self.ask(method, **params)
        assert answer["success"], answer["msg"]
        return answer

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for one published message after another until something is so."""
        while not is_so():
            self._info.recv()

    def add(self, plan: str, group: str = "primary", **kwargs: Any) -> dict[str, Any]:
        item = {"item_type": "plan", "name": plan, "kwargs": kwargs}
        return self.ask("queue_item_add", item=item, user="tester", user_group=group)

    def start(self, plan: str, group: str = "primary", **kwargs: Any) -> str:
        """Queue a plan alone (what failed is in the queue again) and start it; return the item's uid."""
        self.do("queue_clear")
        added = self.add(plan, group, **kwargs)
        assert added["success"], added["msg"]
        self.do("queue_start")
        return str(added["item"]["item_uid"])

    def result(self, item_uid: str) -> dict[str, Any]:
        """Return what the history says of an item, once it has ended."""
        self.until(lambda: self.ask("status")["manager_state"] == "idle")
        items = self.ask("history_get")["items"]
        (result,) = (item["result"] for item in items if item["item_uid"] == item_uid)
        return dict(result)

    def run(self, plan: str, group: str = "primary", **kwargs: Any) -> dict[str, Any]:
        return self.result(self.start(plan, group, **kwargs))

    def form(self, plan: str) -> dict[str, str]:
        """Return the texts of a plan's form."""
        allowed = self.ask("plans_allowed", user_group="staff")["plans_allowed"]
        texts: dict[str, str] = format_text_descriptions(allowed[plan])["parameters"]
        return texts


def free_ports(count: int) -> list[int]:
    with ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in opened]


@contextmanager
def process(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[psutil.Popen]:
    """Run a command until the end of the context; none of the children that it has then may outlive it."""
    with log.open("w") as output:
        running = psutil.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            yield running
        finally:
            family = [running, *running.children(recursive=True)]
            running.terminate()
            all_end(family)


def all_end(family: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(family, timeout=PATIENCE_S)
    for one in left:
        one.kill()
    assert not left, f"{left} did not end"


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory: pytest.TempPathFactory, redis_program: str) -> Iterator[str]:
    """A Redis of our own, which keeps nothing."""
    (port,) = free_ports(1)
    command = [redis_program, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    folder = tmp_path_factory.mktemp("redis")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as server:
        try:
            assert server.stdout is not None
            assert any("Ready to accept connections" in line for line in server.stdout)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def folder(data_folder: Path) -> Path:
    """What the session keeps, where the Tiled server may read its frames."""
    folder = data_folder / "queue"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def ledger(folder: Path) -> Iterator[Ledger]:
    """The beamline's ledger, with a film that has one region with a budget."""
    with Ledger(folder / "ledger", new=True) as ledger:
        ledger.samples.mount("film")
        place = simulated_beamline(folder).place_um("sample")
        region = ledger.samples.place_region("film", "1", "A", stage_um=place, reach_um=1.5)
        ledger.samples.set_budget(region, BUDGET)
        yield ledger


@pytest.fixture(scope="module")
def environment(
    folder: Path, tiled_server: LocalTiledServer, tiled: Any, ledger: Ledger, module_engine: RunEngine
) -> dict[str, str]:
    """The session's variables, at a beamline whose flux is calibrated."""
    as_fast_as_it_goes = simulated_beamline(folder, calibrations=CalibrationStore(tiled), time_factor=0)
    module_engine(calibrate_flux(as_fast_as_it_goes, frames=3))
    return os.environ | {
        "PTYCHO_BEAMLINE": "simulated",
        "PTYCHO_LEDGER": str(folder / "ledger"),
        "PTYCHO_DATA": str(folder),
        "PTYCHO_TILED": split_key(tiled_server.uri)[0],
        "TILED_API_KEY": tiled_server.api_key,
    }


@pytest.fixture(scope="module")
def manager(folder: Path, environment: dict[str, str], redis_address: str) -> Iterator[Manager]:
    """An RE Manager with an open environment, from the commands that the README gives."""
    control, info = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    programs = Path(sys.executable).parent
    listed = [programs / "qserver-list-plans-devices", "--startup-module", STARTUP, "--file-dir", folder]
    subprocess.run(listed, env=environment, check=True, capture_output=True)
    start = [programs / "start-re-manager", "--startup-module", STARTUP, "--existing-plans-devices", folder]
    start += ["--user-group-permissions", PERMISSIONS, "--redis-addr", redis_address]
    start += ["--zmq-control-addr", control, "--zmq-info-addr", info, "--zmq-publish-console", "ON"]
    with process([str(part) for part in start], folder / "manager.log", environment) as running:
        client = Manager(control, info)
        try:
            client.ask("ping")
            client.do("environment_open")
            client.until(lambda: client.ask("status")["worker_environment_state"] == "idle")
            yield client
            reconstructing = running.children(recursive=True)
            client.do("environment_close")
            client.until(lambda: not client.ask("status")["worker_environment_exists"])
        finally:
            client.close()
    all_end(reconstructing)  # what a live reconstruction has begun it finishes, while there is a Tiled


def test_forms_show_units_and_bounds(manager: Manager) -> None:
    scan, centre, series, overview = map(
        manager.form, ("ptycho_scan", "find_beam_centre", "dose_series", "stxm_map")
    )
    assert "Default: 0.2\nMin: 0\nExposure of one frame [s, > 0]." in scan["exposure_s"]
    assert "Stage position (row, column) [um]." in scan["centre_um"]
    assert "Min: 1\nWhich scan of the region" in scan["repeat"]
    assert "radial_step_um = 0.2 [um, > 0]" in scan["trajectory"]
    assert "device = auto [auto | cpu | gpu]" in scan["options"]
    assert "Default: 0.1\nMin: 0 Max: 1\nPart of the beam that passes [> 0, <= 1]." in centre["transmission"]
    assert "Budget: dose [Gy, > 0], material, formula" in series["budget"]
    assert "Choices: ('piezo', 'coarse')" in overview["stage"]


def test_an_aborted_scan_goes_on_when_the_queue_does_and_is_in_tiled(
    manager: Manager, tiled: Any, ledger: Ledger
) -> None:
    scan = REGION | QUICK
    item = manager.start("ptycho_scan", **scan | {"exposure_s": 0.5})
    manager.until(lambda: len(manager.ask("re_runs")["run_list"]) > 0)
    manager.do("re_pause", option="immediate")
    manager.until(lambda: manager.ask("status")["manager_state"] == "paused")
    manager.do("re_abort")
    aborted = manager.result(item)
    assert aborted["exit_status"] == "aborted"
    (again,) = manager.ask("queue_get")["items"]
    manager.do("queue_start")
    gone_on = manager.result(again["item_uid"])
    assert gone_on["exit_status"] == "completed", gone_on

    (uid,) = gone_on["run_uids"]
    run = arrived(tiled, uid)
    assert {key: run.start[key] for key in ("plan_name", *REGION)} == {"plan_name": "ptycho_scan", **REGION}
    assert (run.start["repeat"], run.stop["exit_status"]) == (1, "success")
    assert run.start["ptycho"]["continues"] == aborted["run_uids"]
    assert run["primary"][run.start["ptycho"]["frame_key"]].shape[0] == run.start["num_points"]
    region = ledger.samples.region(*REGION.values())
    made = ledger.exposures(region)
    frames = made.run_uid[made.frame == "saved"].tolist()
    (whole, rest) = (one.points for one in ledger.scans.progress(region, 1).runs)
    assert len(frames) == len(whole)  # wherever the pause came, none is made twice
    assert frames.count(uid) == len(rest) == run.start["num_points"]

    once_more = manager.run("ptycho_scan", **scan | {"exposure_s": 0.5})
    assert once_more["exit_status"] == "failed"
    assert "repeat 1 of region 'A' in area '1' of 'film' is complete" in once_more["msg"]


def arrived(tiled: Any, uid: str) -> Any:
    """Return a run once it is closed in Tiled: it is sent there when the plan has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(KeyError):
            if (run := tiled["raw", uid]).stop:
                return run
        time.sleep(0.1)
    raise TimeoutError(uid)


def test_a_queued_series_scans_its_region(manager: Manager, tiled: Any) -> None:
    matrix = {
        "areas": ["2"],
        "regions": ["A"],
        "repeats": 1,
        "first_um": [40, 40],
        "reach_um": 1.5,
    }
    result = manager.run(
        "dose_series", sample="film", matrix=matrix, budget=BUDGET.model_dump(mode="json"), **QUICK
    )
    assert result["exit_status"] == "completed", result
    (run,) = (arrived(tiled, uid) for uid in result["run_uids"])
    assert [run.start[key] for key in ("sample", "area", "region", "repeat")] == ["film", "2", "A", 1]
    assert list(tiled["series", run.start["series"]["uid"]]) == result["run_uids"]


@pytest.mark.parametrize(
    ("plan", "kwargs", "said"),
    [
        ("ptycho_scan", {**REGION, "exposure_s": -0.2}, "Value -0.2 is out of range [0, inf]"),
        ("ptycho_scan", {**REGION, "exposure_s": "soon"}, "exposure_s\n  Input should be a valid number"),
        ("ptycho_scan", {**REGION, "centre_um": [1.0]}, "centre_um.1\n  Field required"),
        ("ptycho_scan", {**REGION, "exposure": 0.2}, "got an unexpected keyword argument 'exposure'"),
        ("ptycho_scan", {"sample": "film"}, "missing a required argument: 'area'"),
        ("stxm_map", {"sample": "film", "stage": "left"}, "Input should be 'piezo' or 'coarse'"),
        ("calibrate_flux", {}, "Plan 'calibrate_flux' is not in the list of allowed plans"),
        ("count", {}, "Plan 'count' is not in the list of allowed plans"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_queued(
    manager: Manager, plan: str, kwargs: dict[str, Any], said: str
) -> None:
    refused = manager.add(plan, **kwargs)
    assert not refused["success"]
    assert said in refused["msg"]


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        (
            {**REGION, "trajectory": {"kind": "spiral"}},
            "ptycho_scan: trajectory = {'kind': 'spiral'} cannot be used: ",
        ),
        (
            {**REGION, "options": {"iterations": 3}},
            "ptycho_scan: options: ReconstructionOptions has no iterations: it takes difference_map",
        ),
        ({**REGION, "exposure_s": 0}, "ptycho_scan: exposure_s = 0 cannot be used: "),
        ({**REGION, "region": "Z"}, "area '1' of 'film' has no region 'Z', it has: A"),
    ],
)
def test_what_cannot_be_told_before_fails_in_one_sentence(
    manager: Manager, kwargs: dict[str, Any], sentence: str
) -> None:
    result = manager.run("ptycho_scan", **kwargs)
    assert (result["exit_status"], result["run_uids"]) == ("failed", [])
    assert f"Plan failed: {sentence}" in result["msg"]


def test_no_device_is_offered_and_no_key_is_logged(
    manager: Manager, folder: Path, tiled_server: LocalTiledServer
) -> None:
    assert manager.ask("devices_allowed", user_group="staff")["devices_allowed"] == {}
    assert sorted(manager.ask("plans_allowed", user_group="primary")["plans_allowed"]) == [
        "dose_series",
        "ptycho_fly_scan",
        "ptycho_scan",
        "stxm_map",
    ]
    for log in (*folder.glob("*.log"), *folder.glob("*.yaml"), *folder.glob("spool/*/*.log")):
        assert tiled_server.api_key not in log.read_text(), log
