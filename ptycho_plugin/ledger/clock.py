"""Times in the ledger: UTC, in one width, so that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime

UTC_SUFFIX = "+00:00"


def utc(when: datetime | None = None) -> str:
    """Return a time, by default now, as the ledger writes it."""
    return (when or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")
