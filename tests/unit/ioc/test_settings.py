import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.beamline_file import beamline_file, write_beamline_file
from ptycho_plugin.ioc.launch import launch
from ptycho_plugin.ioc.server import make_world, records
from ptycho_plugin.ioc.settings import LOOPBACK, IocSettings, free_port


def settings(**changes: Any) -> IocSettings:
    return IocSettings(**{"port": 5000, "repeater_port": 5001, "directory": Path("frames"), **changes})


@pytest.mark.parametrize(
    "wrong", [{"prefix": "A B"}, {"prefix": ""}, {"port": 80}, {"port": 70_000}, {"speed": 3}]
)
def test_what_cannot_be_used_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        settings(**wrong)


def test_they_survive_their_way_to_the_process() -> None:
    assert IocSettings.model_validate_json(settings().model_dump_json()) == settings()


def test_everything_stays_on_the_loopback_interface() -> None:
    said = settings().server_environment
    for name in ("EPICS_CA_ADDR_LIST", "EPICS_CAS_INTF_ADDR_LIST", "EPICS_CAS_BEACON_ADDR_LIST"):
        assert said[name] == LOOPBACK
    for name in ("EPICS_CA_AUTO_ADDR_LIST", "EPICS_CAS_AUTO_BEACON_ADDR_LIST"):
        assert said[name] == "NO"


def test_a_taken_port_is_refused_before_anything_else() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            launch(settings(port=port), print)
    assert os.environ.get("OPHYD_CONTROL_LAYER") != "dummy"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot hold frames"):
        launch(settings(port=free_port(), directory=tmp_path / "file" / "frames"), print)


def test_a_client_can_import_it_before_its_channel_access_starts() -> None:
    says = "import sys, ptycho_plugin.ioc; print({'ophyd', 'epics', 'caproto'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", says], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_its_beamline_file_names_process_variables_that_are_served(tmp_path: Path) -> None:
    said = beamline_file(settings(prefix="LAB:"))
    served = records(settings(prefix="LAB:"), make_world(settings()), physics=None)
    records_named = {re.sub(r"\.[A-Z0-9]+$", "", one.pv) for one in said.process_variables()}
    assert records_named - set(served) == set()


def test_a_beamline_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_beamline_file(settings(), tmp_path / "nowhere" / "beamline.toml")
