"""Reaching a Tiled server, and what to say when it refuses or is not there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from ptycho_plugin.errors import PublishingError, TiledUnreachableError

REFUSED = (401, 403)
CONFLICT = 409
SERVERS_FAULT = 500
"""Statuses from here on, with 429 for a server that is busy, say nothing against the request."""
BUSY = 429


def split_key(uri: str) -> tuple[str, str | None]:
    """Return an address without its secrets, and the API key that its query held.

    What Tiled does not look at (a user's name and password, a fragment) goes with the query.

    Raises
    ------
    PublishingError
        If it is no address.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise PublishingError(_no_address(uri.partition("?")[0], error)) from None
    keys = parse_qs(parts.query).get("api_key")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, query="", fragment="")), keys[0] if keys else None


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
        If it is no address of a Tiled tree, nothing answers there, a key is missing, or it is refused.
    """
    import httpx

    address, key = split_key(uri)
    with tiled_errors(address), ExitStack() as failed:
        httpx.get(address)  # Tiled's own first request would be tried for half a minute
        context, path = _context(address, api_key or key or os.environ.get("TILED_API_KEY"))
        failed.callback(context.close)
        client = _tree(address, context, path)
        failed.pop_all()
    return client


def _context(address: str, key: str | None) -> tuple[Any, list[str]]:
    """Return Tiled's context of a server, and the path that the address names there."""
    from tiled.client.context import Context

    if key and not re.fullmatch(r"\w+", key, re.ASCII):
        raise PublishingError(f"the API key for Tiled at {address} is none (a stray space?): copy it again")
    try:
        context, path = Context.from_any_uri(address, api_key=key)
    except (KeyError, ValueError):  # what cannot be read as Tiled's description of itself
        raise PublishingError(f"{address} is no Tiled server: check the address") from None
    return context, path


def _tree(address: str, context: Any, path: list[str]) -> Any:
    from tiled.client.constructors import from_context
    from tiled.client.container import Container
    from tiled.client.context import CannotPrompt, PasswordRejected

    security = context.server_info.authentication
    no_key = PublishingError(f"Tiled at {address} asks for an API key: set TILED_API_KEY")
    if security.required and not (security.providers or context.authenticated):
        raise no_key
    try:
        client = from_context(context, node_path_parts=path)
    except (CannotPrompt, PasswordRejected):
        raise no_key from None
    if not isinstance(client, Container):
        raise PublishingError(f"{address} is no tree but a single item: give the address of the server")
    return client


def child(client: Any, *path: str, spec: Any = None) -> Any:
    """Return the container at a path below a client, creating what is missing of it, with a spec if given."""
    for key in path:
        if key not in client:
            _create(client, key, [] if spec is None else [spec])
        client = client[key]
    return client


def _create(client: Any, key: str, specs: list[Any]) -> None:
    import httpx

    try:
        client.create_container(key, specs=specs)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != CONFLICT:  # another process was first
            raise


@contextmanager
def tiled_errors(where: Any) -> Iterator[None]:
    """Turn what Tiled's client raises into a `PublishingError` that never shows a key.

    It is a `TiledUnreachableError` where the same may work later.

    Parameters
    ----------
    where : str or Tiled client
        What was being read or written.
    """
    import httpx

    uri = split_key(where if isinstance(where, str) else str(where.uri))[0]
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise PublishingError(_no_address(uri, error)) from None
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        kind = TiledUnreachableError if status >= SERVERS_FAULT or status == BUSY else PublishingError
        raise kind(_refusal(uri, status)) from None
    except httpx.HTTPError as error:
        raise TiledUnreachableError(
            f"Tiled at {uri} cannot be reached ({type(error).__name__}): check that the server runs there"
        ) from None


def _no_address(uri: str, error: Exception) -> str:
    return f"{uri!r} is no address of a Tiled tree ({error}): give one like http://127.0.0.1:8000/api/v1"


def _refusal(uri: str, status: int) -> str:
    if status in REFUSED:
        return f"Tiled at {uri} refused the API key: give one that is valid there and may do this"
    return f"Tiled at {uri} answered with status {status}: see the server's log"
