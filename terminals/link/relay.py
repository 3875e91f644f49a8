"""The way out: due commands are claimed with SKIP LOCKED under a lease, published, and marked sent on PUBACK.

A claim moves `next_attempt_at` to the time of the next attempt. That is the lease: should this process die before it
publishes, the command becomes due again by itself. Many relays may run side by side.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from queue import Empty
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from psycopg import sql

from terminals.common.sql import direct_session
from terminals.common.transitions import move
from terminals.estate.rules import COMMANDED_STATES, LINKED_STATES
from terminals.link import traced
from terminals.link.models import Command
from terminals.link.mqtt import BrokerConnection, NotConnected
from terminals.link.outbox import NOTIFY_CHANNEL
from terminals.link.protocol import topics
from terminals.link.protocol.messages.enrolment import OF_IDENTITY
from terminals.link.protocol.states import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    OPEN_STATES,
    CommandState,
    CommandTransition,
)

logger = logging.getLogger(__name__)
IN_FLIGHT = 1000  # commands published without PUBACK
IDLE_SECONDS = 1.0  # how long a lost NOTIFY can hold a command back


class Claimed(NamedTuple):
    """A command under this relay's lease."""

    command_id: UUID
    type: str
    traceparent: str
    device_id: str
    payload: bytes


class Published(NamedTuple):
    """A command on its way to the broker, without its payload: a thousand of them may be."""

    command_id: UUID
    type: str
    traceparent: str
    at: datetime


# Raw: the ORM knows no update that returns rows, and the pause doubles in the database.
CLAIM = """
WITH due AS (
    SELECT o.id FROM link_command o JOIN terminals_terminal t ON t.id = o.terminal_id
       AND (t.state = ANY(%(commanded)s) OR (t.state = ANY(%(linked)s) AND o.type = ANY(%(of_identity)s)))
     WHERE next_attempt_at <= %(now)s AND expires_at > %(now)s AND o.state = ANY(%(open)s)
     ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE OF o SKIP LOCKED
)
UPDATE link_command c
   SET attempts = least(attempts + 1, 32767),
       next_attempt_at = %(now)s::timestamptz
                       + interval '1 second' * least(%(first)s * 2 ^ least(c.attempts, 10), %(longest)s)
  FROM due, terminals_terminal t
 WHERE c.id = due.id AND t.id = c.terminal_id
RETURNING c.id, c.type, c.traceparent, t.device_id, c.payload
"""


@transaction.atomic
def claim(limit: int, now: datetime) -> list[Claimed]:
    """Lease up to `limit` due commands, the longest due first."""
    parameters: dict[str, Any] = {
        "now": now,
        "limit": limit,
        "open": list(OPEN_STATES),
        "commanded": list(COMMANDED_STATES),
        "linked": list(LINKED_STATES),
        "of_identity": list(OF_IDENTITY),
        "first": FIRST_RETRY_SECONDS,
        "longest": LONGEST_RETRY_SECONDS,
    }
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, parameters)
        return [Claimed(*row) for row in cursor.fetchall()]


@transaction.atomic
def mark_sent(command_ids: list[UUID], now: datetime) -> list[UUID]:
    """Note the broker's PUBACK, which says that the broker has the command, nothing of the terminal. Return those that somebody
    else holds, to be noted later: an inbox that holds one command may wait for another, and the two would wait in a circle."""
    free = Command.objects.filter(pk__in=command_ids).select_for_update(skip_locked=True)
    if move(Command.objects.filter(pk__in=free), CommandTransition.send, sent_at=now) == len(command_ids):
        return []
    return list(Command.objects.filter(pk__in=command_ids, state=CommandState.QUEUED).values_list("pk", flat=True))


class Relay:
    """One relay of a link process, in a thread of its own with its own database connections."""

    def __init__(self, broker: BrokerConnection) -> None:
        self._broker = broker
        self._pending: dict[int, Published] = {}
        self._unmarked: list[UUID] = []  # acknowledged by the broker, and held by somebody when that was to be noted
        self._generation = 0
        self._listener: psycopg.Connection | None = None

    def run(self, stopping: Callable[[], bool]) -> None:
        """Relay until told to stop; a database or broker that is away is waited for."""
        while not stopping():
            try:
                if not self.turn():
                    self._wait_for_work()
            except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
                logger.warning("the relay waits for the database: %s", str(error).splitlines()[0])
                self._drop_connections()
                time.sleep(1)
            except NotConnected:
                time.sleep(0.2)  # the claimed ones come due again when their lease ends
        self._drop_connections()

    def turn(self) -> bool:
        """Mark what was acknowledged, claim and publish what is due; return whether there was anything to do."""
        self._enter(self._broker.generation)
        acknowledged = self._collect_acknowledged()
        room = IN_FLIGHT - len(self._pending)
        claimed = claim(room, timezone.now()) if room > IN_FLIGHT // 4 and self._broker.connected.is_set() else []
        if claimed:
            sent = self._broker.publish([(topics.command(c.device_id), bytes(c.payload)) for c in claimed])
            self._enter(sent.generation)
            now = timezone.now()
            published = (Published(c.command_id, c.type, c.traceparent, now) for c in claimed)
            self._pending.update(zip(sent.packet_ids, published, strict=True))
        return bool(claimed or acknowledged)

    def _enter(self, generation: int) -> None:
        """After a reconnect no PUBACK comes for what was in flight; leases, not memory, bring it back."""
        if generation != self._generation:
            self._generation = generation
            self._pending.clear()

    def _collect_acknowledged(self) -> int:
        """Take the PUBACKs that have come; others' (acks to terminals) are not ours to note."""
        done: list[Published] = []
        while not self._broker.published.empty():
            generation, packet_ids = self._broker.published.get()
            if generation == self._generation:
                done += [self._pending.pop(packet_id) for packet_id in packet_ids if packet_id in self._pending]
        if done or self._unmarked:
            self._unmarked = mark_sent([*self._unmarked, *(one.command_id for one in done)], timezone.now())
        for one in done:
            traced.sent(one.type, one.command_id, one.traceparent, one.at)
        return len(done)

    def _wait_for_work(self) -> None:
        """Sleep until a NOTIFY, a PUBACK for a pending command, or IDLE_SECONDS have passed."""
        if self._pending or self._unmarked:
            with suppress(Empty):
                self._broker.published.put(self._broker.published.get(timeout=0.05))
            return
        if self._listener is None:
            self._listener = direct_session()
            self._listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(NOTIFY_CHANNEL)))
        for _ in self._listener.notifies(timeout=IDLE_SECONDS, stop_after=1):
            pass

    def _drop_connections(self) -> None:
        connection.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
