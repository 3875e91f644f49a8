"""Writing facts, and keeping their months."""

from collections.abc import Iterable
from datetime import date

import msgspec
from django.db import connection

from terminals.common.facts.kinds import FactBody
from terminals.common.facts.models import Fact

KEEP_MONTHS = 14
AHEAD_MONTHS = 2


def record_facts(facts: Iterable[tuple[int, FactBody]]) -> None:
    """Store (terminal id, what happened) pairs, in one statement."""
    Fact.objects.bulk_create(
        Fact(kind=body.kind, terminal_id=terminal_id, body=msgspec.to_builtins(body)) for terminal_id, body in facts
    )


def keep_partitions(today: date) -> None:
    """Make the coming months' partitions and drop those older than KEEP_MONTHS."""
    with connection.cursor() as cursor:
        # Raw: the ORM knows no partitions. The names are made from dates alone.
        cursor.execute("SELECT relid::text FROM pg_partition_tree('common_fact') WHERE isleaf")
        present = {name.strip('"') for (name,) in cursor.fetchall()}
        for ahead in range(AHEAD_MONTHS + 1):
            first, following = month_after(today, ahead), month_after(today, ahead + 1)
            if (name := partition_name(first)) not in present:
                cursor.execute(
                    f"CREATE TABLE {name} PARTITION OF common_fact FOR VALUES FROM ('{first}') TO ('{following}')"
                )
        oldest = partition_name(month_after(today, -KEEP_MONTHS))
        for name in sorted(present):
            if name.startswith("common_fact_2") and name < oldest:
                cursor.execute(f"DROP TABLE {name}")


def partition_name(first: date) -> str:
    return f"common_fact_{first:%Y_%m}"


def month_after(day: date, months: int) -> date:
    """Return the first day of the month that lies so many months after the day's."""
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)
