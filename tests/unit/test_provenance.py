import hashlib
import json
import shutil
from pathlib import Path

from ptycho_plugin.provenance import code_sha256, file_source, provenance, run_source


def test_it_says_what_made_a_result(tmp_path):
    source = tmp_path / "scan.h5"
    source.write_bytes(b"frames")
    made_by = provenance(
        options={"probe_modes": 1},
        frames=(0, 324),
        command=["ptycho", "reconstruct", "my scan.h5"],
        source=file_source(source),
    )
    assert json.loads(json.dumps(made_by)) == made_by
    assert made_by["options"] == {"probe_modes": 1}
    assert made_by["frame_range"] == [0, 324]
    assert made_by["command"] == "ptycho reconstruct 'my scan.h5'"
    assert made_by["source"] == {"path": str(source), "sha256": hashlib.sha256(b"frames").hexdigest()}
    assert made_by["packages"].keys() == {"numpy", "scipy", "h5py"}
    assert made_by["date"].endswith("+00:00")


def test_a_run_is_named_by_its_uid_and_where_it_is():
    source = run_source("some-uid", "http://tiled.example.org")
    made_by = provenance(options={}, frames=(0, 1), source=source)
    assert made_by["source"] == {"run_uid": "some-uid", "tiled": "http://tiled.example.org"}


def test_what_was_measured_live_names_no_source():
    assert provenance(options={}, frames=(0, 1))["source"] is None


def test_the_code_s_digest_follows_the_code(tmp_path, monkeypatch):
    from ptycho_plugin import provenance as module

    digests = set()
    for text in ("a = 1\n", "a = 2\n"):
        (tmp_path / "code.py").write_text(text)
        monkeypatch.setattr(module, "__file__", str(tmp_path / "provenance.py"))
        code_sha256.cache_clear()
        digests.add(code_sha256())
    code_sha256.cache_clear()
    assert len(digests) == 2


def test_a_checkout_and_its_wheel_have_one_digest(tmp_path, monkeypatch):
    from ptycho_plugin import provenance as module

    package = Path(module.__file__).parent
    python_files = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, tmp_path / "wheel", ignore=python_files)  # follows links, as a build does

    def digest(root):
        monkeypatch.setattr(module, "__file__", str(root / "provenance.py"))
        code_sha256.cache_clear()
        return code_sha256()

    of_wheel = digest(tmp_path / "wheel")
    assert digest(package) == of_wheel
    (tmp_path / "wheel" / "plans" / "scan.py").write_text("changed")
    assert digest(tmp_path / "wheel") != of_wheel
    code_sha256.cache_clear()
