"""One of a link process's ways in: a thread that collects messages, gives them to an inbox, and acknowledges what is committed.

A process has several (LINK_INBOXES), each with lanes of its own: while the database works for one, another parses. A terminal's
messages all come by one lane, and so by one of them.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

import psycopg.errors
from django.db import InterfaceError, OperationalError, connection

from terminals.link import services
from terminals.link.heartbeat import Work
from terminals.link.inbox import Inbox
from terminals.link.limits import Meter
from terminals.link.mqtt import BrokerConnection, Incoming, NotConnected
from terminals.link.protocol import topics
from terminals.link.routes import routes

logger = logging.getLogger(__name__)
MOST_AT_ONCE = 500


class Intake:
    """Takes messages from `queue` until told to stop; `acknowledge` tells the broker what is committed, `out` tells terminals."""

    def __init__(
        self,
        queue: "SimpleQueue[list[Incoming]]",
        acknowledge: Callable[[Sequence[Incoming]], None],
        out: BrokerConnection,
    ) -> None:
        self._queue = queue
        self._acknowledge = acknowledge
        self._out = out
        self._inbox = Inbox(routes)
        self._meter = Meter()
        self._stop = threading.Event()
        self._busy_since: float | None = None
        self._oldest: datetime | None = None
        self._taken = self._refused = 0
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    @property
    def busy_seconds(self) -> float:
        """For how long it has had the same messages in hand."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    @property
    def work(self) -> Work:
        """What it has done so far; any thread may ask."""
        oldest = self._oldest
        return Work((datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0, self._taken, self._refused)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the messages in hand, then end; `join` waits for it."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if messages := self._collect():
                    self._busy_since, self._oldest = time.monotonic(), messages[0].received_at
                    self._take(messages)
                    self._busy_since = self._oldest = None
            connection.close()
        except BaseException:  # a parser of another language may end a thread by what is no Exception
            logger.exception("an inbox failed; the process leaves, to be started again")
            os._exit(1)

    def _collect(self) -> list[Incoming]:
        """Wait for messages, then take along what has come meanwhile, until there are MOST_AT_ONCE or a few more.

        It does not linger for more: a broker that allows few messages in flight would only wait for us. Under load
        they grow in number by themselves, because the next ones gather while these commit.
        """
        messages: list[Incoming] = []
        try:
            messages += self._queue.get(timeout=0.5)
            while len(messages) < MOST_AT_ONCE:
                messages += self._queue.get_nowait()
        except Empty:
            pass
        return messages

    def _take(self, messages: list[Incoming]) -> None:
        """Commit messages, however long the database takes to come back; then acknowledge them."""
        excess = self._meter.measure(messages)
        while not self._stop.is_set():
            try:
                taken = self._inbox.take(messages, excess)
                break
            except (OperationalError, InterfaceError) as error:
                if isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                    continue  # PostgreSQL has undone it; nothing is away
                logger.warning("the inbox waits for the database: %s", str(error).splitlines()[0])
                connection.close()
                self._stop.wait(1)
        else:
            return
        self._acknowledge(messages)
        self._taken, self._refused = self._taken + len(messages), self._refused + taken.dead
        if taken.dead:
            logger.warning("%d of %d messages became dead letters; the admin shows them", taken.dead, len(messages))
        if answered := taken.events.keys() | taken.not_taken.keys():
            acks = [
                (topics.ack(to), services.signed_ack(to, taken.events.get(to, ()), taken.not_taken.get(to, ())))
                for to in answered
            ]
            with suppress(NotConnected):  # the terminals send these events again and get their acks then
                self._out.publish(acks)
