"""How much one terminal may say in a minute: what is beyond it is refused unread, so that it delays no other.

Nothing is lost by it: an event without an end-to-end acknowledgement stays with its terminal, which is told when to send it
again; readings that are left out are followed by newer ones.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from terminals.link.mqtt import Incoming

WINDOW_SECONDS = 60.0
# By channel. A terminal of the default settings sends 4 readings; one that was offline for days sends its events at once.
A_MINUTE = {"hello": 20, "health": 120, "presence": 40, "result": 300, "event": 600}
BEYOND_ALL = 1_000_000  # of what is no channel, and refused for that


class Excess(NamedTuple):
    """What was too much: messages, by id(), and of these each sender's first on a channel in this minute; and for how many
    seconds more it will be too much."""

    messages: frozenset[int] = frozenset()
    first: frozenset[int] = frozenset()
    seconds: int = 0


NONE = Excess()


class Meter:
    """Counts what comes on each topic. It belongs to one intake: a terminal's messages all come to it."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._since = 0.0

    def measure(self, messages: Sequence[Incoming]) -> Excess:
        """Count messages, each once, and return which of them are beyond their sender's limit."""
        now = time.monotonic()
        if now - self._since > WINDOW_SECONDS:
            self._counts, self._since = {}, now
        counts, beyond, first = self._counts, [], []
        for message in messages:
            topic = message.topic
            counts[topic] = count = counts.get(topic, 0) + 1
            over = count - A_MINUTE.get(topic[topic.rfind("/") + 1 :], BEYOND_ALL)
            if over > 0:
                beyond.append(id(message))
                if over == 1:
                    first.append(id(message))
        if not beyond:
            return NONE
        return Excess(frozenset(beyond), frozenset(first), max(1, round(self._since + WINDOW_SECONDS - now)))
