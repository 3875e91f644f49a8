"""The way in: a batch of raw messages -> parsed and verified -> handlers -> **commit** -> what may be acknowledged.

`take` owns the transaction. Whatever comes out of it is either committed once, or a dead letter with its reason; a
failing database raises, and the same batch is taken again. A message that makes a handler fail is found by halving
the batch, so that it alone becomes a dead letter.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection, transaction

from terminals.common.errors import Refusal
from terminals.estate.rules import LINKED_STATES
from terminals.link import handlers
from terminals.link.mqtt import Incoming
from terminals.link.protocol import messages, signing, topics
from terminals.link.routes import Received, routes

logger = logging.getLogger(__name__)
LOOK_UP = "SELECT device_id, id, state, public_key_pem FROM terminals_terminal WHERE device_id = ANY(string_to_array(%s, ','))"
REMEMBER = """
INSERT INTO link_seenmessage (message_id, terminal_id, signed)
SELECT * FROM json_to_recordset(%s) AS r(message_id uuid, terminal_id bigint, signed boolean) ON CONFLICT DO NOTHING
RETURNING message_id, terminal_id, signed
"""
BURY = """
INSERT INTO link_deadletter AS d (digest, topic, reason, detail, payload, payload_bytes, count)
VALUES (%s, %s, %s, %s, %s, %s, 1)
ON CONFLICT (digest) DO UPDATE SET count = d.count + 1, last_at = now(), reason = excluded.reason, detail = excluded.detail
"""


class Known(NamedTuple):
    """What the inbox must know of a sender."""

    terminal_id: int
    state: str
    public_key_pem: str


class Taken(NamedTuple):
    """What a committed batch came to: events to acknowledge end to end (device id -> message ids), and counts."""

    events: dict[str, list[UUID]]
    fresh: int
    dead: int


def take(batch: Sequence[Incoming], *, again: bool = False) -> Taken:
    """Commit a batch; raise OperationalError or InterfaceError where the database is away (take it again then)."""
    try:
        return _commit(batch)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if len(batch) == 1:
            if isinstance(error, IntegrityError) and not again:
                return take(batch, again=True)  # it met an operator who did the same thing: now it sees that
            if not isinstance(error, Refusal):
                logger.exception("a handler failed on a message on %s", batch[0].topic)
            return _bury_only(batch[0], error)
        half = len(batch) // 2
        return _merge(take(batch[:half]), take(batch[half:]))


@transaction.atomic
def _commit(batch: Sequence[Incoming]) -> Taken:
    accepted, refused = _sort_out(batch)
    fresh = _not_seen(accepted)
    _dispatch(fresh)
    for message, refusal in refused:
        _bury(message, refusal.reason, refusal.detail)
    events: dict[str, list[UUID]] = defaultdict(list)
    for device_id, received in accepted:
        if messages.INBOUND[received.envelope.type][0] == "event":
            events[device_id].append(received.envelope.id)
    return Taken(events, len(fresh), len(refused))


def _sort_out(batch: Sequence[Incoming]) -> tuple[list[tuple[str, Received]], list[tuple[Incoming, Refusal]]]:
    """Part the batch into (device id, message) that may be processed and those refused."""
    sources = [topics.parse_inbound(message.topic) for message in batch]
    known = _look_up({source.device_id for source in sources if source})
    accepted, refused = [], []
    for message, source in zip(batch, sources, strict=True):
        try:
            if source is None:
                raise Refusal("wrong_topic", "terminals do not speak on this topic")
            accepted.append((source.device_id, _receive(message, source, known)))
        except Refusal as refusal:
            refused.append((message, refusal))
    return accepted, refused


def _receive(message: Incoming, source: topics.Inbound, known: dict[str, Known]) -> Received:
    sender = known.get(source.device_id)
    if sender is None:
        raise Refusal("unknown_terminal", f"no terminal has the device id {source.device_id}")
    if sender.state not in LINKED_STATES:
        raise Refusal("not_in_service", f"the terminal is {sender.state}")
    envelope, body = messages.parse(message.payload, source.channel)
    if messages.INBOUND[envelope.type][2]:
        try:
            signing.verify_envelope(message.payload, signing.public_key(sender.public_key_pem))
        except signing.BadSignature as error:
            raise Refusal("bad_signature", str(error)) from None
    return Received(sender.terminal_id, envelope, body, message.received_at)


def _look_up(device_ids: Iterable[str]) -> dict[str, Known]:
    with connection.cursor() as cursor:
        cursor.execute(LOOK_UP, [",".join(device_ids)])  # a device id has no comma, and a text travels faster
        return {row[0]: Known(*row[1:]) for row in cursor.fetchall()}


def _not_seen(accepted: Sequence[tuple[str, Received]]) -> list[Received]:
    """Remember the messages' ids and return those that were not known, in order, each once."""
    if not accepted:
        return []
    by_id = {
        (received.envelope.id, received.terminal_id, messages.INBOUND[received.envelope.type][2]): received
        for _, received in reversed(accepted)
    }
    # The same order in every link process, or two of them could wait for each other's rows.
    keys = sorted(by_id)
    rows = [dict(zip(("message_id", "terminal_id", "signed"), key, strict=True)) for key in keys]
    with connection.cursor() as cursor:
        cursor.execute(REMEMBER, [messages.encode(rows).decode()])
        new = by_id.keys() if cursor.rowcount == len(keys) else set(cursor.fetchall())
    return [received for key, received in reversed(by_id.items()) if key in new]


def _dispatch(fresh: Sequence[Received]) -> None:
    """Give each type's messages to its handlers, in the order of routes: money before the outcome that speaks of it."""
    by_type: dict[str, list[Received]] = defaultdict(list)
    for received in fresh:
        by_type[received.envelope.type].append(received)
    heard = {received.terminal_id for received in fresh if received.envelope.type != "presence"}
    if heard:
        handlers.touch_sessions(heard, fresh[-1].received_at)
    for name, handle_all in routes.messages.items():
        if name in by_type:
            for handle in handle_all:
                handle(by_type[name])


@transaction.atomic
def _bury_only(message: Incoming, error: Exception) -> Taken:
    if isinstance(error, Refusal):
        _bury(message, error.reason, error.detail)
    else:
        kind = "database" if isinstance(error, DatabaseError) else "handler"
        _bury(message, f"{kind}_error", f"{type(error).__name__}: {error}")
    return Taken({}, 0, 1)


def _bury(message: Incoming, reason: str, detail: str) -> None:
    """Keep what could not be taken. The same bytes on the same topic only raise the count."""
    digest = hashlib.sha256(message.topic.encode() + b"\0" + message.payload).hexdigest()
    payload = message.payload[: messages.MAX_BYTES]
    topic = message.topic.replace("\0", "\ufffd")[:200]
    detail = detail.replace("\0", "\ufffd")[:500]
    with connection.cursor() as cursor:
        cursor.execute(BURY, [digest, topic, reason, detail, payload, len(message.payload)])


def _merge(first: Taken, second: Taken) -> Taken:
    events: dict[str, list[UUID]] = defaultdict(list)
    for part in (first.events, second.events):
        for device_id, ids in part.items():
            events[device_id] += ids
    return Taken(events, first.fresh + second.fresh, first.dead + second.dead)
