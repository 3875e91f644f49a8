"""Terminals with a connection each and little around it: ten thousand in one process, where a full MQTT client takes three files
and a hundred kilobytes each and its own processor time would be what is measured."""

import asyncio
import random
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from terminals.link.protocol import frames
from terminals.simulator.device import Device, Outgoing

CONNACK_OK = b"\x20\x02\x00\x00"
KEEP_ALIVE_SECONDS = 150
FIRST_READING_WITHIN_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 8.0  # as the simulator's
CONNECTING_AT_ONCE = 200


class Broker(NamedTuple):
    """Where terminals connect, and how each proves itself there (None: it need not)."""

    host: str
    port: int
    context: Callable[[Device], ssl.SSLContext] | None


class Socket(asyncio.Protocol):
    """A terminal's connection: MQTT 3.1.1 as far as a terminal needs it (OASIS; CONNECT 3.1, SUBSCRIBE 3.8)."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.closed = asyncio.get_running_loop().create_future()
        self.connected = asyncio.get_running_loop().create_future()
        self._rest, self._packet_id = b"", 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        begin = _text("MQTT") + b"\x04\x02" + struct.pack("!H", KEEP_ALIVE_SECONDS)
        transport.write(_packet(0x10, begin + _text(self.device.memory.device_id)))

    def data_received(self, data: bytes) -> None:
        if not self.connected.done():
            if data[:4] != CONNACK_OK:
                self._close()
                return
            self.connected.set_result(True)
            data = data[4:]
            self._write(_packet(0x82, self._next_id() + _text(self.device.memory.topics["down"]) + b"\x01"))
            self.say([self.device.presence("online"), self.device.hello()])
        cut = frames.cut(self._rest + data)
        self._rest = cut.rest
        for heard in cut.publishes:
            self._write(frames.puback_frames([heard.packet_id]))
            self.say(self.device.receive(heard.topic.decode(), heard.payload))

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.connected, self.closed):
            if not future.done():
                future.set_result(False)

    def say(self, messages: Sequence[Outgoing]) -> None:
        self._write(
            frames.publish_frames(
                frames.Publish(struct.unpack("!H", self._next_id())[0], one.topic.encode(), one.payload)
                for one in messages
            )
        )

    def _next_id(self) -> bytes:
        self._packet_id = self._packet_id % 65535 + 1
        return struct.pack("!H", self._packet_id)

    def _write(self, packet: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packet)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def _live(device: Device, broker: Broker, connecting: asyncio.Semaphore, reading_seconds: float) -> None:
    """Connect, say hello, then a reading now and then; come back with full jitter."""
    failures = 0
    loop, context = asyncio.get_running_loop(), broker.context(device) if broker.context else None
    while True:
        failures += 1
        with suppress(OSError, TimeoutError):
            async with connecting, asyncio.timeout(30):
                _, wire = await loop.create_connection(lambda: Socket(device), broker.host, broker.port, ssl=context)
                stands = await wire.connected
            pause = random.uniform(0, FIRST_READING_WITHIN_SECONDS)
            while stands and not wire.closed.done():
                failures = 0
                await asyncio.wait([wire.closed], timeout=pause)
                if not wire.closed.done():
                    wire.say([device.health()])
                pause = reading_seconds
        await asyncio.sleep(random.uniform(0.2, min(2.0**failures, LONGEST_PAUSE_SECONDS)))


def live(devices: Sequence[Device], broker: Broker, reading_seconds: float) -> None:
    """Let them live, in a thread that ends with the process."""

    async def all_of_them() -> None:
        connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)
        await asyncio.gather(*(_live(device, broker, connecting, reading_seconds) for device in devices))

    threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True).start()


def _text(said: str) -> bytes:
    return struct.pack("!H", len(said)) + said.encode()


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((kind, len(body))) + body
