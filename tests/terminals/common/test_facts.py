"""Facts lie in a partition a month; the months are made ahead, and old ones go as a whole."""

from datetime import UTC, date, datetime

import pytest
from django.db import connection

from terminals.common.facts.models import Fact
from terminals.common.facts.services import PARTITIONED
from terminals.common.partitions import keep_partitions, month_after

pytestmark = pytest.mark.django_db


def partitions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relid::text FROM pg_partition_tree('common_fact') WHERE isleaf")
        return {name for (name,) in cursor.fetchall()}


def where_it_lies(fact: Fact) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM common_fact WHERE id = %s", [fact.pk])
        return str(cursor.fetchone()[0])


def fact_at(at: datetime) -> Fact:
    return Fact.objects.create(kind="link.connected", terminal_id=1, at=at, body={"booted": True})


def test_months_are_made_ahead_and_once() -> None:
    keep_partitions(PARTITIONED, date(2031, 5, 20))
    keep_partitions(PARTITIONED, date(2031, 5, 21))
    assert {"common_fact_2031_05", "common_fact_2031_06", "common_fact_2031_07"} <= partitions()


def test_facts_that_came_before_their_partition_move_into_it() -> None:
    late, other = fact_at(datetime(2031, 5, 31, 23, tzinfo=UTC)), fact_at(datetime(2035, 1, 1, tzinfo=UTC))
    assert where_it_lies(late) == "common_fact_other"
    keep_partitions(PARTITIONED, date(2031, 5, 31))
    assert where_it_lies(late) == "common_fact_2031_05"
    assert where_it_lies(other) == "common_fact_other"
    assert Fact.objects.get(pk=late.pk).body == {"booted": True}


def test_old_months_go_and_fourteen_stay() -> None:
    keep_partitions(PARTITIONED, date(2031, 5, 20))
    keep_partitions(PARTITIONED, date(2032, 7, 1))
    assert "common_fact_2031_05" in partitions()
    keep_partitions(PARTITIONED, date(2032, 8, 1))
    assert "common_fact_2031_05" not in partitions()
    assert {"common_fact_2031_06", "common_fact_other"} <= partitions()


@pytest.mark.parametrize(
    ("day", "months", "expected"), [("2026-12-31", 1, "2027-01-01"), ("2026-01-15", -1, "2025-12-01")]
)
def test_months_are_counted_over_the_year(day: str, months: int, expected: str) -> None:
    assert month_after(date.fromisoformat(day), months) == date.fromisoformat(expected)
