"""The reconstruction core: from frames and positions to an object and a probe."""

from ptycho_plugin.reconstruction.driver import Reconstruction, reconstruct
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.result import Progress, Result

__all__ = ["Progress", "Reconstruction", "ReconstructionOptions", "Result", "reconstruct"]
