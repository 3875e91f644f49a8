"""Settlement accounts: numbers that cannot be right are refused, nobody approves the own proposal, no page shows a whole one."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.estate.models import Merchant
from terminals.settlement.accounts.rules import checked
from terminals.settlement.accounts.services import approve, number_of, propose, reject, reseal_accounts
from terminals.settlement.models import SettlementAccount

IBAN, OTHER = "DE89370400440532013000", "GB29NWBK60161331926819"


@pytest.fixture
def merchant(db: None) -> Merchant:
    return Merchant.objects.create(name="Bakery", mid="1")


@pytest.mark.parametrize(
    ("country", "number", "bank", "kept"),
    [
        ("", "DE89 3704 0044 0532 0130 00", "DEUTDEFF", ("DE", IBAN)),
        ("", "gb29 nwbk 6016 1331 9268 19", "", ("GB", OTHER)),
        ("us", "021000021/123456789", "", ("US", "021000021/123456789")),
        ("NO", "8601 11 17947", "", ("NO", "86011117947")),
        ("NZ", "01-0242-0100194-00", "", ("NZ", "0102420100194000")),
    ],
)
def test_an_account_is_kept_without_spaces(country: str, number: str, bank: str, kept: tuple[str, str]) -> None:
    account = checked(country=country, number=number, bank=bank)
    assert (account.country, account.number) == kept
    assert account.number not in account.masked


@pytest.mark.parametrize(
    ("country", "number", "bank", "told"),
    [
        ("", "DE89370400440532013001", "", "this is no IBAN"),
        ("", "4242424242424242", "", "this is no IBAN"),
        ("", IBAN, "DEUT", "DEUT is no BIC"),
        ("US", "021000022/123456789", "", "this is no account of US"),
        ("US", "021000021", "", "this is no account of US"),
        ("FR", "123", "", "no local form is known for FR; write an IBAN"),
    ],
)
def test_a_number_that_cannot_be_right_is_refused(country: str, number: str, bank: str, told: str) -> None:
    with pytest.raises(Refusal, match=told):
        checked(country=country, number=number, bank=bank)


def test_a_change_takes_two_people_and_the_present_one_counts_until_then(merchant: Merchant) -> None:
    first = approve(account=propose(merchant=merchant, holder="B", number=IBAN, actor="ann"), actor="bob")
    second = propose(merchant=merchant, holder="B", number=OTHER, actor="ann")
    with pytest.raises(Refusal, match="whoever proposed an account does not approve it"):
        approve(account=second, actor="ann")
    assert list(SettlementAccount.objects.filter(state="active")) == [first]
    approve(account=second, actor="bob")
    first.refresh_from_db()
    assert (first.state, SettlementAccount.objects.get(state="active")) == ("replaced", second)
    with pytest.raises(Refusal, match="somebody has decided about this account before"):
        reject(account=second, actor="bob")
    actions = AuditEntry.objects.filter(action__startswith="settlementaccount.").values_list("action", flat=True)
    assert sorted(actions) == ["settlementaccount.approve"] * 2 + ["settlementaccount.propose"] * 2


def test_the_database_refuses_one_person_who_is_both(merchant: Merchant) -> None:
    one = propose(merchant=merchant, holder="B", number=IBAN, actor="ann")
    with pytest.raises(IntegrityError, match="account_approved_by_another"), transaction.atomic():
        SettlementAccount.objects.filter(pk=one.pk).update(state="active", decided_by="ann")


def test_a_number_is_sealed_and_is_neither_in_the_row_nor_in_the_audit_nor_on_a_page(
    merchant: Merchant, staff: Client, api: APIClient
) -> None:
    form = {"merchant": merchant.pk, "currency": "", "holder": "Bakery", "number": IBAN, "local_country": "", "bic": ""}
    assert staff.post(reverse("admin:settlement_settlementaccount_add"), form).status_code == 302
    one = SettlementAccount.objects.get()
    assert number_of(one) == IBAN
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(a)::text FROM settlement_settlementaccount a")
        assert IBAN not in cursor.fetchone()[0]
    shown = [staff.get(reverse("admin:settlement_settlementaccount_change", args=[one.pk])).content.decode()]
    shown.append(api.get(f"/api/v1/settlement/accounts/{one.pk}/").content.decode())
    shown += [str(detail) for detail in AuditEntry.objects.values_list("detail", flat=True)]
    assert all(IBAN not in text and "0532013" not in text for text in shown)
    assert "DE89 … 3000" in shown[0]


def test_a_wrong_number_is_told_on_the_form_and_nothing_is_kept(merchant: Merchant, staff: Client) -> None:
    form = {"merchant": merchant.pk, "holder": "Bakery", "number": IBAN[:-1] + "1"}
    page = staff.post(reverse("admin:settlement_settlementaccount_add"), form, follow=True).content.decode()
    assert "this is no IBAN" in page
    assert not SettlementAccount.objects.exists()


def test_two_people_by_program(merchant: Merchant, api: APIClient, django_user_model: Any) -> None:
    body = {"merchant": merchant.pk, "holder": "Bakery", "number": IBAN, "currency": "EUR"}
    made = api.post("/api/v1/settlement/accounts/", body, format="json").json()
    assert (made["state"], made["masked"], "number" in made) == ("proposed", "DE89 … 3000", False)
    assert api.post(f"/api/v1/settlement/accounts/{made['id']}/approve/").status_code == 409
    other = APIClient()
    other.force_authenticate(django_user_model.objects.create_superuser("second"))
    assert other.post(f"/api/v1/settlement/accounts/{made['id']}/approve/").json()["state"] == "active"
    wrong = api.post("/api/v1/settlement/accounts/", {**body, "number": "DE1"}, format="json")
    assert (wrong.status_code, wrong.json()["reason"]) == (409, "bad_account")


def test_numbers_are_sealed_anew_under_another_master_key(merchant: Merchant, monkeypatch: Any) -> None:
    one = propose(merchant=merchant, holder="B", number=IBAN, actor="ann")
    assert reseal_accounts() == 0
    SettlementAccount.objects.update(sealed_number=bytes(one.sealed_number))
    monkeypatch.setattr("terminals.common.vault.current_head", lambda: b"another")
    assert reseal_accounts() == 1
    one.refresh_from_db()
    assert number_of(one) == IBAN
