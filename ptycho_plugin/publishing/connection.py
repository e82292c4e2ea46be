"""Reaching a Tiled server, and what to say when it refuses or is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from ptycho_plugin.errors import PublishingError

REFUSED = (401, 403)


def split_key(uri: str) -> tuple[str, str | None]:
    """Return an address without its query, and the API key that the query held."""
    parts = urlsplit(uri)
    keys = parse_qs(parts.query).get("api_key")
    return urlunsplit(parts._replace(query="")), keys[0] if keys else None


def connect(uri: str, api_key: str | None = None) -> Any:
    """Return a client of the Tiled tree at an address.

    Parameters
    ----------
    uri : str
        With the key in its query (``?api_key=...``) or without.
    api_key : str, optional
        By default the one in the address, else Tiled's own ``TILED_API_KEY`` variable.

    Raises
    ------
    PublishingError
        If nothing answers there, or the key is refused.
    """
    import httpx
    from tiled.client import from_uri

    address, key = split_key(uri)
    key = api_key or key or os.environ.get("TILED_API_KEY")
    with tiled_errors(address):
        # First by hand: Tiled's client would go on trying for half a minute.
        headers = {"Authorization": f"Apikey {key}"} if key else {}
        answer = httpx.get(address, headers=headers, follow_redirects=True)
        if answer.is_error:
            raise PublishingError(_refusal(address, answer.status_code))
        return from_uri(address, api_key=key)


def child(client: Any, *path: str) -> Any:
    """Return the container at a path below a client, creating what is missing of it."""
    for key in path:
        client = client[key] if key in client else client.create_container(key)
    return client


@contextmanager
def tiled_errors(where: Any) -> Iterator[None]:
    """Turn what Tiled's client raises into a `PublishingError` that never shows a key.

    Parameters
    ----------
    where : str or Tiled client
        What was being read or written.
    """
    import httpx

    uri = split_key(where if isinstance(where, str) else str(where.uri))[0]
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise PublishingError(_refusal(uri, error.response.status_code)) from None
    except httpx.HTTPError as error:
        raise PublishingError(
            f"Tiled at {uri} cannot be reached ({type(error).__name__}): check that the server runs there"
        ) from None


def _refusal(uri: str, status: int) -> str:
    if status in REFUSED:
        return f"Tiled at {uri} refused the API key: give one that may read and write there"
    return f"Tiled at {uri} answered with status {status}: see the server's log"
