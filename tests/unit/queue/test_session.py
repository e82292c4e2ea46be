"""A session is what the environment names; what it lacks, or names wrongly, is said."""

from pathlib import Path

import pytest

from ptycho_plugin.errors import InputError, LedgerError, PublishingError
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.queue.session import VARIABLES, Session


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return {
        "PTYCHO_BEAMLINE": "simulated",
        "PTYCHO_LEDGER": str(tmp_path / "ledger"),
        "PTYCHO_DATA": str(tmp_path),
        "PTYCHO_TILED": "http://127.0.0.1:9/api/v1",
    }


@pytest.mark.parametrize("missing", VARIABLES)
def test_a_variable_that_is_not_set_is_named(variables: dict[str, str], missing: str) -> None:
    with pytest.raises(InputError, match=f"^{missing} is not set: give it "):
        Session.from_environment(variables | {missing: ""})


def test_a_ledger_is_never_made_by_a_slip(variables: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="ledger"):
        Session.from_environment(variables)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named_and_the_ledger_let_go(
    variables: dict[str, str], tmp_path: Path
) -> None:
    Ledger(tmp_path / "ledger", new=True).close()
    left = set(tmp_path.iterdir())
    with pytest.raises(PublishingError, match=r"127\.0\.0\.1:9.* cannot be reached"):
        Session.from_environment(variables)
    assert set(tmp_path.iterdir()) == left
