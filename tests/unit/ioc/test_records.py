"""The records of areaDetector and of the scaler, without a network."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from caproto import ChannelType
from ophyd import EpicsScaler
from ophyd.areadetector.base import EpicsSignalWithRBV
from ophyd.areadetector.cam import PilatusDetectorCam
from ophyd.areadetector.plugins import HDF5Plugin, HDF5Plugin_V34

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.server import make_world, records
from ptycho_plugin.ioc.settings import IocSettings


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = IocSettings(
        prefix="P:", port=5000, repeater_port=5001, directory=tmp_path_factory.mktemp("frames")
    )
    return records(settings, make_world(settings), physics=None)


def connects_to(device: Any, prefix: str) -> set[str]:
    names = set()
    for component in (walked.item for walked in device.walk_components()):
        if component.suffix:
            names.add(prefix + component.suffix)
            if issubclass(component.cls, EpicsSignalWithRBV):
                names.add(f"{prefix}{component.suffix}_RBV")
    return names


@pytest.mark.parametrize(
    ("device", "prefix"),
    [
        (PilatusDetectorCam, "P:PIL:cam1:"),
        (HDF5Plugin, "P:PIL:HDF1:"),
        (HDF5Plugin_V34, "P:PIL:HDF1:"),
        (EpicsScaler, "P:SCALER"),
    ],
)
def test_everything_that_ophyd_connects_to_is_served(
    database: dict[str, Any], device: Any, prefix: str
) -> None:
    assert connects_to(device, prefix) - set(database) == set()


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("cam1:AcquireTime", ChannelType.DOUBLE, 0.2),
        ("cam1:NumImages_RBV", ChannelType.LONG, 1),
        ("cam1:TriggerMode", ChannelType.ENUM, "Internal"),
        ("cam1:Manufacturer_RBV", ChannelType.STRING, "Simulated"),
        ("HDF1:FilePath", ChannelType.CHAR, ""),
        ("HDF1:SWMRMode", ChannelType.ENUM, "On"),
        ("HDF1:NumCapture", ChannelType.LONG, 0),
        ("HDF1:FileTemplate_RBV", ChannelType.CHAR, "%s%s_%6.6d.h5"),
    ],
)
def test_records_are_of_the_type_that_areadetectors_are(
    database: dict[str, Any], name: str, kind: ChannelType, value: Any
) -> None:
    record = database[f"P:PIL:{name}"]
    assert (record.data_type, record.value) == (kind, value)


@pytest.mark.parametrize(
    ("name", "put", "kept"),
    [("NumImages", 7, 7), ("TriggerMode", 3, "Mult. Trigger"), ("AcquireTime", 0.05, 0.05)],
)
def test_a_readback_follows_its_setpoint(database: dict[str, Any], name: str, put: Any, kept: Any) -> None:
    asyncio.run(database[f"P:PIL:cam1:{name}"].write(put))
    assert database[f"P:PIL:cam1:{name}"].value == kept
    assert database[f"P:PIL:cam1:{name}_RBV"].value == kept


def test_a_path_outside_the_folder_is_none(database: dict[str, Any], tmp_path: Path) -> None:
    asyncio.run(database["P:PIL:HDF1:FilePath"].write(str(tmp_path)))
    assert database["P:PIL:HDF1:FilePathExists_RBV"].value == "No"


@pytest.mark.parametrize(
    ("template", "file"),
    [("%s%s_%6.6d.h5", "scan_000007.h5"), ("%s/%s.h5", "scan.h5"), ("%s%s_100%%.h5", "scan_100%.h5")],
)
def test_a_file_is_named_as_c_would_format_it(database: dict[str, Any], template: str, file: str) -> None:
    plugin = database["P:PIL:HDF1:Capture"].group

    async def name() -> None:
        for record, value in (("FileTemplate", template), ("FileName", "scan"), ("FileNumber", 7)):
            await database[f"P:PIL:HDF1:{record}"].write(value)

    asyncio.run(name())
    assert plugin._path().name == file


def test_a_template_that_is_none_is_refused(database: dict[str, Any]) -> None:
    asyncio.run(database["P:PIL:HDF1:FileTemplate"].write("%s%q"))
    with pytest.raises(InputError, match="FileTemplate '%s%q' cannot be used"):
        database["P:PIL:HDF1:Capture"].group._path()
