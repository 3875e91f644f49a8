"""The audit chain: it shows every change, and the database refuses them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from rest_framework.test import APIClient

from terminals import audit
from terminals.models import AuditEntry, Merchant, Terminal


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE terminals_auditentry SET actor = 'nobody'",
        "UPDATE terminals_auditentry SET detail = '{}'",
        "DELETE FROM terminals_auditentry",
    ],
)
def test_the_database_refuses_to_change_the_past(register: Callable[[str], Terminal], change: str) -> None:
    register("SN-1")
    with (
        pytest.raises(ProgrammingError, match="never changed or deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)
    assert AuditEntry.objects.get().actor == "ops"


def test_a_change_behind_the_databases_back_is_found(register: Callable[[str], Terminal]) -> None:
    for n in range(3):
        register(f"SN-{n}")
    call_command("verify_audit")
    second = AuditEntry.objects.order_by("id")[1]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE terminals_auditentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE terminals_auditentry SET actor = 'nobody' WHERE id = %s", [second.pk])
        cursor.execute("ALTER TABLE terminals_auditentry ENABLE TRIGGER USER")
    assert audit.first_broken_entry() == second
    with pytest.raises(CommandError):
        call_command("verify_audit")


@pytest.mark.django_db(transaction=True)
def test_an_entry_outside_of_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError, match="in the transaction of the action"):
        audit.record(actor="ops", action="x", subject="y")
    assert AuditEntry.objects.count() == 0


def test_an_action_that_fails_leaves_no_entry(api: APIClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("terminals.audit.entry_hash", lambda entry: (_ for _ in ()).throw(RuntimeError("disk full")))
    with pytest.raises(RuntimeError, match="disk full"):
        api.post("/api/v1/merchants/", {"name": "Bakery", "mid": "1"}, format="json")
    assert Merchant.objects.count() == AuditEntry.objects.count() == 0
