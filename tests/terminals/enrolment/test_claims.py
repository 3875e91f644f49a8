"""Installing a device: the code of a slip and the serial of what is in the installer's hands."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.enrolment.codes import OtherSerial, claim, issue_activation_code, issue_codes
from terminals.enrolment.models import ActivationCode
from terminals.enrolment.services import enrol
from terminals.estate.models import Membership, Merchant, Store, Terminal
from tests.conftest import enrolled_device, make_csr

Register = Callable[[str], Terminal]


@pytest.fixture
def ida(db: None) -> User:
    """An installer of the merchant of whom `register` makes terminals."""
    merchant, _ = Merchant.objects.get_or_create(name="Bakery", mid="1")
    ida = User.objects.create_user("ida", is_staff=True)
    Membership.objects.create(user=ida, role=Group.objects.get(name="installer"), merchant=merchant)
    return ida


def refused(reason: str, **request: Any) -> None:
    """Claim, expect the refusal, and find that nothing was changed."""
    before = list(Terminal.objects.order_by("pk").values_list("serial", "device_id"))
    with pytest.raises(Refusal) as refusal:
        claim(**request)
    assert refusal.value.reason == reason
    assert list(Terminal.objects.order_by("pk").values_list("serial", "device_id")) == before
    assert not ActivationCode.objects.exclude(claimed_at=None).exists()


def test_the_device_that_was_registered_is_claimed(register: Register, ida: User) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    assert claim(code=code.lower(), serial="SN-1", user=ida).serial == "SN-1"
    assert ActivationCode.objects.get().claimed_by == "ida"
    assert AuditEntry.objects.filter(action="terminal.claim", actor="ida", subject="terminal:SN-1").exists()
    assert enrol(code=code, serial="SN-1", csr_pem=make_csr(ec.generate_private_key(ec.SECP256R1())))


def test_another_device_takes_the_place_when_the_installer_says_so(register: Register, ida: User) -> None:
    terminal = register("SN-1")
    code = issue_activation_code(terminal=terminal, actor="ops")
    with pytest.raises(OtherSerial, match="issued for SN-1, not for SN-9"):
        claim(code=code, serial="SN-9", user=ida)
    assert claim(code=code, serial="SN-9", user=ida, in_place=True).pk == terminal.pk
    terminal.refresh_from_db()
    assert (terminal.serial, terminal.device_id) == ("SN-9", "SN-9")
    assert AuditEntry.objects.get(action="terminal.claim").detail == {"registered_as": "SN-1"}
    assert enrol(code=code, serial="SN-9", csr_pem=make_csr(ec.generate_private_key(ec.SECP256R1())))


def test_what_cannot_be_claimed(register: Register, ida: User) -> None:
    register("SN-2")
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    refused("serial_taken", code=code, serial="sn-2", user=ida, in_place=True)
    refused("bad_serial", code=code, serial="?", user=ida, in_place=True)
    refused("unknown_code", code="AAAAA-BBBBB", serial="SN-1", user=ida)
    enrolled = register("SN-3")
    enrolled_device(enrolled)
    again = issue_activation_code(terminal=enrolled, actor="ops")
    refused("enrolled_before", code=again, serial="SN-9", user=ida, in_place=True)
    ActivationCode.objects.filter(used_at=None).update(expires_at="2020-01-01T00:00Z")
    refused("code_expired", code=code, serial="SN-1", user=ida)


def test_a_code_of_another_merchant_does_not_exist_for_an_installer(register: Register, ida: User) -> None:
    terminal = register("SN-1")
    code = issue_activation_code(terminal=terminal, actor="ops")
    store = Store.objects.create(merchant=Merchant.objects.create(name="Books", mid="2"), name="Pier")
    Terminal.objects.update(store=store)
    refused("unknown_code", code=code, serial="SN-1", user=ida)
    refused("unknown_code", code=code, serial="SN-2", user=ida, in_place=True)


def test_codes_for_many_take_a_fixed_number_of_statements_and_end_the_earlier_ones(register: Register) -> None:
    few, many = [register(f"SN-{n}").pk for n in range(2)], [register(f"SX-{n:02}").pk for n in range(30)]
    counts = []
    for ids in (few, many):
        with CaptureQueriesContext(connection) as queries:
            first = issue_codes(terminal_ids=ids, actor="ops")
        counts.append(len(queries))
        again = issue_codes(terminal_ids=ids, actor="ops")
        assert first.keys() == again.keys() == set(ids)
        assert not set(first.values()) & set(again.values())
    assert counts[0] == counts[1] <= 9
    assert ActivationCode.objects.count() == 32


def test_a_facts_words_say_in_whose_place(register: Register, ida: User) -> None:
    terminal = register("SN-1")
    claim(code=issue_activation_code(terminal=terminal, actor="ops"), serial="SN-9", user=ida, in_place=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT body::text FROM common_fact WHERE kind = 'enrolment.claimed'")
        assert json.loads(cursor.fetchone()[0]) == {"by": "ida", "registered_as": "SN-1"}
