"""Serves until standard input ends: its first line holds the settings, its end is the parent's."""

import os
import signal
import sys
import threading

from ptycho_plugin.errors import PtychoError
from ptycho_plugin.ioc.launch import launch
from ptycho_plugin.ioc.settings import IocSettings


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve; an error a user can act on is one sentence, the last of what is printed."""
    settings = IocSettings.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        launch(settings, _say)
    except PtychoError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
