"""The reconstruction core: from frames and positions to an object and a probe.

The names below are imported when they are first used: options and results need no compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_plugin.reconstruction.driver import Reconstruction, reconstruct
    from ptycho_plugin.reconstruction.options import ReconstructionOptions
    from ptycho_plugin.reconstruction.result import Progress, Result

_HOME = {
    "Progress": "result",
    "Reconstruction": "driver",
    "ReconstructionOptions": "options",
    "Result": "result",
    "reconstruct": "driver",
}

__all__ = ["Progress", "Reconstruction", "ReconstructionOptions", "Result", "reconstruct"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
