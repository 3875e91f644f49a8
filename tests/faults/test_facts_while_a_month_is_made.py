"""A month's partition is made while terminals go on writing facts: none is lost, and none is refused."""

import threading
import time
from datetime import UTC, date, datetime

import pytest
from django.db import connection

from terminals.common.facts.models import Fact
from terminals.common.facts.services import PARTITIONED
from terminals.common.partitions import keep_partitions
from terminals.common.sql import direct_session

pytestmark = pytest.mark.django_db(transaction=True)
MAY = datetime(2031, 5, 31, 23, tzinfo=UTC)


def test_facts_that_are_written_meanwhile_are_kept() -> None:
    stop = threading.Event()
    written: list[int] = []
    failed: list[Exception] = []

    def write() -> None:
        try:
            while not stop.is_set() or len(written) < 50:
                written.append(Fact.objects.create(kind="link.connected", terminal_id=1, at=MAY, body={}).pk)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall tell it
            failed.append(error)
        finally:
            connection.close()

    writers = [threading.Thread(target=write) for _ in range(3)]
    try:
        for writer in writers:
            writer.start()
        while len(written) < 20 and not failed:
            pass
        keep_partitions(PARTITIONED, date(2031, 5, 20))
        so_far = len(written)
        while len(written) < so_far + 20 and not failed:
            pass
    finally:
        stop.set()
        for writer in writers:
            writer.join(20)
    assert not failed
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM common_fact_2031_05")
        assert cursor.fetchone() == (len(written),)
        for month in ("05", "06", "07"):
            cursor.execute(f"DROP TABLE common_fact_2031_{month}")


def test_a_month_waits_where_somebody_holds_the_table() -> None:
    """A backup reads it for an hour: nobody may queue behind who waits for the backup."""
    with direct_session() as backup, backup.transaction():
        backup.execute("SELECT count(*) FROM common_fact")
        began = time.monotonic()
        keep_partitions(PARTITIONED, date(2031, 5, 20))
        assert time.monotonic() - began < 15
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('common_fact_2031_05')")
            assert cursor.fetchone() == (None,)
    keep_partitions(PARTITIONED, date(2031, 5, 20))
    with connection.cursor() as cursor:
        for month in ("05", "06", "07"):
            cursor.execute(f"DROP TABLE common_fact_2031_{month}")
