"""The errors a user can act on: one sentence that names the thing, the value and the remedy."""

from typing import Any


class PtychoError(Exception):
    """Base of every error raised at the package's border.

    The command line prints the message alone, without a traceback, and exits with a
    non-zero status.
    """


class InputError(PtychoError, ValueError):
    """A file, an array or an argument that cannot be used as it is."""


class PreflightRefusal(PtychoError, ValueError):
    """A scan that cannot work, refused before the shutter opens."""


class DoseRefusal(PtychoError, ValueError):
    """An exposure that may not be made, refused before the shutter opens."""


class StalledPlanError(PtychoError, RuntimeError):
    """A plan that stopped making progress with the shutter open, which was then closed for it."""


class PublishingError(PtychoError, RuntimeError):
    """Tiled refused or could not be reached."""


class TiledUnreachableError(PublishingError):
    """Tiled does not answer, or not now: the same may work later."""


class ReconstructionError(PtychoError, RuntimeError):
    """An engine that diverged or was given data it cannot use."""


class DivergenceError(ReconstructionError):
    """An engine that diverged.

    Parameters
    ----------
    message : str
    last_good : Result
        Of the last iteration that did not: what `Reconstruction.result` gives from then on.
    """

    def __init__(self, message: str, last_good: Any = None) -> None:
        super().__init__(message)
        self.last_good = last_good


class LedgerError(PtychoError, RuntimeError):
    """The ledger of exposures cannot be used, or refuses an entry: then nothing may be exposed."""


class LostFrameError(PtychoError):
    """A trajectory whose frames and gates are not equally many: a trigger was missed, or a frame dropped."""


class DeviceError(PtychoError, RuntimeError):
    """A device that does not answer, or not as it was told; it names the process variable."""
