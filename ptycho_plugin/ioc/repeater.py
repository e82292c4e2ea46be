"""Answers clients that look for a Channel Access repeater, so that they start no process of their own."""

from __future__ import annotations

import asyncio
import struct

HEADER = struct.Struct(">HHHHII")
REGISTER, CONFIRM = 24, 17


class Repeater(asyncio.DatagramProtocol):
    """Confirms every registration; with one server, and that on this machine, there is nothing to repeat."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Confirm a registration: an empty datagram was one long ago."""
        if not data or (len(data) >= HEADER.size and HEADER.unpack_from(data)[0] == REGISTER):
            client = HEADER.unpack_from(data)[5] if data else 0
            self._transport.sendto(HEADER.pack(CONFIRM, 0, 0, 0, 0, client), address)  # type: ignore[attr-defined]
