"""The audit chain: it shows every change, and the database refuses them."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from terminals.common.audit import anchors, chain
from terminals.common.audit import services as audit
from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Merchant, Terminal


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE common_auditentry SET actor = 'nobody'",
        "UPDATE common_auditentry SET detail = '{}'",
        "DELETE FROM common_auditentry",
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


@pytest.mark.parametrize("table", ["common_auditentry", "common_auditseal"])
def test_the_audit_cannot_be_emptied(register: Callable[[str], Terminal], table: str) -> None:
    register("SN-1")
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    with (
        pytest.raises(ProgrammingError, match="never changed or deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"TRUNCATE {table} CASCADE")
    assert AuditEntry.objects.count() == 1


def behind_the_databases_back(statement: str) -> None:
    tables = ("common_auditentry", "common_auditseal")
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement)
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.fixture
def sealed(register: Callable[[str], Terminal], tmp_path: Path, settings: Any) -> str:
    """Three sealed entries and an anchor; the last hash."""
    settings.AUDIT_ANCHOR_FILE = str(tmp_path / "anchors.jsonl")
    for n in range(3):
        register(f"SN-{n}")
    assert chain.seal() == 3
    assert anchors.write_anchor()
    assert not anchors.write_anchor(), "nothing new to anchor"
    return chain.verify({}).last_hash


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE common_auditentry SET actor = 'nobody' WHERE subject = 'terminal:SN-1'", "at position 2 was changed"),
        ("UPDATE common_auditentry SET detail = '{}' WHERE subject = 'terminal:SN-1'", "at position 2 was changed"),
        ("DELETE FROM common_auditentry WHERE subject = 'terminal:SN-1'", "the entry at position 2 is gone"),
        ("DELETE FROM common_auditseal WHERE position = 2", "position 2 is missing"),
        ("DELETE FROM common_auditseal WHERE position = 3", "its tail was cut"),
    ],
)
def test_a_change_behind_the_databases_back_is_found(sealed: str, change: str, told: str) -> None:
    call_command("verify_audit")
    behind_the_databases_back(change)
    with pytest.raises(CommandError, match=told):
        call_command("verify_audit")


def test_a_chain_that_was_rewritten_as_a_whole_contradicts_its_anchor_and_what_was_noted(
    sealed: str, settings: Any
) -> None:
    call_command("verify_audit", expect=sealed, count=3)
    behind_the_databases_back("UPDATE common_auditentry SET actor = 'nobody'; DELETE FROM common_auditseal")
    behind_the_databases_back("INSERT INTO common_unsealedentry SELECT id FROM common_auditentry")
    assert chain.seal() == 3
    with pytest.raises(CommandError, match="the chain was rewritten"):
        call_command("verify_audit")
    settings.AUDIT_ANCHOR_FILE += ".lost"
    call_command("verify_audit")
    with pytest.raises(CommandError, match="the chain was rewritten"):
        call_command("verify_audit", expect=sealed, count=3)
    with pytest.raises(CommandError, match="belong together"):
        call_command("verify_audit", expect=sealed)


def test_an_anchor_that_somebody_else_wrote_is_refused(sealed: str, settings: Any) -> None:
    with Path(settings.AUDIT_ANCHOR_FILE).open("a") as file:
        file.write("eyJhbGciOiJub25lIn0.eyJwb3NpdGlvbiI6OX0.\n")
    with pytest.raises(CommandError, match=r"line 2 of .* does not verify"):
        call_command("verify_audit")


def test_what_is_not_sealed_yet_is_told(sealed: str, register: Callable[[str], Terminal]) -> None:
    register("SN-9")
    out = io.StringIO()
    call_command("verify_audit", stdout=out)
    assert "3 entries" in out.getvalue()
    assert "1 not sealed yet" in out.getvalue()
    assert (chain.seal(), chain.seal()) == (1, 0)


def test_any_number_of_subjects_costs_one_statement(register: Callable[[str], Terminal]) -> None:
    for count in (1, 100):
        with CaptureQueriesContext(connection) as captured, transaction.atomic():
            audit.record_many(actor="ops", action="x", subjects=[f"terminal:{n}" for n in range(count)])
        assert len([q for q in captured if "SAVEPOINT" not in q["sql"]]) == 1


@pytest.mark.django_db(transaction=True)
def test_an_entry_outside_of_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError, match="in the transaction of the action"):
        audit.record(actor="ops", action="x", subject="y")
    assert AuditEntry.objects.count() == 0


def test_an_action_that_fails_leaves_no_entry(api: APIClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("terminals.common.audit.services._append", lambda *entry: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        api.post("/api/v1/merchants/", {"name": "Bakery", "mid": "1"}, format="json")
    assert Merchant.objects.count() == AuditEntry.objects.count() == 0


def test_a_number_that_json_cannot_carry_does_not_spoil_the_chain(
    api: APIClient, register: Callable[[str], Terminal]
) -> None:
    terminal = register("SN-1")
    answer = api.patch(
        f"/api/v1/terminals/{terminal.pk}/", b'{"tid": 1e16, "mid": "7"}', content_type="application/json"
    )
    assert answer.status_code in (200, 400)
    api.patch(f"/api/v1/terminals/{terminal.pk}/", {"tid": "42"}, format="json")
    detail = AuditEntry.objects.filter(action="terminal.update").latest("id").detail
    assert (detail["new"], list(detail["old"])) == ({"tid": "42"}, ["tid"])
    chain.seal()
    call_command("verify_audit")


def test_an_anchor_torn_by_the_end_of_its_writer_is_no_forgery_and_the_next_one_replaces_it(
    sealed: str, settings: Any, register: Callable[[str], Terminal]
) -> None:
    path = Path(settings.AUDIT_ANCHOR_FILE)
    whole = path.read_text()
    path.write_text(whole + whole[:100])
    assert list(anchors.read_anchors().values()) == [sealed]
    register("SN-9")
    chain.seal()
    assert anchors.write_anchor()
    assert path.read_text().startswith(whole)
    assert len(anchors.read_anchors()) == 2


def test_the_first_anchor_of_a_position_counts(sealed: str, settings: Any) -> None:
    path = Path(settings.AUDIT_ANCHOR_FILE)
    (position,) = anchors.read_anchors()
    body = {"position": position, "hash": "0" * 64, "at": "2026-01-01T00:00:00Z"}
    with path.open("a") as file:
        file.write(jwt.encode(body, Path(settings.AUDIT_SIGNING_KEY_FILE).read_bytes(), anchors.ALGORITHM) + "\n")
    assert anchors.read_anchors() == {position: sealed}


def test_a_new_anchor_reads_only_the_end_of_the_file(
    sealed: str, settings: Any, register: Callable[[str], Terminal]
) -> None:
    path = Path(settings.AUDIT_ANCHOR_FILE)
    path.write_text("not an anchor at all\n" * 10_000 + path.read_text())
    register("SN-9")
    chain.seal()
    assert anchors.write_anchor()
