"""Topics of the device protocol v1: `tw/v1/{device_id}/...`."""

import re
from functools import lru_cache
from typing import Any, NamedTuple

PREFIX = "tw/v1"
UP_CHANNELS = ("hello", "health", "result", "event")
_INBOUND = re.compile(rf"{PREFIX}/([A-Z0-9-]{{4,32}})/(?:up/({'|'.join(UP_CHANNELS)})|(presence))")


class Inbound(NamedTuple):
    """Where a message came from: the device that the topic names, and the channel (hello, ..., presence)."""

    device_id: str
    channel: str


LONGEST = len(f"{PREFIX}/up/presence") + 34  # of a topic on which a terminal may speak; no longer one is remembered


def parse_inbound(topic: str) -> Inbound | None:
    """Return device and channel, or None where the topic is none on which a terminal may speak."""
    return _parse(topic) if len(topic) <= LONGEST else None


@lru_cache(maxsize=100_000)
def _parse(topic: str) -> Inbound | None:
    match = _INBOUND.fullmatch(topic)
    return Inbound(match[1], match[2] or match[3]) if match else None


def remembered() -> Any:
    """Return how many topics are remembered (functools' CacheInfo)."""
    return _parse.cache_info()


def up(device_id: str, channel: str) -> str:
    return f"{PREFIX}/{device_id}/up/{channel}"


def presence(device_id: str) -> str:
    return f"{PREFIX}/{device_id}/presence"


def command(device_id: str) -> str:
    return f"{PREFIX}/{device_id}/dn/command"


def ack(device_id: str) -> str:
    return f"{PREFIX}/{device_id}/dn/ack"


def down(device_id: str) -> str:
    """Return the filter to which a terminal subscribes."""
    return f"{PREFIX}/{device_id}/dn/+"


# What the server subscribes to.
INBOUND_FILTERS = (f"{PREFIX}/+/up/+", f"{PREFIX}/+/presence")
