"""The beamline file of a simulated beamline: its process variables, as a client needs them."""

from __future__ import annotations

from pathlib import Path

from ptycho_plugin.beamline_file import BeamlineFile, read_beamline_file
from ptycho_plugin.beamline_file.schema import Mounting
from ptycho_plugin.io.atomic import check_writable, replacing
from ptycho_plugin.ioc.settings import IocSettings

PUBLISHED = Path(__file__).with_name("beamline.toml")


def beamline_file(settings: IocSettings) -> BeamlineFile:
    """Return what the beamline file of a simulated beamline says: the published one's, and the settings'."""
    published, options = read_beamline_file(PUBLISHED), settings.options
    return published.model_copy(
        update={
            "prefix": settings.prefix,
            "geometry": settings.geometry or published.geometry,
            "optic": settings.optic,
            "source": published.source.model_copy(update={"photons_per_second": options.photons_per_second}),
            "mounting": Mounting(detector=options.orientation, position_sign=options.position_sign),
            "shutter": published.shutter.model_copy(update={"timing": options.shutter}),
            "detection": options.detection,
        }
    )


def write_beamline_file(settings: IocSettings, path: Path) -> None:
    """Write the beamline file of a simulated beamline.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import tomli_w

    check_writable(path)
    said = beamline_file(settings).model_dump(mode="json", exclude_none=True)
    with replacing(path) as part:
        part.write_text(tomli_w.dumps(said), encoding="utf-8")
