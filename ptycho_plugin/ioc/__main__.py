"""Serves until standard input ends: its first line holds the settings, its end is the parent's."""

import os
import signal
import sys
import threading

from ptycho_plugin.ioc.launch import launch
from ptycho_plugin.ioc.settings import IocSettings


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    settings = IocSettings.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    launch(settings, _say)
