"""What a RunEngine said."""

from typing import Any

import pytest
from bluesky import RunEngine
from event_model import DocumentNames, schema_validators


class Documents:
    """Every document of a RunEngine, valid against its schema."""

    def __init__(self) -> None:
        self._all: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        schema_validators[DocumentNames[name]].validate(doc)
        self._all.append((name, doc))

    def clear(self) -> None:
        self._all.clear()

    def of(self, name: str) -> list[dict[str, Any]]:
        return [doc for kind, doc in self._all if kind == name]

    def events(self, stream: str = "primary") -> list[dict[str, Any]]:
        uids = {doc["uid"] for doc in self.of("descriptor") if doc["name"] == stream}
        return [doc for doc in self.of("event") if doc["descriptor"] in uids]


@pytest.fixture
def documents(engine: RunEngine) -> Documents:
    documents = Documents()
    engine.subscribe(documents)
    return documents
