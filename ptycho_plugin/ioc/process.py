"""The simulated beamline in its own process, which ends with its parent's."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from ptycho_plugin.child_process import start_module
from ptycho_plugin.errors import PtychoError
from ptycho_plugin.ioc.beamline_file import write_beamline_file
from ptycho_plugin.ioc.settings import PREFIX, IocSettings, free_port
from ptycho_plugin.simulation.options import SimulationOptions

PATIENCE_S = 10.0
"""For the process to end by itself."""


class IocError(PtychoError, RuntimeError):
    """The simulated beamline's process did not start."""


class IocProcess:
    """A simulated beamline on the loopback interface; a context manager, ready when entered.

    Parameters
    ----------
    prefix : str
        Of its process variables.
    options : SimulationOptions
    port, repeater_port : int, optional
        Of Channel Access, and where clients look for a repeater; by default free ones.
    directory : path, optional
        The detector's files and the process' log go there; by default a temporary folder, gone on leaving.
    **settings
        The other fields of `IocSettings`.

    Raises
    ------
    InputError
        If a setting cannot be used.
    IocError
        On entering, if the process does not start; it says why.
    """

    def __init__(
        self,
        prefix: str = PREFIX,
        options: SimulationOptions = SimulationOptions(),  # noqa: B008  frozen
        port: int | None = None,
        *,
        repeater_port: int | None = None,
        directory: str | Path | None = None,
        **settings: Any,
    ) -> None:
        self._temporary: TemporaryDirectory[str] | None = None
        if directory is None:
            self._temporary = TemporaryDirectory(prefix="ptycho-ioc-")
            directory = self._temporary.name
        self._process: subprocess.Popen[str] | None = None
        self.settings = IocSettings(
            prefix=prefix,
            options=options,
            port=port or free_port(),
            repeater_port=repeater_port or free_port(),
            directory=Path(directory).resolve(),
            **settings,
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment must say before its Channel Access starts."""
        return self.settings.client_environment

    @property
    def directory(self) -> Path:
        """Folder of the detector's files."""
        return self.settings.directory

    @property
    def beamline_file(self) -> Path:
        """A file that names its process variables, for `ptycho_plugin.devices.epics.epics_beamline`."""
        return self.directory / "beamline.toml"

    @property
    def log(self) -> Path:
        """The file that holds what the process printed."""
        return self.directory / "ioc.log"

    @property
    def pid(self) -> int | None:
        """The process' number, while it is alive."""
        is_alive = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and is_alive else None

    def __enter__(self) -> IocProcess:
        try:
            self.start()
        except IocError:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process, also after `kill`: a new life, motors at zero and no photons counted."""
        self.directory.mkdir(parents=True, exist_ok=True)
        write_beamline_file(self.settings, self.beamline_file)
        settings = self.settings.model_dump_json()
        self._process, ready = start_module("ptycho_plugin.ioc", settings, self.log)
        if not ready:
            self._wait()
            raise IocError(f"the simulated beamline did not start: {self._last_words()}")

    def kill(self) -> None:
        """Let the process die at once, as with a power cut."""
        if self._process is not None:
            self._process.kill()
            self._wait()

    def close(self) -> None:
        """End the process and remove its temporary folder; a second time does nothing."""
        if self._process is not None:
            self._wait()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _wait(self) -> None:
        """Close the process' standard input, which ends it, and wait until it has ended."""
        process, self._process = self._process, None
        assert process is not None  # noqa: S101  (for the type checker: who calls has one)
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def _last_words(self) -> str:
        lines = self.log.read_text().strip().splitlines()
        return lines[-1] if lines else f"read {self.log}"
