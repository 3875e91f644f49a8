"""Uploads: numbers that are missing are asked for, kinds add up with their signs, and no card number is kept anywhere."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from psycopg import sql
from rest_framework.test import APIClient

from terminals.common.facts.models import Fact
from terminals.common.partitions import keep_partitions
from terminals.estate.models import Terminal
from terminals.link.models import Command, DeadLetter
from terminals.link.protocol.messages.link import Result
from terminals.link.protocol.messages.settlement import TransactionRecord, Transactions
from terminals.link.services import new_id
from terminals.settlement.models import Batch, BatchSequence, BatchTotal, SettlementRun, Transaction
from terminals.settlement.runs.services import request_settlement
from terminals.settlement.transactions.gaps import ask_for_missing, missing
from terminals.settlement.transactions.services import PARTITIONED
from terminals.simulator.device import Device, Outgoing
from terminals.simulator.faults import Faults
from tests.conftest import deliver, obey, working_device

Register = Callable[[str], Terminal]


@pytest.fixture
def device(register: Register) -> Device:
    return working_device(register("SN-1"))


def record(kind: str = "sale", amount_minor: int = 100, **more: Any) -> TransactionRecord:
    more = {"occurred_at": datetime.now(UTC), "currency": "EUR", "method": "card", **more}
    return TransactionRecord(new_id(), kind=kind, amount_minor=amount_minor, **more)  # type: ignore[arg-type]


def upload(device: Device, *records: TransactionRecord, batch_number: int = 1) -> Outgoing:
    return device.report("transactions", Transactions(batch_number, list(records)))


def later(minutes: int = 2) -> datetime:
    return timezone.now() + timedelta(minutes=minutes)


def test_each_kind_counts_with_its_sign_and_by_its_line(device: Device) -> None:
    kinds = {"sale": 1000, "refund": 100, "credit": 20, "void": 3, "reversal": 50, "declined": 9000}
    deliver(upload(device, *(record(kind, amount, scheme="visa") for kind, amount in kinds.items())))
    batch = Batch.objects.get()
    assert (batch.net_minor, batch.transaction_count) == (1000 - 100 - 20 - 3 - 50, 5)
    lines = BatchTotal.objects.values_list("kind", "scheme", "recorded_count", "recorded_minor", "reported_count")
    assert sorted(lines) == sorted((kind, "visa", 1, amount, 0) for kind, amount in kinds.items())


def test_an_upload_that_comes_twice_adds_nothing(device: Device) -> None:
    one = record(sequence=1)
    deliver(upload(device, one))
    deliver(upload(device, one), upload(device, one, record(sequence=2)))
    assert Transaction.objects.count() == 2
    assert Batch.objects.get().net_minor == 200
    assert BatchTotal.objects.get().recorded_count == 2
    assert (BatchSequence.objects.get().numbered_count, BatchSequence.objects.get().gap_since) == (2, None)


def test_a_gap_is_asked_for_and_closes_when_it_came(device: Device) -> None:
    for _ in range(5):
        device.sell()
    lost = [device.memory.unsent.pop(3), device.memory.unsent.pop(1)]
    deliver(*device.upload_transactions())
    assert ask_for_missing(timezone.now()) == 0, "what is out of order may still come"
    assert missing([(Terminal.objects.get().pk, 1)]) == {(Terminal.objects.get().pk, 1): [2, 4]}
    assert ask_for_missing(later()) == 1
    assert ask_for_missing(later(3)) == 0, "not again within the hour"
    assert obey(device, "upload_transactions").state == "succeeded"
    assert Transaction.objects.filter(transaction_id__in=[one.id for one in lost]).count() == 2
    assert BatchSequence.objects.get().gap_since is None
    assert ask_for_missing(later(90)) == 0
    told = Fact.objects.get(kind="settlement.gap_found")
    assert told.body == {"batch_number": 1, "count": 2, "first": [2, 4]}


def test_a_gap_at_the_end_of_a_settled_batch_is_found_by_its_number_and_balances_in_the_end(register: Register) -> None:
    device = working_device(register("SN-1"), Faults(lost_upload=True))
    for _ in range(3):
        device.sell()
    deliver(*device.upload_transactions())
    request_settlement(terminal=Terminal.objects.get(), actor="ops")
    obey(device, "settle")
    assert SettlementRun.objects.get().state == "unbalanced"
    assert ask_for_missing(later()) == 1
    obey(device, "upload_transactions")
    assert SettlementRun.objects.get().state == "balanced"


def test_what_a_terminal_does_not_have_is_asked_for_a_few_times_only(device: Device) -> None:
    deliver(upload(device, record(sequence=3)))
    asked = [ask_for_missing(later(120 * n)) for n in range(1, 9)]
    assert asked == [1] * 5 + [0] * 3


def test_out_of_order_is_no_gap(device: Device) -> None:
    for sequence in (3, 1, 2):
        deliver(upload(device, record(sequence=sequence)))
    assert BatchSequence.objects.get().gap_since is None


def test_a_message_with_a_card_number_is_refused_and_nothing_of_it_is_kept(device: Device) -> None:
    pan = "4242424242424242"
    bad = msgspec.structs.replace(record(), card_token=pan)
    answer = Result(new_id(), "failed", code="host", detail=f"declined {pan}")
    deliver(upload(device, bad), device.answer(answer))
    assert not Transaction.objects.exists()
    assert {letter.reason for letter in DeadLetter.objects.all()} == {"card_data"}
    assert Fact.objects.filter(kind="link.card_data_refused").count() == 2
    with connection.cursor() as cursor:
        for table in ("link_deadletter", "common_fact", "link_command", "settlement_transaction"):
            count = sql.SQL("SELECT count(*) FROM {table} t WHERE t::text LIKE ANY(%s)").format(
                table=sql.Identifier(table)
            )
            cursor.execute(count, [[f"%{pan}%", f"%{pan.encode().hex()}%"]])
            assert cursor.fetchone() == (0,), table


@pytest.mark.parametrize(
    "payload", [b'{"pan": "4242424242424242"', b"4242424242424242", b'{"type":"4242424242424242"}']
)
def test_what_cannot_be_read_is_not_kept_either_where_it_may_hold_a_card_number(device: Device, payload: bytes) -> None:
    deliver(Outgoing(device.memory.topics["event"], payload))
    letter = DeadLetter.objects.get()
    assert (letter.reason, bytes(letter.payload), "4242" in str(letter.values)) == ("card_data", b"", False)


def test_a_boot_id_or_a_serial_that_looks_like_a_card_number_keeps_nobody_from_settling(register: Register) -> None:
    device = working_device(register("490154203237518"))  # an IMEI has the check digit of a card number
    device.boot_id = "4242424242424242"
    assert deliver(device.hello(), upload(device, record())).dead == 0
    assert Transaction.objects.count() == 1


def test_a_device_id_that_is_a_card_number_is_not_kept(device: Device) -> None:
    deliver(Outgoing("tw/v1/47/4242424242424242/up/event", b"{}"))
    assert DeadLetter.objects.get().topic == "(not kept)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12.34 EUR", 1),
        ("12.34 USD", 0),
        ("000731", 1),  # STAN
        ("606120000731", 1),  # RRN
        ("A1B2C3", 1),
        ("4242", 1),
        ("sn-1", 2),
        ("Corner", 2),
        ("12.34 EUR 4242", 1),
        ("12.34 EUR 4243", 0),
        ("2026-11-20", 1),
        ("2026-13-45", 0),
        ("'; DROP TABLE", 0),
    ],
)
def test_a_transaction_is_found_by_what_somebody_has_in_hand(
    device: Device, api: APIClient, staff: Client, text: str, found: int
) -> None:
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    told: dict[str, Any] = {
        "stan": "000731",
        "rrn": "606120000731",
        "approval_code": "A1B2C3",
        "card_last4": "4242",
        "occurred_at": at,
    }
    deliver(upload(device, record(amount_minor=1234, **told), record(amount_minor=999)))
    assert len(api.get("/api/v1/settlement/transactions/", {"search": text}).json()["results"]) == found
    page = staff.get(reverse("admin:settlement_transaction_changelist"), {"q": text})
    assert page.context["cl"].result_count == found


def test_months_are_made_ahead_and_old_ones_dropped_whole(device: Device) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_partition_tree('settlement_transaction') WHERE isleaf")
        before = cursor.fetchone()[0]
    deliver(upload(device, record(occurred_at=datetime(2031, 5, 20, tzinfo=UTC)), record()))
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    keep_partitions(PARTITIONED, date(2031, 5, 20))
    assert Transaction.objects.filter(occurred_at__year=2031).count() == 1
    assert not Transaction.objects.filter(occurred_at__year=2026).exists(), "that is longer ago than it is kept"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_partition_tree('settlement_transaction') WHERE isleaf")
        assert cursor.fetchone()[0] <= before
    assert Command.objects.filter(type="settle").count() == 0
