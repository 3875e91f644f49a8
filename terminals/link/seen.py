"""Which messages were taken already: each is remembered under the day on which its terminal says it was sent.

So a message that comes again is looked for where it was put, however late it comes; and once its day is forgotten, its own
`sent_at`, which its signature covers, tells that it is too old to be known. There is no time between at which it would be new.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from django.db import connection

from terminals.common.errors import Refusal
from terminals.common.partitions import Partitioned
from terminals.common.sql import array
from terminals.link.protocol.messages.base import Envelope
from terminals.link.routes import Received

# Signed messages: a terminal that was off for a season still delivers what it had to say.
REMEMBERED = timedelta(days=90)
SIGNED = Partitioned("link_seenmessage_signed", "sent_on", keep=4)
# Others are only counted once where a broker delivers them again.
REDELIVERED_WITHIN = timedelta(days=2)
UNSIGNED = Partitioned("link_seenmessage_unsigned", "sent_on", keep=3, daily=True)
# How far a clock may run ahead: what it sends must be remembered until its day is over.
AHEAD = timedelta(days=2)
BADLY_TIMED = ("too_old", "clock_ahead")


def check_age(envelope: Envelope, now: datetime) -> None:
    """Raise Refusal, of a reason in BADLY_TIMED, for a signed message that may have been forgotten, or whose day is yet to come.
    Its value `message` is the id of what the terminal must send anew."""
    if envelope.sent_at < now - REMEMBERED:
        raise Refusal(
            "too_old",
            "sent on %(day)s; ids are remembered for %(days)s days: the terminal must send it anew",
            message=envelope.id,
            day=envelope.sent_at.date(),
            days=REMEMBERED.days,
        )
    if envelope.sent_at > now + AHEAD:
        raise Refusal(
            "clock_ahead",
            "sent on %(day)s, which is yet to come: the terminal must set its clock and send it anew",
            message=envelope.id,
            day=envelope.sent_at.date(),
        )


# Raw: the ORM cannot say which rows an insert with conflicts has written.
REMEMBER = """
INSERT INTO link_seenmessage (message_id, terminal_id, signed, sent_on)
SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::boolean[], %s::date[]) ON CONFLICT DO NOTHING
RETURNING message_id, terminal_id, signed
"""


def not_seen(messages: Sequence[tuple[Received, bool]]) -> list[bool]:
    """Remember messages (each with whether it was signed), and return for each whether it is new: the first of its id."""
    keys = [(received.envelope.id.int, received.terminal_id, signed) for received, signed in messages]
    days: dict[tuple[int, int, bool], date] = {}
    for key, (received, signed) in zip(keys, messages, strict=True):
        if signed or abs(received.envelope.sent_at - received.received_at) < REDELIVERED_WITHIN:
            days.setdefault(key, _day(received.envelope.sent_at))
    new = _remember(days) if days else set()
    return [_take(new, key) or key not in days for key in keys]


def _remember(days: dict[tuple[int, int, bool], date]) -> set[tuple[int, int, bool]]:
    """Insert keys and return those that were not there."""
    # The same order in every link process, or two of them could wait for each other's rows.
    rows = sorted(days)
    columns = (
        array([f"{row[0]:032x}" for row in rows]),
        array([row[1] for row in rows]),
        array([row[2] for row in rows]),
        array([days[row] for row in rows]),
    )
    with connection.cursor() as cursor:
        cursor.execute(REMEMBER, columns)
        if cursor.rowcount == len(rows):
            return set(rows)
        return {(message_id.int, terminal_id, signed) for message_id, terminal_id, signed in cursor.fetchall()}


def _take(new: set[tuple[int, int, bool]], key: tuple[int, int, bool]) -> bool:
    """Return whether a key is in the set, once."""
    if key in new:
        new.remove(key)
        return True
    return False


def _day(instant: datetime) -> date:
    return instant.astimezone(UTC).date()
