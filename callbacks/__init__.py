"""What is subscribed to the RunEngine: the raw run's writer and the live reconstruction."""

from ptycho_plugin.callbacks.live_reconstruction import LiveReconstruction
from ptycho_plugin.callbacks.raw_run import raw_run_writer

__all__ = ["LiveReconstruction", "raw_run_writer"]
