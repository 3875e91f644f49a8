"""What the link itself does with messages: sessions, and the outcome of commands."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from terminals.common.errors import Refusal
from terminals.common.facts.services import record_facts
from terminals.estate.models import Terminal
from terminals.estate.services import move
from terminals.link import services
from terminals.link.facts import Connected
from terminals.link.models import OPEN_STATES, Command, DeviceSession
from terminals.link.protocol.messages import Hello, Presence, Result
from terminals.link.protocol.states import last_word
from terminals.link.routes import Received

WILL_GRACE = timedelta(seconds=10)  # a terminal that changes its network is back sooner than anybody should worry
HELLO_PAUSE = timedelta(seconds=2)  # one that says hello without end does not get its commands without end
TOUCH_PAUSE = timedelta(seconds=4)
MOST_REMEMBERED = 100_000
# terminal id -> when this process last wrote its session. Only a saving: a hello and a silence do not look at it.
recently_touched: dict[int, datetime] = {}
# Written only when it tells something new: a busy terminal's row is touched once in five seconds.
TOUCH = """
INSERT INTO link_devicesession AS s (terminal_id, boot_id, last_seen_at, online, offline_at)
SELECT id, '', %(now)s, true, %(offline_at)s FROM unnest(string_to_array(%(ids)s, ',')::bigint[]) AS id ORDER BY id
ON CONFLICT (terminal_id) DO UPDATE
   SET last_seen_at = excluded.last_seen_at, online = true, offline_at = excluded.offline_at
 WHERE NOT s.online OR s.offline_at < excluded.offline_at - interval '5 seconds'
"""
CONNECT = """
INSERT INTO link_devicesession AS s (terminal_id, boot_id, connected_at, last_seen_at, online, offline_at)
SELECT id, boot_id, %(now)s, %(now)s, true, %(offline_at)s
  FROM unnest(%(ids)s::bigint[], %(boots)s::text[]) AS r(id, boot_id) ORDER BY id
ON CONFLICT (terminal_id) DO UPDATE
   SET boot_id = excluded.boot_id, connected_at = excluded.connected_at, last_seen_at = excluded.last_seen_at,
       online = true, offline_at = excluded.offline_at
"""
LEAVE = """
UPDATE link_devicesession s SET offline_at = least(offline_at, %(offline_at)s)
  FROM unnest(%(ids)s::bigint[], %(boots)s::text[]) AS r(id, boot_id)
 WHERE s.terminal_id = r.id AND s.boot_id = r.boot_id AND s.online
"""
REOPEN = """
UPDATE link_command c SET next_attempt_at = %(now)s
  FROM (SELECT id FROM link_command WHERE terminal_id = ANY(%(ids)s::bigint[]) AND state = ANY(%(open)s) AND attempts > 0
         ORDER BY id FOR UPDATE) o
 WHERE c.id = o.id
"""
SWEEP = """
WITH silent AS (
    SELECT terminal_id FROM link_devicesession WHERE online AND offline_at <= %(now)s LIMIT 5000 FOR UPDATE SKIP LOCKED
)
UPDATE link_devicesession s SET online = false FROM silent WHERE s.terminal_id = silent.terminal_id
"""


def touch_sessions(terminal_ids: set[int], now: datetime) -> None:
    """Note that these terminals were heard; those that this process noted a moment ago need no statement at all."""
    due = [pk for pk in terminal_ids if pk not in recently_touched or now - recently_touched[pk] > TOUCH_PAUSE]
    if not due:
        return
    if len(recently_touched) > MOST_REMEMBERED:
        recently_touched.clear()
    recently_touched.update(dict.fromkeys(due, now))
    with connection.cursor() as cursor:
        cursor.execute(TOUCH, {"ids": ",".join(map(str, due)), "now": now, "offline_at": now + settings.ONLINE_WITHIN})


def on_hello(batch: list[Received]) -> None:
    """Open the session, activate the newly enrolled, and offer every open command again (the broker may have lost it)."""
    latest = {message.terminal_id: message for message in batch}
    serials = dict(Terminal.objects.filter(pk__in=latest).values_list("pk", "serial"))
    for message in latest.values():
        if cast(Hello, message.body).serial != serials[message.terminal_id]:
            raise Refusal("wrong_serial", "hello names another serial than the terminal's certificate")
    boots = [message.envelope.boot_id for message in latest.values()]
    now = batch[-1].received_at
    sessions = DeviceSession.objects.filter(terminal_id__in=latest).values_list(
        "terminal_id", "boot_id", "connected_at"
    )
    known = {(terminal_id, boot_id) for terminal_id, boot_id, _ in sessions}
    hasty = {terminal_id for terminal_id, _, at in sessions if at and at > now - HELLO_PAUSE}
    with connection.cursor() as cursor:
        parameters: dict[str, Any] = {
            "ids": list(latest),
            "boots": boots,
            "now": now,
            "offline_at": now + settings.ONLINE_WITHIN,
        }
        cursor.execute(CONNECT, parameters)
    record_facts(
        (terminal_id, Connected(booted=(terminal_id, message.envelope.boot_id) not in known))
        for terminal_id, message in latest.items()
    )
    move(Terminal.objects.filter(pk__in=latest), "activate")
    with connection.cursor() as cursor:
        cursor.execute(REOPEN, {"ids": sorted(latest.keys() - hasty), "open": list(OPEN_STATES), "now": now})
        if cursor.rowcount:
            services.wake_relay()


def on_presence(batch: list[Received]) -> None:
    """Believe a last will only for the boot that the terminal is in, and give it WILL_GRACE to come back."""
    gone = [m for m in batch if cast(Presence, m.body).state == "offline"]
    boots = [message.envelope.boot_id for message in gone]
    with connection.cursor() as cursor:
        ids = [message.terminal_id for message in gone]
        cursor.execute(LEAVE, {"ids": ids, "boots": boots, "offline_at": batch[-1].received_at + WILL_GRACE})


def on_result(batch: list[Received]) -> None:
    """Advance commands by what their terminals say; a result for a command that is not the terminal's is refused."""
    by_command: dict[tuple[int, UUID], list[Result]] = defaultdict(list)
    for message in batch:
        result = cast(Result, message.body)
        by_command[message.terminal_id, result.command_id].append(result)
    known = set(
        Command.objects.filter(pk__in=[command_id for _, command_id in by_command]).values_list("terminal_id", "id")
    )
    strangers = by_command.keys() - known
    if strangers:
        raise Refusal("unknown_command", f"no command {next(iter(strangers))[1]} was made for this terminal")
    chosen = [
        (terminal_id, last_word((result, result.state) for result in results))
        for (terminal_id, _), results in by_command.items()
    ]
    services.advance_commands([(terminal_id, result) for terminal_id, result in chosen if result is not None])


@transaction.atomic
def sweep_silent_sessions(now: datetime) -> int:
    """Mark terminals offline that were not heard within ONLINE_WITHIN; cost grows with how many fell silent."""
    with connection.cursor() as cursor:
        cursor.execute(SWEEP, {"now": now})
        return int(cursor.rowcount)
