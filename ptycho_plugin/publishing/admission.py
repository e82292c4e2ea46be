"""Several keys for a Tiled server that has one: what each may do is asked where Tiled asks it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fastapi import Depends, FastAPI, HTTPException
from tiled.server.authentication import (
    get_api_key,
    get_api_key_websocket,
    get_current_principal,
    get_current_principal_websocket,
    get_current_scopes,
    get_current_scopes_websocket,
    move_api_key,
)

from ptycho_plugin.publishing.server_keys import SCOPES

UNAUTHORIZED = 401


def admit(app: FastAPI, keys: Mapping[str, str]) -> None:
    """Let a server in single-user mode know several keys, and what each may do.

    Parameters
    ----------
    app : FastAPI
        Of Tiled, whose own key is one of them: what does not ask here knows that one alone.
    keys : mapping of str to str
        By the names in `SCOPES`.
    """
    # Of digests, so that how long a look-up takes says nothing of a key.
    allowed = {_digest(key): frozenset(SCOPES[name]) for name, key in keys.items()}

    def scopes_of(key: str | None) -> frozenset[str]:
        return allowed.get(_digest(key or ""), frozenset())

    def refuse_unknown(key: str | None) -> None:
        # The scopes of a subscription are checked by access policies alone, of which there is none.
        if key is not None and not scopes_of(key):
            raise HTTPException(UNAUTHORIZED, "Invalid API key")

    async def scopes(key: str | None = Depends(get_api_key)) -> frozenset[str]:
        return scopes_of(key)

    async def scopes_websocket(key: str | None = Depends(get_api_key_websocket)) -> frozenset[str]:
        return scopes_of(key)

    async def principal(key: str | None = Depends(get_api_key), _: None = Depends(move_api_key)) -> None:
        refuse_unknown(key)

    async def principal_websocket(key: str | None = Depends(get_api_key_websocket)) -> None:
        refuse_unknown(key)

    app.dependency_overrides |= {
        get_current_scopes: scopes,
        get_current_scopes_websocket: scopes_websocket,
        get_current_principal: principal,
        get_current_principal_websocket: principal_websocket,
    }


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
