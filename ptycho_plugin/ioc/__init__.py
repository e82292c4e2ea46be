"""The simulated beamline over Channel Access: a digital twin in its own process."""

from ptycho_plugin.ioc.process import IocError, IocProcess
from ptycho_plugin.ioc.settings import IocSettings

__all__ = ["IocError", "IocProcess", "IocSettings"]
