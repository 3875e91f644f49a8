"""What hostile or broken files must not do: stop other files, tell one organisation of another, or leave numbers in the clear."""

import io
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from terminals.estate.models import Membership, Organisation
from terminals.link.protocol.messages.settlement import Total
from terminals.settlement import tasks
from terminals.settlement.credits import matching, reading, services
from terminals.settlement.credits.rules import MOST_MINOR, named_in
from terminals.settlement.models import BatchCredit, CreditEntry, CreditProfile, CreditReject, DailyClose, Difference
from terminals.simulator.device import Device
from tests.terminals.settlement.credits.conftest import brought, make_profile, registered, report, rows, settled
from tests.terminals.settlement.credits.files import Credit, camt


def test_two_organisations_may_name_the_same_unknown_terminal_and_see_only_their_own(
    acquirer: Organisation, profile: CreditProfile
) -> None:
    other = Organisation.objects.create(name="Other")
    theirs = make_profile(other, "Theirs")
    brought(profile, camt([Credit("00000042", 3, amount="777.77")]))
    mine = brought(theirs, camt([Credit("00000042", 3, amount="0.01")]))
    assert mine.state == "done"
    assert Difference.objects.filter(is_open=True).count() == 2
    eve = User.objects.create_user("eve", password="a-long-password-here", is_staff=True)
    Membership.objects.create(user=eve, role=Group.objects.get(name="viewer"), organisation=other)
    browser = Client()
    browser.force_login(eve)
    page = browser.get(reverse("credit-file", args=[mine.pk])).content.decode()
    assert "0.01 EUR" in page
    assert "777.77" not in page


def test_a_file_that_meets_an_unforeseen_error_counts_for_nothing_and_stops_no_other(
    device: Device, acquirer: Organisation, profile: CreditProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(device)
    settled(device, 2)
    bad = services.bring(
        profile=make_profile(acquirer, "bad"), file=io.BytesIO(camt([Credit(), Credit(batch=2)])), name="x", actor="ann"
    )
    good = services.bring(profile=profile, file=io.BytesIO(camt([Credit()])), name="good", actor="ann")
    follow = matching._follow

    def breaks(entries: Any) -> None:
        follow(entries)
        if any(entry.file_id == bad.pk and entry.batch_number == 2 and entry.state != "withdrawn" for entry in entries):
            raise ZeroDivisionError

    monkeypatch.setattr(matching, "_follow", breaks)
    monkeypatch.setattr(matching, "CHUNK", 1)
    for _ in range(4):
        tasks.work_on_credits()
    monkeypatch.setattr(matching, "_follow", follow)
    tasks.work_on_credits()
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.state, bad.reason, good.state) == ("withdrawn", "unmatched", "done")
    assert list(BatchCredit.objects.values_list("batch_number", "net_minor")) == [(1, 1000)]


def test_amounts_that_would_not_add_up_are_rejected(
    device: Device, profile: CreditProfile, acquirer: Organisation
) -> None:
    job = brought(profile, camt([Credit(amount="9999999999999.99")] * 3 + [Credit()]))
    assert (job.state, job.reject_count) == ("done", 3)
    by_minor = make_profile(acquirer, "csv", "csv", amounts="minor")
    job = brought(by_minor, rows(f"00000001,1,{MOST_MINOR + 1},,EUR,,,", "00000001,1,1,,EUR,,,"))
    assert (job.state, job.reject_count) == ("done", 1)


def test_what_another_file_told_as_well_counts_when_the_first_is_taken_back(
    device: Device, profile: CreditProfile
) -> None:
    settled(device)
    first = brought(profile, camt([Credit(entry_id="R1")]))
    brought(profile, camt([Credit(entry_id="R1")], kind="054"))
    services.withdraw(job=first, actor="ann")
    tasks.work_on_credits()
    assert BatchCredit.objects.get().net_minor == 1000
    assert sorted(CreditEntry.objects.values_list("state", flat=True)) == ["matched", "withdrawn"]


def test_one_id_may_stand_for_the_parts_of_a_payment(device: Device, csv_profile: CreditProfile) -> None:
    totals = [
        Total("card", "sale", "EUR", 1, 1000, scheme="visa"),
        Total("qr", "sale", "EUR", 1, 1000, scheme="alipay"),
    ]
    report(device, 1, totals)
    brought(csv_profile, rows("00000001,1,10.00,,EUR,,VISA,P7", "00000001,1,10.00,,EUR,,Alipay,P7"))
    assert BatchCredit.objects.count() == 2


def test_entries_that_nobody_can_be_given_do_not_hold_up_others(acquirer: Organisation, profile: CreditProfile) -> None:
    for n in (1, 2):
        registered(acquirer, f"SN-{n}", "00000001", mid=str(n))
    brought(profile, camt([Credit(batch=n) for n in range(1, 7)]))
    brought(profile, camt([Credit("00000077")]))
    late = registered(acquirer, "SN-77", "00000077", mid="77")
    matching.match_late(float("inf"), limit=2)
    assert CreditEntry.objects.get(tid="00000077").terminal == late


def test_long_numbers_of_a_file_stand_nowhere_in_the_clear(csv_profile: CreditProfile) -> None:
    card, iban = "4111111111111111", "DE89370400440532013000"
    job = brought(
        csv_profile,
        rows(f"{card},1,1.00,,EUR,,,", f"00000001,1,{iban},,EUR,,,", f"1,1,1,,EUR,,{card},", "1,1,1,,EUR,,,"),
    )
    assert job.reject_count == 3
    kept = str(list(CreditReject.objects.values_list("values", flat=True)))
    job = brought(csv_profile, f"{card},{iban},5\n1,2,3\n".encode())
    for number in (card, iban):
        assert number not in kept + str(job.values)


def test_a_batch_of_number_zero_is_none() -> None:
    assert named_in("TID 1 BATCH 000000", "TID {tid} BATCH {batch}") is None


def test_a_day_is_not_closed_for_everybody_by_a_wrong_number(admin_client: Client) -> None:
    said = {"day": "2026-01-06", "organisation": "999999"}
    assert admin_client.post(reverse("close-day"), said).status_code == 404
    assert not DailyClose.objects.exists()


@pytest.mark.parametrize("spec", [[], [1], "x", 5, True])
def test_a_schedule_or_a_rule_of_another_type_is_refused(admin_client: Client, settings: Any, spec: Any) -> None:
    settings.EMAIL_URL = "smtp://localhost"
    said = {"name": "n", "spec": spec, "recipients": ["a@example.com"]}
    url = "/api/v1/settlement/"
    assert admin_client.post(f"{url}report-schedules/", said, content_type="application/json").status_code == 400
    rule = {"signal": "velocity", "settings": spec}
    assert admin_client.post(f"{url}risk-rules/", rule, content_type="application/json").status_code in (400, 409)


def test_two_names_in_a_reference_are_never_one_number() -> None:
    assert named_in("PAID 20261126", "{tid} {batch}") is None
    assert named_in("x 00000001 12", "{tid} {batch}") is not None


@pytest.mark.parametrize("junk", ["<!-- " + "x" * 5_000_000 + " -->", "<a/>" * 1_300_000])
def test_a_file_that_hides_little_in_much_is_refused_early(profile: CreditProfile, junk: str) -> None:
    content = camt([Credit(), Credit(batch=2)]).decode().replace("<Ntry>", junk + "<Ntry>", 1)
    job = brought(profile, content.encode())
    assert (job.state, job.reason) == ("failed", "too_large")


def test_a_row_without_an_end_and_a_file_of_empty_lines_are_refused(csv_profile: CreditProfile) -> None:
    endless = rows('"' + "\n" * 300_000 + '",1,1,,EUR,,,')
    assert brought(csv_profile, endless).reason == "bad_csv"
    assert brought(csv_profile, rows("00000001,1,1,,EUR,,,") + b"\n" * 110_000).reason == "bad_csv"


def test_a_file_that_kills_its_readers_is_given_up(profile: CreditProfile) -> None:
    job = services.bring(profile=profile, file=io.BytesIO(camt([Credit()])), name="x", actor="ann")
    type(job).objects.update(attempts=5)
    tasks.work_on_credits()
    job.refresh_from_db()
    assert (job.state, job.reason) == ("failed", "unreadable")


def test_a_sum_for_several_batches_goes_to_none_of_them(device: Device, profile: CreditProfile) -> None:
    both = Credit(amount="30.00", text="TID 00000001 BATCH 1 TID 00000001 BATCH 2")
    job = brought(profile, camt([both, Credit(batch=3)]))
    assert (job.state, job.reject_count) == ("done", 1)
    assert not BatchCredit.objects.filter(batch_number__in=(1, 2)).exists()


def test_charges_in_another_currency_are_no_fee(profile: CreditProfile) -> None:
    content = camt([Credit(fee="0.50"), Credit(batch=2)]).decode().replace('<Amt Ccy="EUR">0.50<', '<Amt Ccy="JPY">50<')
    job = brought(profile, content.encode())
    assert (job.reject_count, job.entry_count) == (1, 1)


def test_what_a_file_in_work_has_told_as_well_counts_when_the_first_is_taken_back(
    device: Device, profile: CreditProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(device)
    first = brought(profile, camt([Credit(entry_id="R1")]))
    monkeypatch.setattr(matching, "CHUNK", 1)
    second = [Credit(entry_id="R1"), Credit(batch=2, entry_id="R2")]
    job = services.bring(profile=profile, file=io.BytesIO(camt(second)), name="x", actor="ann")
    assert reading.read_next()
    job.refresh_from_db()
    matching.step(job)
    services.withdraw(job=first, actor="ann")
    tasks.work_on_credits()
    assert BatchCredit.objects.get(batch_number=1).net_minor == 1000
