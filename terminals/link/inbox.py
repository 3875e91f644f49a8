"""The way in: raw messages -> parsed and verified -> handlers -> **commit** -> what may be acknowledged.

`Inbox.take` owns the transaction. Whatever comes out of it is either committed once, or a dead letter with its reason; a
failing database raises, and the same messages are taken again. Hostile messages are refused one by one in the first
pass, and by handlers in theirs. Only a message that makes a handler **fail** is found by halving.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection, transaction

from terminals.common.errors import Refusal
from terminals.common.facts.kinds import FactBody
from terminals.common.facts.services import record_facts
from terminals.estate.rules import LINKED_STATES
from terminals.link import limits, seen, sessions
from terminals.link.dead_letters import Letter, store_dead_letters
from terminals.link.facts import CardDataRefused, TooMuchSaid
from terminals.link.limits import Excess
from terminals.link.mqtt import Incoming
from terminals.link.protocol import messages, signing, topics
from terminals.link.protocol.messages.base import Channel
from terminals.link.protocol.messages.link import NotTaken
from terminals.link.routes import DeviceRoutes, Received, Sender

logger = logging.getLogger(__name__)
TOUCH_PAUSE = timedelta(seconds=4)
MOST_REMEMBERED = 100_000
# Of one sender; what is beyond them is counted once more as `too_many`, and no longer kept.
LETTERS_A_MINUTE = 30


class BatchResult(NamedTuple):
    """What committed messages came to: by device id, the events to acknowledge end to end and what to tell it that was not taken;
    and counts."""

    events: dict[str, list[UUID]]
    fresh: int
    dead: int
    not_taken: dict[str, list[NotTaken]]


class Accepted(NamedTuple):
    """A message that passed the first pass, with where it came from."""

    incoming: Incoming
    device_id: str
    received: Received


class Sorted(NamedTuple):
    """What the first pass made of messages: `told` is what terminals shall hear of those refused, `facts` what operators shall
    (a refused message, its terminal, what happened)."""

    accepted: list[Accepted]
    letters: list[Letter]
    told: dict[str, list[NotTaken]]
    facts: list[tuple[Incoming, int, FactBody]]


class Inbox:
    """One link's way in. It owns its routes, and remembers whom it heard and how many letters it kept, after the commit."""

    def __init__(self, routes: DeviceRoutes) -> None:
        self._routes = routes
        # terminal id -> when its session was last written. Only a saving: the rows decide who is silent.
        self._touched: dict[int, datetime] = {}
        self._letters: Counter[str] = Counter()
        self._letters_since: datetime | None = None

    def take(self, incoming: Sequence[Incoming], excess: Excess = limits.NONE, *, again: bool = False) -> BatchResult:
        """Commit messages, but those of `excess`; raise OperationalError or InterfaceError where the database is away (take them
        again then)."""
        try:
            result, touched, letters = self._commit(incoming, excess)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - the one place that may: it counts, tells and goes on
            if len(incoming) == 1:
                if isinstance(error, IntegrityError) and not again:
                    # It met an operator who did the same: now it sees that.
                    return self.take(incoming, excess, again=True)
                self._keep_failed(incoming[0], error)
                return BatchResult({}, 0, 1, {})
            half = len(incoming) // 2
            return _merge(self.take(incoming[:half], excess), self.take(incoming[half:], excess))
        self._touched.update(touched)
        self._letters.update(letters)
        return result

    def _keep_failed(self, message: Incoming, error: Exception) -> None:
        """Make a letter of what a handler failed on, within its sender's limit; beyond it no traceback is written."""
        kind = "database" if isinstance(error, DatabaseError) else "handler"
        counts: Counter[str] = Counter()
        refusal = Refusal(f"{kind}_error", "%(error)s", error=f"{type(error).__name__}: {error}")
        failed = [Letter(message, refusal)]
        if kept := self._within_limit(failed, message.received_at, counts):
            logger.error("a handler failed on a message on %s", message.topic, exc_info=error)
            with transaction.atomic():
                store_dead_letters(kept)
        self._letters.update(counts)

    @transaction.atomic
    def _commit(
        self, incoming: Sequence[Incoming], excess: Excess
    ) -> tuple[BatchResult, dict[int, datetime], "Counter[str]"]:
        """Return what to answer, and what to remember once it is committed."""
        accepted, letters, told, facts = _sort_out(incoming, excess)
        fresh = _not_seen(accepted)
        touched = self._touch(fresh)
        letters += self._dispatch(fresh)
        counts: Counter[str] = Counter()
        store_dead_letters(kept := self._within_limit(letters, incoming[-1].received_at, counts))
        noted = {id(letter.message) for letter in kept}
        record_facts((pk, body) for message, pk, body in facts if id(message) in noted)
        events: dict[str, list[UUID]] = defaultdict(list)
        for _, device_id, received in accepted:
            if messages.INBOUND[received.envelope.type].channel == "event":
                events[device_id].append(received.envelope.id)
        return BatchResult(events, len(fresh), len(letters), told), touched, counts

    def _touch(self, fresh: Sequence[Accepted]) -> dict[int, datetime]:
        """Note whom these messages show to be alive; those noted a moment ago need no statement.

        A hello opens a session by itself.
        """
        heard = {a.received.terminal_id for a in fresh if a.received.envelope.type not in ("presence", "hello")}
        now = fresh[-1].received.received_at if fresh else None
        due = {pk for pk in heard if pk not in self._touched or (now and now - self._touched[pk] > TOUCH_PAUSE)}
        if not due or now is None:
            return {}
        if len(self._touched) > MOST_REMEMBERED:
            self._touched.clear()
        sessions.touch_sessions(due, now)
        return dict.fromkeys(due, now)

    def _dispatch(self, fresh: Sequence[Accepted]) -> list[Letter]:
        """Give each type's messages to its handlers, in the order of routes: money before the outcome that speaks of it.

        What a handler refuses the next ones do not get; it becomes a letter.
        """
        by_type: dict[str, list[Received]] = defaultdict(list)
        for _, _, received in fresh:
            by_type[received.envelope.type].append(received)
        refused: dict[int, Refusal] = {}
        for name, handlers in self._routes.messages.items():
            for handle in handlers:
                if rest := [received for received in by_type[name] if id(received) not in refused]:
                    refused |= {id(message): refusal for message, refusal in handle(rest) or []}
        return [Letter(incoming, refused[id(received)]) for incoming, _, received in fresh if id(received) in refused]

    def _within_limit(self, letters: Sequence[Letter], now: datetime, counts: "Counter[str]") -> list[Letter]:
        """Keep at most LETTERS_A_MINUTE of a topic's sender, counting them; say once that there were more."""
        if self._letters_since is None or now - self._letters_since > timedelta(minutes=1):
            self._letters, self._letters_since = Counter(), now
        kept = []
        for letter in letters:
            sender = letter.message.topic.removeprefix(topics.PREFIX)[4:].split("/", 1)[0]  # whatever shard it claims
            counts[sender] += 1
            count = self._letters[sender] + counts[sender]
            if count <= LETTERS_A_MINUTE:
                kept.append(letter)
            elif count == LETTERS_A_MINUTE + 1:
                logger.warning("more than %d dead letters a minute from %s", LETTERS_A_MINUTE, sender)
                refusal = Refusal(
                    "too_many",
                    "more than %(limit)s dead letters in a minute; the rest of this minute is not kept",
                    limit=LETTERS_A_MINUTE,
                )
                kept.append(Letter(letter.message._replace(payload=b""), refusal))
        return kept


def _sort_out(incoming: Sequence[Incoming], excess: Excess) -> Sorted:
    """Part the messages into those that may be processed and those refused."""
    sources = [topics.parse_inbound(message.topic) for message in incoming]
    known = _look_up({source.device_id for source in sources if source})
    result = Sorted([], [], defaultdict(list), [])
    for message, source in zip(incoming, sources, strict=True):
        try:
            if source is None:
                raise Refusal("wrong_topic", "terminals do not speak on this topic")
            received = _receive(message, source, known, too_much=id(message) in excess.messages)
            result.accepted.append(Accepted(message, source.device_id, received))
        except Refusal as refusal:
            result.letters.append(Letter(message, refusal))
            if source is not None:
                _note(result, message, source, refusal, known.get(source.device_id), excess)
    return result


def _note(
    result: Sorted, message: Incoming, source: topics.Inbound, refusal: Refusal, sender: Sender | None, excess: Excess
) -> None:
    """Note what a terminal, and its operators, shall hear of a refusal: only what is no secret from whoever forged it."""
    if refusal.reason == messages.CARD_DATA.reason and sender is not None:
        result.facts.append((message, sender.terminal_id, CardDataRefused()))
    channel = cast(Channel, source.channel)
    if refusal.reason == "too_much" and id(message) in excess.told and sender is not None:
        result.facts.append((message, sender.terminal_id, TooMuchSaid(channel, limits.LIMITS[channel].a_minute)))
        told = NotTaken("too_much", channel, retry_after_seconds=limits.WAIT_SECONDS)
        result.told[source.device_id].append(told)
    if refusal.reason in seen.BADLY_TIMED:
        badly_timed = NotTaken(cast(Any, refusal.reason), channel, id=cast(UUID, refusal.values["message"]))
        result.told[source.device_id].append(badly_timed)


def _receive(message: Incoming, source: topics.Inbound, known: dict[str, Sender], *, too_much: bool) -> Received:
    sender = known.get(source.device_id)
    if sender is None:
        raise Refusal("unknown_terminal", "no terminal has the device id %(device_id)s", device_id=source.device_id)
    if sender.state not in LINKED_STATES:
        raise Refusal("not_in_service", "the terminal is %(state)s", state=sender.state)
    if too_much:
        limit = limits.LIMITS[source.channel].a_minute
        raise Refusal("too_much", "more than %(limit)s a minute on %(channel)s", limit=limit, channel=source.channel)
    envelope, body = messages.parse(message.payload, source.channel)
    key_pem = ""
    if messages.INBOUND[envelope.type].signed:
        if not envelope.sig:
            raise Refusal("bad_signature", "the message is not signed")
        key_pem = _signer(message.payload, sender)
        seen.check_age(envelope, message.received_at)
    return Received(sender, envelope, body, message.received_at, key_pem)


def _signer(payload: bytes, sender: Sender) -> str:
    """Return which of a sender's keys signed a message: the present one or, while one replaces another, the one before."""
    for key_pem in filter(None, (sender.public_key_pem, sender.earlier_key_pem)):
        try:
            signing.verify_envelope(payload, signing.public_key(key_pem))
        except signing.BadSignature as error:
            refusal = Refusal("bad_signature", str(error))
        else:
            return key_pem
    raise (
        refusal
        if sender.public_key_pem
        else Refusal("bad_signature", "the terminal has no key by now; it must enrol again")
    )


# Raw: for 500 senders the ORM's 500 parameters take 2.5 ms, one text 0.7 ms, and each batch pays it. Two links take turns
# over a terminal, or one could settle a batch while the other adds to it; who retires a terminal waits for what it has
# sent, and what comes later is refused.
LOOK_UP = """
SELECT device_id, id, serial, state, public_key_pem, earlier_key_pem FROM terminals_terminal
 WHERE device_id = ANY(string_to_array(%s, ','))
 ORDER BY id FOR NO KEY UPDATE
"""


def _look_up(device_ids: Iterable[str]) -> dict[str, Sender]:
    with connection.cursor() as cursor:
        cursor.execute(LOOK_UP, [",".join(device_ids)])  # a device id has no comma, and a text travels faster
        return {row[0]: Sender(*row[1:]) for row in cursor.fetchall()}


def _not_seen(accepted: Sequence[Accepted]) -> list[Accepted]:
    """Remember the messages' ids and return those that were not known, in order, each once."""
    said = [(a.received, messages.INBOUND[a.received.envelope.type].signed) for a in accepted]
    return [one for one, new in zip(accepted, seen.not_seen(said), strict=True) if new]


def _merge(first: BatchResult, second: BatchResult) -> BatchResult:
    events: dict[str, list[UUID]] = defaultdict(list)
    not_taken: dict[str, list[NotTaken]] = defaultdict(list)
    for part in (first, second):
        for device_id, ids in part.events.items():
            events[device_id] += ids
        for device_id, told in part.not_taken.items():
            not_taken[device_id] += told
    return BatchResult(events, first.fresh + second.fresh, first.dead + second.dead, not_taken)
