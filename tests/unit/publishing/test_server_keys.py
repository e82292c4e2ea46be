"""The keys' files: made once, whole, and for their owner alone."""

import os
from pathlib import Path

import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.publishing.server_keys import SCOPES, VIEWER, WRITER, key_file, keys_in


@pytest.fixture
def generous_umask() -> object:
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.usefixtures("generous_umask")
def test_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    assert set(keys) == set(SCOPES)
    assert len(set(keys.values())) == len(keys)
    assert all(len(bytes.fromhex(key)) == 32 for key in keys.values())
    assert {key_file(tmp_path, name).stat().st_mode & 0o777 for name in keys} == {0o600}
    assert keys_in(tmp_path) == keys


def test_a_deleted_key_is_replaced_and_the_other_is_not(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    key_file(tmp_path, VIEWER).unlink()
    others = keys_in(tmp_path)
    assert others[WRITER] == keys[WRITER]
    assert others[VIEWER] != keys[VIEWER]


def test_a_group_may_read_a_key_and_everybody_may_not(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    key_file(tmp_path, VIEWER).chmod(0o640)
    assert keys_in(tmp_path) == keys
    key_file(tmp_path, VIEWER).chmod(0o644)
    with pytest.raises(InputError, match=r"everybody may read the key in .*viewer\.key: delete it"):
        keys_in(tmp_path)


@pytest.mark.parametrize("held", ["", "\n", "12ab", "g" * 64])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, held: str) -> None:
    path = key_file(tmp_path, WRITER)
    path.write_text(held)
    path.chmod(0o600)
    with pytest.raises(InputError, match="holds no key: delete it") as raised:
        keys_in(tmp_path)
    assert not held.strip() or held not in str(raised.value)


def test_a_viewer_only_reads() -> None:
    assert {scope.partition(":")[0] for scope in SCOPES[VIEWER]} == {"read"}
    assert set(SCOPES[VIEWER]) < set(SCOPES[WRITER])
