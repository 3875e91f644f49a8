"""The third side: what a file says was credited is held against what was settled; each credit counts once, whatever happens."""

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.estate.models import Organisation, Terminal
from terminals.link.protocol.messages.settlement import Total
from terminals.settlement import tasks
from terminals.settlement.accounts.services import approve, propose
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.credits import matching, reading, services
from terminals.settlement.credits.expecting import after_business_days
from terminals.settlement.models import (
    Batch,
    BatchCredit,
    Case,
    CreditAccount,
    CreditChunk,
    CreditEntry,
    CreditFile,
    CreditProfile,
    CreditReject,
    Difference,
)
from terminals.settlement.plans.calendars import Days
from terminals.simulator.device import Device
from tests.conftest import deliver, make_plan, set_schedule, sold
from tests.terminals.settlement.credits.conftest import brought, make_profile, registered, report, rows, settled
from tests.terminals.settlement.credits.files import Credit, camt


def told() -> list[str]:
    return sorted(sentence_of(one) for one in Difference.objects.filter(is_open=True))


def test_a_batch_that_was_credited_in_full_has_its_third_side_and_no_case(
    device: Device, profile: CreditProfile
) -> None:
    settled(device)
    job = brought(profile, camt([Credit(amount="9.80", fee="0.20", entry_id="R1")]))
    assert (job.state, job.entry_count, job.handled_count, job.percent) == ("done", 1, 1, 100)
    credit = BatchCredit.objects.get()
    assert (credit.net_minor, credit.fee_minor, credit.value_date) == (980, 20, date(2026, 11, 26))
    assert not Case.objects.exists()
    assert not CreditChunk.objects.exists(), "the file's bytes go when it has been read"
    fact = Fact.objects.get(kind="settlement.batch_credited")
    said = "batch 000001: 9.80 EUR credited, fee 0.20 EUR, value date 2026-11-26"
    assert text_of(fact.kind, fact.body) == f"{said} (file {job.pk})"
    assert AuditEntry.objects.filter(action="creditfile.bring").count() == 1


@pytest.mark.parametrize(
    ("credits", "sentence"),
    [
        (["7.66"], "batch 000001: 2.34 EUR too little credited: 7.66 EUR of 10.00 EUR"),
        (["12.00"], "batch 000001: 2.00 EUR too much credited: 12.00 EUR for 10.00 EUR"),
        (["10.00", "10.00"], "batch 000001: credited twice: 20.00 EUR for 10.00 EUR"),
    ],
)
def test_what_was_credited_wrongly_is_a_case(
    device: Device, profile: CreditProfile, credits: list[str], sentence: str
) -> None:
    settled(device)
    brought(profile, camt([Credit(amount=amount) for amount in credits]))
    assert told() == [sentence]
    assert Case.objects.get().subject == "credit"


def test_what_comes_later_explains_it(device: Device, profile: CreditProfile) -> None:
    settled(device)
    brought(profile, camt([Credit(amount="6.00")]))
    brought(profile, camt([Credit(amount="4.00")]))
    assert Case.objects.get().state == "explained"
    assert BatchCredit.objects.get().net_minor == 1000


def test_a_shortfall_names_the_one_sale_of_just_that_amount(device: Device, profile: CreditProfile) -> None:
    deliver(sold(device, 700), sold(device, 300))
    report(device, 1, [Total("card", "sale", "EUR", 2, 1000)])
    brought(profile, camt([Credit(amount="7.00")]))
    (suspect,) = Difference.objects.get().suspects
    assert Terminal.objects.get().transactions.get(pk=suspect).amount_minor == 300


def test_a_credit_that_came_before_its_settlement_is_compared_when_that_comes(
    device: Device, profile: CreditProfile
) -> None:
    brought(profile, camt([Credit()]))
    (said,) = told()
    assert said.startswith("batch 000001: 10.00 EUR credited, of which nothing was settled")
    settled(device)
    assert told() == []


def test_credits_of_a_method_are_held_against_that_method(device: Device, csv_profile: CreditProfile) -> None:
    totals = [
        Total("card", "sale", "EUR", 1, 1000, scheme="visa"),
        Total("card", "sale", "EUR", 1, 500, scheme="mastercard"),
        Total("qr", "sale", "EUR", 1, 300, scheme="alipay"),
    ]
    report(device, 1, totals)
    Difference.objects.all().delete()
    brought(
        csv_profile,
        rows("00000001,1,10.00,,EUR,,VISA,", "00000001,1,4.00,,EUR,,CARD,", "00000001,1,3.00,,EUR,,Alipay,"),
    )
    assert told() == ["batch 000001: 1.00 EUR too little credited: 4.00 EUR of 5.00 EUR"]


def test_the_same_file_is_not_taken_twice_and_the_same_entry_counts_once(
    device: Device, profile: CreditProfile
) -> None:
    settled(device)
    content = camt([Credit(entry_id="R1")])
    brought(profile, content)
    with pytest.raises(Refusal, match="this very file was brought before"):
        brought(profile, content)
    notification = brought(profile, camt([Credit(entry_id="R1"), Credit(batch=2, entry_id="R1")], kind="054"))
    assert sorted(notification.entries.values_list("state", flat=True)) == ["matched", "repeated"]
    assert BatchCredit.objects.get(batch_number=1).entry_count == 1


def test_a_file_that_breaks_in_the_middle_leaves_nothing(
    device: Device, profile: CreditProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(device)
    monkeypatch.setattr(reading, "CHUNK", 2)
    content = camt([Credit(batch=n) for n in range(1, 8)])
    job = brought(profile, content[:-300])
    assert (job.state, job.reason, job.entry_count) == ("failed", "bad_xml", 0)
    assert not CreditEntry.objects.exists()
    assert not CreditChunk.objects.exists()
    assert not BatchCredit.objects.exists()
    assert brought(profile, content[:-300]).state == "failed", "it may be brought again"


def test_rejects_say_why_and_the_rest_counts(device: Device, csv_profile: CreditProfile) -> None:
    settled(device)
    job = brought(csv_profile, rows("00000001,1,10.00,,EUR,,,", "00000001,1,x,,EUR,,,"))
    assert (job.state, job.entry_count, job.reject_count) == ("done", 1, 1)
    reject = CreditReject.objects.get()
    assert (reject.number, reject.why()) == (3, "'x' is no amount as the profile describes it")


def test_a_file_of_another_profile_is_refused_before_it_fills_the_list(
    csv_profile: CreditProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_REJECTS", 3)
    job = brought(csv_profile, rows(*["00000001,1,x,,EUR,,,"] * 5))
    assert (job.state, job.reason) == ("failed", "too_many_rejects")


def test_an_unknown_terminal_is_a_case_of_the_organisation_until_it_is_registered(
    acquirer: Organisation, profile: CreditProfile
) -> None:
    brought(profile, camt([Credit("00000042", 3)]))
    assert told() == ["batch 000003: 10.00 EUR credited for 00000042, a terminal that nobody knows"]
    case = Case.objects.get()
    assert (case.terminal, case.organisation) == (None, acquirer)
    terminal = registered(acquirer, "SN-42", "00000042")
    tasks.match_late_credits()
    assert BatchCredit.objects.get().terminal == terminal
    case.refresh_from_db()
    assert case.state == "explained"
    (said,) = told()
    assert said.startswith("batch 000003: 10.00 EUR credited, of which nothing was settled")


def test_a_file_reaches_no_terminal_of_another_organisation(device: Device) -> None:
    settled(device)
    foreign = make_profile(Organisation.objects.create(name="Other"))
    brought(foreign, camt([Credit()]))
    assert not BatchCredit.objects.exists()
    assert told() == ["batch 000001: 10.00 EUR credited for 00000001, a terminal that nobody knows"]


def test_of_two_terminals_with_one_tid_the_mid_or_the_batch_tells_which(
    acquirer: Organisation, device: Device, profile: CreditProfile
) -> None:
    other = registered(acquirer, "SN-2", "00000001", mid="2")
    brought(profile, camt([Credit(batch=9)]))
    assert CreditEntry.objects.get().state == "unknown", "nobody knows which of them"
    settled(device)
    brought(profile, camt([Credit(batch=1)]))
    assert BatchCredit.objects.get(batch_number=1).terminal.serial == "SN-1"
    with_mid = make_profile(acquirer, "With MID", reference="TID {tid} MID {mid} BATCH {batch}")
    brought(with_mid, camt([Credit(text="TID 00000001 MID 0002 BATCH 5")]))
    assert BatchCredit.objects.get(batch_number=5).terminal == other


def test_a_credit_to_another_account_is_told_with_its_ends_alone(device: Device, profile: CreditProfile) -> None:
    merchant = Terminal.objects.get().store.merchant
    settled(device)
    settled(device, 2)
    brought(profile, camt([Credit()]))
    assert told() == [], "without an account on file nobody can tell"
    approve(account=propose(merchant=merchant, holder="B", number="GB29NWBK60161331926819", actor="ann"), actor="bob")
    brought(profile, camt([Credit(batch=2)]))
    assert told() == ["batch 000002: 10.00 EUR credited to an account that is not on file: DE89 … 3000"]
    brought(profile, camt([Credit(batch=3, amount="0.00")], iban="GB29NWBK60161331926819"))
    assert len(told()) == 1
    stored = CreditAccount.objects.all()
    assert all(b"DE89370400440532013000" not in bytes(one.sealed_number) for one in stored)


def test_a_file_that_was_taken_back_counts_no_more_and_may_come_again(device: Device, profile: CreditProfile) -> None:
    settled(device)
    content = camt([Credit(amount="8.00"), Credit("00000042", 1)])
    job = brought(profile, content)
    assert len(told()) == 2
    services.withdraw(job=job, actor="bob")
    tasks.work_on_credits()
    job.refresh_from_db()
    assert (job.state, told(), BatchCredit.objects.count()) == ("withdrawn", [], 0)
    with pytest.raises(Refusal, match="only a file that is done"):
        services.withdraw(job=job, actor="bob")
    assert brought(profile, content).state == "done"


def test_what_is_not_credited_by_its_day_is_told_and_explained_when_it_comes(
    device: Device, profile: CreditProfile
) -> None:
    terminal = Terminal.objects.get()
    set_schedule(terminal=terminal, plan=make_plan("watched", credit_days=2), actor="ops")
    settled(device)
    tasks.work_on_credits()
    batch = Batch.objects.get()
    due = batch.credit_due_on
    assert due == datetime.now(UTC).date() + timedelta(days=2)
    assert told() == []
    Batch.objects.update(credit_due_on=date(2026, 1, 5))
    tasks.work_on_credits()
    assert told() == ["batch 000001: 10.00 EUR not credited by 2026-01-05"]
    assert not Batch.objects.get().awaits_credit
    with CaptureQueriesContext(
        connection,
    ) as queries:
        tasks.work_on_credits()
    assert len(queries) == 1, "looked at once"
    brought(profile, camt([Credit()]))
    assert told() == []


def test_business_days_are_counted_by_the_plans_calendar() -> None:
    days = Days(country="DE", weekend=(6, 7))
    assert after_business_days(days, date(2026, 12, 23), 1) == date(2026, 12, 24)
    assert after_business_days(days, date(2026, 12, 24), 1) == date(2026, 12, 28)
    assert after_business_days(days, date(2026, 12, 24), 0) == date(2026, 12, 24)


def test_a_fee_that_the_file_does_not_say_is_borne_up_to_the_profiles_share(
    device: Device, acquirer: Organisation
) -> None:
    profile = make_profile(acquirer, "Nets", fee_most_bp=200)
    settled(device)
    settled(device, 2)
    brought(profile, camt([Credit(amount="9.80"), Credit(batch=2, amount="9.79")]))
    assert told() == ["batch 000002: 0.21 EUR too little credited: 9.79 EUR of 10.00 EUR"]


def test_statements_do_not_grow_with_the_entries(acquirer: Organisation, profile: CreditProfile) -> None:
    numbers = []
    for first, count in ((1, 3), (100, 60)):
        for n in range(first, first + count):
            registered(acquirer, f"SN-{n}", f"{n:08d}")
        job = services.bring(
            profile=profile,
            file=io.BytesIO(camt([Credit(f"{n:08d}") for n in range(first, first + count)])),
            name="x.xml",
            actor="ann",
        )
        assert reading.read_next()
        job.refresh_from_db()
        with CaptureQueriesContext(connection) as queries:
            assert matching.step(job) == count
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]


def test_a_worker_that_dies_while_it_reads_is_followed_by_another_that_begins_anew(
    device: Device, profile: CreditProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(device)
    monkeypatch.setattr(reading, "CHUNK", 1)
    job = services.bring(profile=profile, file=io.BytesIO(camt([Credit(), Credit(batch=2)])), name="x.xml", actor="ann")
    store = reading._store
    calls = []

    def dies(*args: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        store(*args)

    monkeypatch.setattr(reading, "_store", dies)
    with pytest.raises(KeyboardInterrupt):
        reading.read_next()
    assert CreditEntry.objects.count() == 1
    assert not reading.read_next(), "it is leased"
    CreditFile.objects.update(leased_until=datetime.now(UTC) - timedelta(seconds=1))
    monkeypatch.setattr(reading, "_store", store)
    tasks.work_on_credits()
    job.refresh_from_db()
    assert (job.state, job.entries.count()) == ("done", 2)
    assert BatchCredit.objects.get(batch_number=1).entry_count == 1


def test_a_tid_is_found_whatever_its_letters_case(acquirer: Organisation, profile: CreditProfile) -> None:
    terminal = registered(acquirer, "SN-1", "ab12")
    brought(profile, camt([Credit("Ab12")]))
    assert BatchCredit.objects.get().terminal == terminal


def test_a_value_date_that_is_far_ahead_is_rejected(device: Device, profile: CreditProfile) -> None:
    settled(device)
    year = timezone.localdate().year + 1
    job = brought(profile, camt([Credit(), Credit(batch=2, value_date=f"{year}-12-11")]))
    assert (job.state, job.entry_count, job.reject_count) == ("done", 1, 1)
    assert job.rejects.get().why() == f"{year}-12-11 is too far ahead for a value date"


def test_a_worker_whose_lease_ran_out_leaves_the_file_to_whoever_has_it(
    device: Device, profile: CreditProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(device)
    job = services.bring(profile=profile, file=io.BytesIO(camt([Credit()])), name="x.xml", actor="ann")
    read, overtaken = reading._read, datetime(2099, 1, 1, tzinfo=UTC)

    def too_late(mine: CreditFile) -> None:
        CreditFile.objects.filter(pk=mine.pk).update(leased_until=overtaken)
        read(mine)

    monkeypatch.setattr(reading, "_read", too_late)
    assert not reading.read_next()
    job.refresh_from_db()
    assert (job.state, job.leased_until, CreditEntry.objects.count()) == ("reading", overtaken, 0)


def test_a_large_file_is_taken_back_in_pieces_and_says_who_did_it(
    device: Device, profile: CreditProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(device)
    monkeypatch.setattr(matching, "CHUNK", 2)
    job = brought(profile, camt([Credit(batch=number, entry_id=f"R{number}") for number in range(1, 6)]))
    services.withdraw(job=job, actor="bob")
    tasks.work_on_credits()
    job.refresh_from_db()
    assert (job.state, job.withdrawn_by, job.withdrawn_to) == ("withdrawn", "bob", 5)
    assert set(CreditEntry.objects.values_list("state", flat=True)) == {"withdrawn"}
    assert not BatchCredit.objects.exists()


def test_a_profile_with_files_stays_whose_it_is_and_what_it_is(
    device: Device, profile: CreditProfile, admin_client: Client
) -> None:
    settled(device)
    brought(profile, camt([Credit()]))
    other = Organisation.objects.create(name="Another")
    url = f"/api/v1/settlement/credit-profiles/{profile.pk}/"
    for change in ({"organisation": other.pk}, {"format": "csv"}):
        answer = admin_client.patch(url, change, content_type="application/json")
        assert (answer.status_code, "files were brought" in answer.content.decode()) == (400, True), change
    assert admin_client.patch(url, {"name": "Our bank"}, content_type="application/json").status_code == 200
