"""Writing facts, and keeping their months."""

from collections.abc import Iterable
from datetime import date

import msgspec
from django.db import connection, transaction
from psycopg import sql

from terminals.common.facts.kinds import FactBody
from terminals.common.facts.models import Fact

KEEP_MONTHS = 14
AHEAD_MONTHS = 2


def record_facts(facts: Iterable[tuple[int, FactBody]]) -> None:
    """Store (terminal id, what happened) pairs, in one statement."""
    Fact.objects.bulk_create(
        Fact(kind=body.kind, subject=body.subject(), terminal_id=terminal_id, body=msgspec.to_builtins(body))
        for terminal_id, body in facts
    )


# Raw: the ORM cannot insert one body for an array of ids.
RECORD_ONE = """
INSERT INTO common_fact (kind, subject, terminal_id, at, body)
SELECT %s, %s, terminal_id, now(), %s::jsonb FROM unnest(%s::bigint[]) AS terminal_id
"""


def record_fact_of_many(terminal_ids: Iterable[int], body: FactBody) -> None:
    """Store that the same happened to terminals, in one statement that carries it once."""
    with connection.cursor() as cursor:
        said = msgspec.json.encode(body).decode()
        cursor.execute(RECORD_ONE, [body.kind, body.subject(), said, list(terminal_ids)])


# Raw, here and below: the ORM knows no partitions.
LEAVES = "SELECT relid::text FROM pg_partition_tree('common_fact') WHERE isleaf"


def keep_partitions(today: date) -> None:
    """Make the partitions of this month and the coming ones, and drop those older than KEEP_MONTHS."""
    with connection.cursor() as cursor:
        cursor.execute(LEAVES)
        present = {name.strip('"') for (name,) in cursor.fetchall()}
    for ahead in range(AHEAD_MONTHS + 1):
        if partition_name(first := month_after(today, ahead)) not in present:
            _make_partition(first, month_after(today, ahead + 1))
    oldest = partition_name(month_after(today, -KEEP_MONTHS))
    for name in sorted(present):
        if name.startswith("common_fact_2") and name < oldest:
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


MAKE_PARTITION = (
    "CREATE TABLE {partition} (LIKE common_fact INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
    """
    WITH moved AS (DELETE FROM common_fact_other WHERE at >= {first} AND at < {end} RETURNING *)
    INSERT INTO {partition} SELECT * FROM moved
    """,
    "ALTER TABLE common_fact ATTACH PARTITION {partition} FOR VALUES FROM ({first}) TO ({end})",
)


@transaction.atomic
def _make_partition(first: date, following: date) -> None:
    """Make a month's partition; facts that came before it lie in the default one and move first, or it would not attach."""
    named = {
        "partition": sql.Identifier(partition_name(first)),
        "first": sql.Literal(first),
        "end": sql.Literal(following),
    }
    with connection.cursor() as cursor:
        # Nobody may put a fact of this month into the default partition between the move and the attachment.
        cursor.execute("LOCK TABLE common_fact, common_fact_other IN SHARE ROW EXCLUSIVE MODE")
        for statement in MAKE_PARTITION:
            cursor.execute(sql.SQL(statement).format(**named))


def partition_name(first: date) -> str:
    return f"common_fact_{first:%Y_%m}"


def month_after(day: date, months: int) -> date:
    """Return the first day of the month that lies so many months after the day's."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)
