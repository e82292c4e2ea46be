"""Messages whose answer an interruption took: which of them have done their work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bluesky.utils import FailedStatus, Msg, MsgGenerator, RunEngineControlException

GIVEN_AGAIN = ("set", "wait", "rewindable")
"""Those that may not have, and that do no harm a second time."""


def effective(message: Msg, effect: Callable[[], None]) -> MsgGenerator[Any]:
    """Give a message, and note its effect, unless the message itself failed.

    An interruption and a failed status are raised in place of the answer, when the message has done
    its work.
    """
    try:
        answer = yield message
    except (RunEngineControlException, FailedStatus):
        effect()
        raise
    effect()
    return answer
