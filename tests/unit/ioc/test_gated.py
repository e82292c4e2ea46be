"""Counters and their gate, without a network."""

import asyncio
from typing import Any

import pytest

from ptycho_plugin.ioc.encoder import EncoderCapture
from ptycho_plugin.ioc.physics import Reading


class Gate:
    """Hands out readings that a test fills in."""

    def __init__(self) -> None:
        self.readings: list[asyncio.Future[Reading]] = []

    def next_reading(self) -> asyncio.Future[Reading]:
        self.readings.append(asyncio.get_running_loop().create_future())
        return self.readings[-1]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def encoder(gate: Any) -> EncoderCapture:
    return EncoderCapture(prefix="ENC:", gate=gate)


async def arm(encoder: EncoderCapture, value: int = 1) -> "asyncio.Task[None]":
    task = asyncio.create_task(encoder.armed.write(value))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def test_it_measures_the_next_gate_and_is_then_not_armed(encoder: EncoderCapture, gate: Gate) -> None:
    async def go() -> None:
        task = await arm(encoder)
        assert encoder.armed.value == 1
        assert not task.done()
        gate.readings[0].set_result(Reading(0.1, (1.5, -2.5), 7.0))
        await task

    asyncio.run(go())
    assert (encoder.y.value, encoder.x.value, encoder.count.value, encoder.armed.value) == (1.5, -2.5, 1, 0)


def test_it_can_be_disarmed(encoder: EncoderCapture) -> None:
    async def go() -> None:
        task = await arm(encoder)
        await encoder.armed.write(0)
        await task

    asyncio.run(go())
    assert (encoder.armed.value, encoder.count.value) == (0, 0)


def test_armed_twice_it_measures_once(encoder: EncoderCapture, gate: Gate) -> None:
    async def go() -> None:
        first = await arm(encoder)
        second = await arm(encoder)
        await first
        assert encoder.armed.value == 1
        gate.readings[1].set_result(Reading(0.1, (3.0, 4.0), 7.0))
        await second

    asyncio.run(go())
    assert (encoder.y.value, encoder.count.value, encoder.armed.value) == (3.0, 1, 0)


def test_an_exposure_that_failed_is_not_measured(encoder: EncoderCapture, gate: Gate) -> None:
    async def go() -> None:
        task = await arm(encoder)
        gate.readings[0].set_exception(ValueError("nothing was recorded here"))
        with pytest.raises(ValueError, match="nothing was recorded"):
            await task

    asyncio.run(go())
    assert (encoder.armed.value, encoder.count.value) == (0, 0)
