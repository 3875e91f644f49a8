"""Topics of the device protocol v1: `tw/v1/{shard}/{device_id}/...`.

The shard is made from the device id, so that processes can divide the fleet among them by plain subscriptions, on any
broker. To a terminal it is opaque: it is told its topics at enrolment.
"""

import hashlib
import re
from functools import lru_cache
from typing import Any, NamedTuple

PREFIX = "tw/v1"
SHARDS = 256
UP_CHANNELS = ("hello", "health", "result", "event")
_INBOUND = re.compile(rf"{PREFIX}/([0-9a-f]{{2}})/([A-Z0-9-]{{4,32}})/(?:up/({'|'.join(UP_CHANNELS)})|(presence))")


class Inbound(NamedTuple):
    """Where a message came from: the device that the topic names, and the channel (hello, ..., presence)."""

    device_id: str
    channel: str


# Of a topic on which a terminal may speak; no longer one is remembered.
LONGEST = len(f"{PREFIX}/00//up/presence") + 32


def shard(device_id: str) -> str:
    """Return a device's shard: the first byte of SHA-256 of its id, as two hex digits."""
    return hashlib.sha256(device_id.encode()).hexdigest()[:2]


def parse_inbound(topic: str) -> Inbound | None:
    """Return device and channel, or None where the topic is none on which a terminal may speak."""
    return _parse(topic) if len(topic) <= LONGEST else None


@lru_cache(maxsize=100_000)
def _parse(topic: str) -> Inbound | None:
    match = _INBOUND.fullmatch(topic)
    if match is None or match[1] != shard(match[2]):
        return None
    return Inbound(match[2], match[3] or match[4])


def remembered() -> Any:
    """Return how many topics are remembered (functools' CacheInfo)."""
    return _parse.cache_info()


@lru_cache(maxsize=100_000)
def _of(device_id: str) -> str:
    return f"{PREFIX}/{shard(device_id)}/{device_id}"


def prefix(device_id: str) -> str:
    """Return what all topics of a device begin with."""
    return f"{_of(device_id)}/"


def up(device_id: str, channel: str) -> str:
    return f"{_of(device_id)}/up/{channel}"


def presence(device_id: str) -> str:
    return f"{_of(device_id)}/presence"


def command(device_id: str) -> str:
    return f"{_of(device_id)}/dn/command"


def ack(device_id: str) -> str:
    return f"{_of(device_id)}/dn/ack"


def down(device_id: str) -> str:
    """Return the filter to which a terminal subscribes."""
    return f"{_of(device_id)}/dn/+"


def told(device_id: str) -> dict[str, str]:
    """Return what a terminal is told of its topics: where it speaks (channel -> topic), and `down`, to which it subscribes."""
    up_topics = {channel: up(device_id, channel) for channel in UP_CHANNELS}
    return {**up_topics, "presence": presence(device_id), "down": down(device_id)}


def lane_filters(lane: int, lanes: int) -> list[str]:
    """Return what the server subscribes to for one of `lanes` (a divisor of SHARDS) equal sets of shards."""
    each = SHARDS // lanes
    shards = [f"{number:02x}" for number in range(lane * each, (lane + 1) * each)]
    return [f"{PREFIX}/{one}/+/{rest}" for one in shards for rest in ("up/+", "presence")]
