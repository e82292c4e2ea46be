"""What is in the checkout is in the wheel, and imports from another folder."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORT_EVERYTHING = """
import importlib, pkgutil, ptycho_plugin, sys
from pathlib import Path
assert Path(ptycho_plugin.__file__).is_relative_to(sys.prefix), ptycho_plugin.__file__
for module in pkgutil.walk_packages(ptycho_plugin.__path__, "ptycho_plugin."):
    print(module.name)
    if module.name != "ptycho_plugin.queue.startup":  # which opens a session when it is imported
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy: what an earlier build left in the checkout would end up in the wheel.
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "*-output"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


def modules_in_the_checkout():
    folders = {"ptycho_plugin": "ptycho_plugin", "plans": "ptycho_plugin/plans"}
    folders |= {name: f"ptycho_plugin/{name}" for name in ("devices", "callbacks")}
    return {
        f"{target}/{path.relative_to(ROOT / source)}"
        for source, target in folders.items()
        for path in (ROOT / source).rglob("*.py")
        if not any(part.is_symlink() for part in path.parents)
    }


def test_every_module_is_in_the_wheel(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    assert packed == modules_in_the_checkout()


def test_what_the_queue_server_reads_is_in_the_wheel(wheel):
    assert "ptycho_plugin/queue/user_group_permissions.yaml" in zipfile.ZipFile(wheel).namelist()


def test_the_wheel_holds_no_bare_top_level_name(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ptycho_plugin"}


def test_an_installed_wheel_imports_everything(wheel, tmp_path):
    """In an environment that borrows this one's libraries, but holds the package itself."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    (site,) = (home / "lib").glob("python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n")
    command = [home / "bin" / "python", "-c", IMPORT_EVERYTHING]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert set(found.stdout.split()) == {module_name(path) for path in modules_in_the_checkout()} - {
        "ptycho_plugin"
    }


def module_name(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
