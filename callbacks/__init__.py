"""What is subscribed to the RunEngine: the spool, and the live reconstruction that follows it."""

from ptycho_plugin.callbacks.live_reconstruction import LiveReconstruction
from ptycho_plugin.callbacks.run_spool import RunSpool

__all__ = ["LiveReconstruction", "RunSpool"]
