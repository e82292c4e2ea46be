"""What a user imports is there, cheap to import, and listed once."""

import subprocess
import sys

import pytest

import ptycho_plugin


def test_names_and_their_homes_agree():
    assert sorted(ptycho_plugin._HOME) == ptycho_plugin.__all__ == sorted(dir(ptycho_plugin))


@pytest.mark.parametrize("name", ptycho_plugin.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(ptycho_plugin, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ptycho_plugin.nonsense


@pytest.mark.parametrize("module", ["ptycho_plugin", "ptycho_plugin.cli", "ptycho_plugin.ledger"])
def test_importing_brings_no_heavy_library(module):
    heavy = "bluesky cupy databroker h5py matplotlib numba ophyd pyfftw skimage tiled xraydb"
    code = f"import sys, {module}; print(sorted({set(heavy.split())} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
