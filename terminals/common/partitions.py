"""Tables that lie in a partition a month: next months' are made ahead, months that are older than is kept are dropped whole.

A table `t` has the partitions t_2026_11, ... and t_other for what belongs in none of them. Raw, all of them: the ORM knows no
partitions.
"""

from datetime import date
from typing import NamedTuple

from django.db import connection, transaction
from psycopg import sql

AHEAD_MONTHS = 2


class Partitioned(NamedTuple):
    """A table, the column of time by which it is parted, and for how many months its rows are kept."""

    table: str
    column: str
    keep_months: int

    def name_of(self, first: date) -> str:
        return f"{self.table}_{first:%Y_%m}"


LEAVES = "SELECT relid::text FROM pg_partition_tree(%s::regclass) WHERE isleaf"


def keep_partitions(parted: Partitioned, today: date) -> None:
    """Make the partitions of this month and the coming ones, and drop those that are older than is kept."""
    with connection.cursor() as cursor:
        cursor.execute(LEAVES, [parted.table])
        present = {name.strip('"') for (name,) in cursor.fetchall()}
    for ahead in range(AHEAD_MONTHS + 1):
        if parted.name_of(first := month_after(today, ahead)) not in present:
            _make_partition(parted, first, month_after(today, ahead + 1))
    oldest = parted.name_of(month_after(today, -parted.keep_months))
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
    """Make a month's partition; rows that came before it lie in the default one and move first, or it would not attach."""
    named = {
        "table": sql.Identifier(parted.table),
        "other": sql.Identifier(f"{parted.table}_other"),
        "column": sql.Identifier(parted.column),
        "partition": sql.Identifier(parted.name_of(first)),
        "first": sql.Literal(first),
        "end": sql.Literal(following),
    }
    with connection.cursor() as cursor:
        # Nobody may put a row of this month into the default partition between the move and the attachment.
        lock = "LOCK TABLE {table}, {other} IN SHARE ROW EXCLUSIVE MODE"
        for statement in (lock, *MAKE_PARTITION):
            cursor.execute(sql.SQL(statement).format(**named))


def month_after(day: date, months: int) -> date:
    """Return the first day of the month that lies so many months after the day's."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)
