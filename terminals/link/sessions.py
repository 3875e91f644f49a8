"""Sessions: who was heard when, in which boot, and who fell silent."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction

from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import move
from terminals.link.facts import Connected, IdentityShared
from terminals.link.models import DeviceSession

WILL_GRACE = timedelta(seconds=10)  # a terminal that changes its network is back sooner than anybody should worry
RESTARTS_WITHIN = timedelta(hours=1)  # restarts further apart are not counted together
HELLO_PAUSE = timedelta(seconds=2)  # one that says hello without end does not get its commands without end

SHARED_TOLD_EVERY = timedelta(hours=1)  # two that push each other out say hello every few seconds
# Boots that ended: a copy that starts anew between two hellos of the true one must not make them forgotten.
BOOTS_REMEMBERED = 16
SHARED_LATELY = timedelta(days=1)


class Boot(NamedTuple):
    """A terminal in one of its boots."""

    terminal_id: int
    boot_id: str


class Before(NamedTuple):
    """A session as it was until a hello."""

    terminal_id: int
    boot_id: str
    earlier_boot_ids: list[str]
    connected_at: datetime | None
    shared_at: datetime | None


# Raw: the ORM has no upsert under a condition. Written only when it tells something new: a busy terminal's row is touched
# once in five seconds.
TOUCH = """
INSERT INTO link_devicesession AS s (terminal_id, boot_id, last_seen_at, online, offline_at, locked)
SELECT id, '', %(now)s, true, %(offline_at)s, false FROM unnest(string_to_array(%(ids)s, ',')::bigint[]) AS id ORDER BY id
ON CONFLICT (terminal_id) DO UPDATE
   SET last_seen_at = excluded.last_seen_at, online = true, offline_at = excluded.offline_at
 WHERE NOT s.online OR s.offline_at < excluded.offline_at - interval '5 seconds'
"""


def touch_sessions(terminal_ids: set[int], now: datetime) -> None:
    """Note that these terminals were heard."""
    with connection.cursor() as cursor:
        parameters: dict[str, Any] = {
            "ids": ",".join(map(str, terminal_ids)),
            "now": now,
            "offline_at": now + settings.ONLINE_WITHIN,
        }
        cursor.execute(TOUCH, parameters)


# Raw: the ORM's upsert cannot keep a column where nothing was said of it.
CONNECT = """
INSERT INTO link_devicesession AS s (terminal_id, boot_id, connected_at, last_seen_at, online, offline_at, locked)
SELECT id, boot_id, %(now)s, %(now)s, true, %(offline_at)s, coalesce(locked, false)
  FROM unnest(%(ids)s::bigint[], %(boots)s::text[], %(locked)s::boolean[]) AS r(id, boot_id, locked) ORDER BY id
ON CONFLICT (terminal_id) DO UPDATE
   SET boot_id = excluded.boot_id,
       earlier_boot_ids = CASE WHEN s.boot_id = excluded.boot_id THEN s.earlier_boot_ids
                               ELSE array_prepend(s.boot_id, s.earlier_boot_ids[1:%(remembered)s]) END,
       shared_at = CASE WHEN excluded.terminal_id = ANY(%(shared)s::bigint[]) THEN excluded.last_seen_at ELSE s.shared_at END,
       connected_at = excluded.connected_at, last_seen_at = excluded.last_seen_at,
       online = true, offline_at = excluded.offline_at,
       restarts = CASE WHEN s.boot_id = excluded.boot_id THEN s.restarts
                       WHEN s.restarts_since > %(hour_ago)s THEN least(s.restarts + 1, 1000) ELSE 1 END,
       restarts_since = CASE WHEN s.boot_id = excluded.boot_id OR s.restarts_since > %(hour_ago)s THEN s.restarts_since
                             ELSE excluded.last_seen_at END,
       locked = CASE WHEN excluded.terminal_id = ANY(%(said)s::bigint[]) THEN excluded.locked ELSE s.locked END
"""


def open_sessions(hellos: Mapping[int, tuple[str, bool | None]], now: datetime) -> set[int]:
    """Open the sessions of terminals that said hello (id -> boot id, locked or not said) and activate the newly enrolled.

    Returns those that shall be offered their open commands again: all but the ones that said hello a moment ago.
    """
    before = DeviceSession.objects.filter(terminal_id__in=id_set(hellos))
    sessions = [Before(*row) for row in before.values_list(*Before._fields)]
    boots = {terminal_id: boot_id for terminal_id, (boot_id, _) in hellos.items()}
    known = {Boot(row.terminal_id, row.boot_id) for row in sessions}
    just_connected = {row.terminal_id for row in sessions if row.connected_at and row.connected_at > now - HELLO_PAUSE}
    # A boot id is new at each start: who says an earlier one again is another device with the same keys.
    shared = [
        row
        for row in sessions
        if row.boot_id != boots[row.terminal_id] and boots[row.terminal_id] in row.earlier_boot_ids
    ]
    with connection.cursor() as cursor:
        parameters: dict[str, Any] = {
            "ids": list(boots),
            "boots": list(boots.values()),
            "locked": [locked for _, locked in hellos.values()],
            "said": [terminal_id for terminal_id, (_, locked) in hellos.items() if locked is not None],
            "remembered": BOOTS_REMEMBERED - 1,
            "shared": [row.terminal_id for row in shared],
            "now": now,
            "offline_at": now + settings.ONLINE_WITHIN,
            "hour_ago": now - RESTARTS_WITHIN,
        }
        cursor.execute(CONNECT, parameters)
    record_facts((boot.terminal_id, Connected(booted=boot not in known)) for boot in map(Boot._make, boots.items()))
    told_before = now - SHARED_TOLD_EVERY
    record_facts((s.terminal_id, IdentityShared()) for s in shared if not s.shared_at or s.shared_at < told_before)
    move(Terminal.objects.filter(pk__in=id_set(boots)), TerminalTransition.activate)
    return boots.keys() - just_connected


# Raw: the ORM cannot update by pairs of values.
LEAVE = """
UPDATE link_devicesession s SET offline_at = least(offline_at, %(offline_at)s)
  FROM unnest(%(ids)s::bigint[], %(boots)s::text[]) AS r(id, boot_id)
 WHERE s.terminal_id = r.id AND s.boot_id = r.boot_id AND s.online
"""


def leave_sessions(gone: list[Boot], now: datetime) -> None:
    """Believe a last will only for the boot that the terminal is in, and give it WILL_GRACE to come back."""
    with connection.cursor() as cursor:
        ids, boots = [boot.terminal_id for boot in gone], [boot.boot_id for boot in gone]
        cursor.execute(LEAVE, {"ids": ids, "boots": boots, "offline_at": now + WILL_GRACE})


def note_locked(terminal_ids: Iterable[int], *, locked: bool) -> None:
    """Note that terminals did as they were told: lock, or unlock."""
    DeviceSession.objects.filter(terminal__in=list(terminal_ids)).update(locked=locked)


def close_sessions(terminal_ids: Sequence[int]) -> None:
    """Terminals that left service for good are not online, whatever they last said."""
    DeviceSession.objects.filter(terminal__in=terminal_ids).update(online=False, locked=False)


# Raw: the ORM cannot update a limited number of rows and skip the locked ones.
SWEEP = """
WITH silent AS (
    SELECT terminal_id FROM link_devicesession WHERE online AND offline_at <= %(now)s LIMIT 5000 FOR UPDATE SKIP LOCKED
)
UPDATE link_devicesession s SET online = false FROM silent WHERE s.terminal_id = silent.terminal_id
"""


@transaction.atomic
def sweep_silent_sessions(now: datetime) -> int:
    """Mark terminals offline that were not heard within ONLINE_WITHIN; cost grows with how many fell silent."""
    with connection.cursor() as cursor:
        cursor.execute(SWEEP, {"now": now})
        return int(cursor.rowcount)
