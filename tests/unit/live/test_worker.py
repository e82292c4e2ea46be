"""The worker as it is started by hand."""

import json
import os
import sys
from pathlib import Path

import pytest

from ptycho_plugin.live import worker


def test_a_folder_without_a_spool_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "--tiled", "http://127.0.0.1:9", "--data", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["worker", *arguments])
    monkeypatch.setattr(os, "nice", lambda _: 0)
    assert worker.main() == 1
    stdout, stderr = capfd.readouterr()
    assert json.loads(stdout)["outcome"]["error"].startswith(f"{tmp_path} holds no documents.jsonl: ")
    assert stderr == ""
