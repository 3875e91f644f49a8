"""How much one terminal may say: what is beyond it is refused unread, so that it delays no other.

An event that is left out stays with its terminal, which has no end-to-end acknowledgement for it and is told when to send it
again; a hello is said again then; readings are followed by newer ones.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from terminals.link.mqtt import Incoming

WAIT_SECONDS = 60  # what a terminal is told to wait for
TOLD_EVERY_SECONDS = 600.0  # one that does not heed it must not fill its timeline
MOST_REMEMBERED = 200_000  # topics; when there are more, everybody begins anew


class Limit(NamedTuple):
    """What may come in a minute in the long run, and at once: what waited while the links were away comes within seconds."""

    a_minute: int
    at_once: int


# By channel. A terminal of the default settings sends 4 readings a minute, and 1,920 in eight hours.
LIMITS = {
    "hello": Limit(20, 200),
    "health": Limit(120, 7200),
    "presence": Limit(40, 400),
    "result": Limit(300, 1500),
    "event": Limit(600, 3000),
}
NO_LIMIT = Limit(1_000_000, 1_000_000)  # of what is no channel, and refused for that


class Excess(NamedTuple):
    """What was too much: messages, by id(), and of these the ones that their sender shall be told of, now and then a channel."""

    messages: frozenset[int] = frozenset()
    told: frozenset[int] = frozenset()


NONE = Excess()


class Meter:
    """Counts what comes on each topic. It belongs to one intake: a terminal's messages all come to it. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # topic -> how many may still come, as of when
        self._told: dict[str, float] = {}

    def measure(self, messages: Sequence[Incoming]) -> Excess:
        """Count messages, each once, and return which of them are beyond their sender's limit."""
        now, known, beyond, told = self._clock(), self._left, [], []
        if len(known) > MOST_REMEMBERED:
            known.clear()
            self._told.clear()
        for message in messages:
            topic = message.topic
            a_minute, at_once = LIMITS.get(topic[topic.rfind("/") + 1 :], NO_LIMIT)
            left, since = known.get(topic, (at_once, now))
            if since < now:
                left = min(at_once, left + (now - since) * a_minute / 60)
            if left >= 1:
                known[topic] = (left - 1, now)
                continue
            known[topic] = (left, now)
            beyond.append(id(message))
            if now - self._told.get(topic, -TOLD_EVERY_SECONDS) >= TOLD_EVERY_SECONDS:
                self._told[topic] = now
                told.append(id(message))
        return Excess(frozenset(beyond), frozenset(told)) if beyond else NONE
