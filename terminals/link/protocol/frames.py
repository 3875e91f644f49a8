"""MQTT 3.1.1 packets in bulk, pure: a received chunk is cut into whole packets, and many packets are built as one send.

paho reads a packet byte by byte and sends each acknowledgement by itself, which costs several times what the rest of the
link needs for a message. Only the three packets that carry the traffic are known here (OASIS MQTT 3.1.1: PUBLISH 3.3,
PUBACK 3.4, remaining length 2.2.3); every other one is handed on as it is.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

PUBLISH, PUBACK = 0x30, 0x40
QOS_MASK, QOS_1 = 0x06, 0x02


class Malformed(Exception):
    """Bytes that no MQTT broker may send; the connection cannot be trusted to be in step any more."""


class Publish(NamedTuple):
    """A received PUBLISH. `packet_id` is 0 at QoS 0, where there is nothing to acknowledge."""

    packet_id: int
    topic: bytes
    payload: bytes


class Cut(NamedTuple):
    """What a chunk held: messages, packet ids that the broker acknowledged, other packets, and an unfinished rest."""

    publishes: list[Publish]
    acknowledged: list[int]
    others: list[tuple[int, bytes]]
    rest: bytes


def cut(chunk: bytes) -> Cut:
    """Cut received bytes into packets; raise Malformed where they cannot be MQTT."""
    publishes: list[Publish] = []
    acknowledged: list[int] = []
    others: list[tuple[int, bytes]] = []
    at, size = 0, len(chunk)
    while size - at >= 2:
        header = _remaining_length(chunk, at + 1)
        if header is None:
            break
        length, start = header
        end = start + length
        if end > size:
            break
        command = chunk[at]
        if command & 0xF0 == PUBLISH:
            publishes.append(_publish(chunk, command, start, end))
        elif command == PUBACK and length == 2:
            acknowledged.append(chunk[start] << 8 | chunk[start + 1])
        else:
            others.append((command, chunk[start:end]))
        at = end
    return Cut(publishes, acknowledged, others, chunk[at:])


def _remaining_length(chunk: bytes, at: int) -> tuple[int, int] | None:
    """Return a packet's remaining length and where its content starts, or None while that is not all here."""
    length = chunk[at]
    if length < 0x80:
        return length, at + 1
    length &= 0x7F
    for shift in (7, 14, 21):
        at += 1
        if at >= len(chunk):
            return None
        length |= (chunk[at] & 0x7F) << shift
        if chunk[at] < 0x80:
            return length, at + 1
    raise Malformed("a remaining length of more than four bytes")


def _publish(chunk: bytes, command: int, start: int, end: int) -> Publish:
    topic_at = start + 2
    content_at = topic_at + (chunk[start] << 8 | chunk[start + 1]) if end - start >= 2 else end + 1
    packet_id = 0
    if command & QOS_MASK:
        content_at += 2
        if content_at <= end:
            packet_id = chunk[content_at - 2] << 8 | chunk[content_at - 1]
    if content_at > end:
        raise Malformed("a PUBLISH that ends within its header")
    return Publish(packet_id, chunk[topic_at : content_at - 2 if packet_id else content_at], chunk[content_at:end])


def publish_frames(messages: Iterable[Publish]) -> bytes:
    """Return the PUBLISH packets of messages, at QoS 1, as one run of bytes."""
    parts: list[bytes] = []
    for packet_id, topic, payload in messages:
        length = 4 + len(topic) + len(payload)
        header = bytearray((PUBLISH | QOS_1,))
        while length > 0x7F:
            header.append(length & 0x7F | 0x80)
            length >>= 7
        header.append(length)
        header += struct.pack(">H", len(topic))
        parts += (bytes(header), topic, struct.pack(">H", packet_id), payload)
    return b"".join(parts)


def puback_frames(packet_ids: Iterable[int]) -> bytes:
    """Return the PUBACK packets of the given ids, in their order, as one run of bytes."""
    return b"".join(struct.pack(">BBH", PUBACK, 2, packet_id) for packet_id in packet_ids)
