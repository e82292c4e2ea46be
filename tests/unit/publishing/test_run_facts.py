"""What a result says of its run, from the start document."""

from typing import Any

import pytest

from ptycho_plugin.publishing.run_facts import facts_of_run

START = {"uid": "last", "time": 1743415200.7, "ptycho": {"purpose": "scan", "continues": ["first"]}}
NOWHERE = {"area": None, "region": None, "repeat": None}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, {"sample": None, **NOWHERE}),
        ({"sample": "film"}, {"sample": "film", **NOWHERE}),
        ({"sample": {"name": "film", "formula": "C5H8O2"}}, {"sample": "film", **NOWHERE}),
        ({"sample": {"name": 7}, "region": "A"}, {"sample": None, **NOWHERE}),
        ({"sample": "film", "area": "1", "region": "A", "repeat": "one"}, {"sample": "film", **NOWHERE}),
        (
            {"sample": "film", "area": "1", "region": "A", "repeat": 2},
            {"sample": "film", "area": "1", "region": "A", "repeat": 2},
        ),
    ],
)
def test_names_are_told_as_far_as_they_are_names(said: dict[str, Any], told: dict[str, Any]) -> None:
    facts = facts_of_run(START | said)
    assert facts == {
        "runs": ["first", "last"],
        "purpose": "scan",
        "date": "2025-03-31T10:00:00+00:00",
        **told,
    }
