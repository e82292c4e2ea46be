"""Keys in Tiled of what has names that people gave."""

from __future__ import annotations

import hashlib
import json
import re

DIGITS = 6
"""Of a digest: names with other signs than letters and digits in them stay apart."""


def key_of(*names: str) -> str:
    """Return a key for some names: as far as they can be in one, and a digest of them."""
    readable = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") for name in names)
    return f"{readable}-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:DIGITS]}"
