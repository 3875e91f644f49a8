"""Tables that lie in a partition a month or a day: the next ones are made ahead, those that are older than is kept are dropped
whole.

A table `t` has the partitions t_2026_11 or t_2026_11_27, ... and t_other for what belongs in none of them. Raw, all of them:
the ORM knows no partitions.
"""

import logging
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import OperationalError, connection, transaction
from psycopg import sql
from psycopg.errors import LockNotAvailable

logger = logging.getLogger(__name__)

AHEAD = 2


class Partitioned(NamedTuple):
    """A table, the column of time by which it is parted, and for how many months, or days, its rows are kept; and whether that
    time is the server's own (a terminal's clock may be wrong, and its money must not be dropped for that)."""

    table: str
    column: str
    keep: int
    daily: bool = False
    our_clock: bool = True

    def name_of(self, first: date) -> str:
        return f"{self.table}_{first:{'%Y_%m_%d' if self.daily else '%Y_%m'}}"

    def first_after(self, day: date, count: int) -> date:
        """Return the first day of the partition that lies so many after the day's."""
        return day + timedelta(days=count) if self.daily else month_after(day, count)


LEAVES = "SELECT relid::text FROM pg_partition_tree(%s::regclass) WHERE isleaf"
EARLIEST = "SELECT min({column}) FROM {other} WHERE {column} >= {oldest}"
FORGET = "DELETE FROM {other} WHERE {column} < {oldest}"


def keep_partitions(parted: Partitioned, today: date) -> None:
    """Make the partitions of today and the coming ones, and of what came while there was none; drop those that are older than is
    kept. One that cannot be locked within moments waits for the next time: whoever writes must not queue behind it."""
    with connection.cursor() as cursor:
        cursor.execute(LEAVES, [parted.table])
        present = {name.strip('"') for (name,) in cursor.fetchall()}
    oldest = parted.first_after(today, -parted.keep)
    first, last = _earliest(parted, oldest, today), parted.first_after(today, AHEAD)
    while first <= last:
        following = parted.first_after(first, 1)
        if parted.name_of(first) not in present:
            _patiently(parted.name_of(first), partial(_make_partition, parted, first, following))
        first = following
    for name in sorted(present):
        if name.startswith(f"{parted.table}_2") and name < parted.name_of(oldest):
            _patiently(name, partial(_drop, name))


def _patiently(name: str, change: Callable[[], None]) -> None:
    """Make or drop a partition, unless somebody holds its table for long: a backup that reads it would hold up this, and this
    everybody."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'")
            change()
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        logger.warning("%s waits: somebody holds its table", name)


def _earliest(parted: Partitioned, oldest: date, today: date) -> date:
    """Return the first day of the earliest partition that is needed, today's or one of rows in the default one; forget there what
    is older than is kept."""
    named = {
        "other": sql.Identifier(f"{parted.table}_other"),
        "column": sql.Identifier(parted.column),
        "oldest": sql.Literal(oldest),
    }
    with connection.cursor() as cursor:
        if parted.our_clock:
            cursor.execute(sql.SQL(FORGET).format(**named))
        cursor.execute(sql.SQL(EARLIEST).format(**named))
        (found,) = cursor.fetchone()
    day = found.date() if isinstance(found, datetime) else found
    return parted.first_after(min(day or today, today), 0)


def _drop(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


MAKE_PARTITION = (
    "CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
    """
    WITH moved AS (DELETE FROM {other} WHERE {column} >= {first} AND {column} < {end} RETURNING *)
    INSERT INTO {partition} SELECT * FROM moved
    """,
    "ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({first}) TO ({end})",
)


def _make_partition(parted: Partitioned, first: date, following: date) -> None:
    """Make a partition; rows that came before it lie in the default one and move first, or it would not attach."""
    named = {
        "table": sql.Identifier(parted.table),
        "other": sql.Identifier(f"{parted.table}_other"),
        "column": sql.Identifier(parted.column),
        "partition": sql.Identifier(parted.name_of(first)),
        "first": sql.Literal(first),
        "end": sql.Literal(following),
    }
    with connection.cursor() as cursor:
        # Nobody may put a row of this time into the default partition between the move and the attachment.
        lock = "LOCK TABLE {table}, {other} IN SHARE ROW EXCLUSIVE MODE"
        for statement in (lock, *MAKE_PARTITION):
            cursor.execute(sql.SQL(statement).format(**named))


def month_after(day: date, months: int) -> date:
    """Return the first day of the month that lies so many months after the day's."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)
