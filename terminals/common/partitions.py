"""Tables that lie in a partition a month or a day: the next ones are made ahead, those that are older than is kept are dropped
whole.

A table `t` has the partitions t_2026_11 or t_2026_11_27, ... and t_other for what belongs in none of them. Raw, all of them:
the ORM knows no partitions.
"""

from datetime import date, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from psycopg import sql

AHEAD = 2


class Partitioned(NamedTuple):
    """A table, the column of time by which it is parted, and for how many months, or days, its rows are kept."""

    table: str
    column: str
    keep: int
    daily: bool = False

    def name_of(self, first: date) -> str:
        return f"{self.table}_{first:{'%Y_%m_%d' if self.daily else '%Y_%m'}}"

    def first_after(self, day: date, count: int) -> date:
        """Return the first day of the partition that lies so many after the day's."""
        return day + timedelta(days=count) if self.daily else month_after(day, count)


LEAVES = "SELECT relid::text FROM pg_partition_tree(%s::regclass) WHERE isleaf"


def keep_partitions(parted: Partitioned, today: date) -> None:
    """Make the partitions of today and the coming ones, and drop those that are older than is kept."""
    with connection.cursor() as cursor:
        cursor.execute(LEAVES, [parted.table])
        present = {name.strip('"') for (name,) in cursor.fetchall()}
    for ahead in range(AHEAD + 1):
        if parted.name_of(first := parted.first_after(today, ahead)) not in present:
            _make_partition(parted, first, parted.first_after(today, ahead + 1))
    oldest = parted.name_of(parted.first_after(today, -parted.keep))
    for name in sorted(present):
        if name.startswith(f"{parted.table}_2") and name < oldest:
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


@transaction.atomic
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
