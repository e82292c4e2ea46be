"""What a RunEngine said."""

from typing import Any

import pytest
from bluesky import RunEngine
from event_model import DocumentNames, schema_validators, unpack_event_page


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
        paged = [event for page in self.of("event_page") for event in unpack_event_page(page)]
        return [doc for doc in (*self.of("event"), *paged) if doc["descriptor"] in uids]

    def frames(self) -> list[int]:
        """Sequence numbers of the frames, in their order on disk."""
        return [
            number
            for doc in self.of("stream_datum")
            for number in range(doc["seq_nums"]["start"], doc["seq_nums"]["stop"])
        ]


@pytest.fixture
def documents(engine: RunEngine) -> Documents:
    documents = Documents()
    engine.subscribe(documents)
    return documents
