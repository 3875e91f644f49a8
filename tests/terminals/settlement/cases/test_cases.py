"""A difference becomes a case: it grows, explains itself, is followed by people to its end, and by two where it is large."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.test import APIClient

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.settlement import Settlement, Total
from terminals.settlement.cases import services
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.models import Case, Difference, SettlementRun
from terminals.settlement.runs.facts import TotalsMissing
from terminals.settlement.runs.services import fail_runs, request_settlement
from terminals.simulator.device import Device
from tests.conftest import deliver, sold, working_device

Register = Callable[[str], Terminal]


@pytest.fixture
def device(register: Register) -> Device:
    return working_device(register("SN-1"))


def settle(device: Device, number: int, count: int, minor: int, **more: Any) -> None:
    totals = [Total("card", "sale", "EUR", count, minor)] if count else []
    deliver(device.report("settlement", Settlement(number, device.now(), "EUR", totals, **more)))


def lose(device: Device, minor: int = 1234, number: int = 1) -> Case:
    """Let the terminal settle one sale more than it uploaded."""
    deliver(sold(device, 100, batch_number=number))
    settle(device, number, 2, 100 + minor)
    return Case.objects.latest("id")


def test_a_balanced_batch_costs_no_case_and_a_lost_sale_names_what_is_lost(device: Device) -> None:
    deliver(sold(device, 100))
    settle(device, 1, 1, 100)
    assert not Case.objects.exists()
    case = lose(device, number=2)
    assert (case.state, case.amount_minor, case.currency, case.severity) == ("open", 1234, "EUR", "low")
    told = "batch 000002: 1 card sale of 12.34 EUR that the terminal counted was never uploaded"
    assert sentence_of(Difference.objects.get()) == told
    fact = Fact.objects.get(kind="settlement.case_opened")
    assert text_of(fact.kind, fact.body) == f"case {case.pk} opened: records, 1 difference, 12.34 EUR"


def test_the_same_terminal_every_night_is_one_case_that_grows(device: Device) -> None:
    for number in (1, 2, 3):
        lose(device, 1000, number)
    case = Case.objects.get()
    assert (case.difference_count, case.seen_count, case.amount_minor) == (3, 3, 3000)
    assert Fact.objects.filter(kind="settlement.case_opened").count() == 1


def test_a_case_closes_by_itself_when_what_was_late_explains_it(device: Device) -> None:
    case = lose(device)
    deliver(sold(device, 1234))
    case.refresh_from_db()
    assert (case.state, case.amount_minor, case.difference_count) == ("explained", 0, 0)
    assert SettlementRun.objects.get().state == "balanced"
    assert not Difference.objects.get().is_open
    assert Fact.objects.filter(kind="settlement.case_explained").count() == 1


def test_money_that_a_failed_settlement_leaves_is_a_case_until_it_is_settled(device: Device) -> None:
    deliver(sold(device, 4757))
    request_settlement(terminal=Terminal.objects.get(), actor="ops")
    fail_runs(SettlementRun.objects.all(), TotalsMissing())
    case = Case.objects.get()
    assert (case.subject, case.amount_minor) == ("settling", 4757)
    settle(device, 1, 1, 4757)
    case.refresh_from_db()
    assert case.state == "explained"


def test_a_batch_that_was_left_open_is_told_when_a_newer_one_is_settled(device: Device) -> None:
    deliver(sold(device, 700, batch_number=1), sold(device, 100, batch_number=2))
    settle(device, 2, 1, 100)
    assert sentence_of(Difference.objects.get()) == "batch 000001 was left open with 7.00 EUR, a newer one was settled"
    settle(device, 1, 1, 700)
    settle(device, 3, 0, 0)
    assert Case.objects.get().state == "explained"


def test_what_the_host_did_not_accept_and_an_incomplete_upload_are_told(device: Device) -> None:
    settle(device, 1, 0, 0, host_response="95")
    settle(device, 2, 0, 0, upload_complete=False)
    told = SettlementRun.objects.get(batch_number=2)
    assert (told.state, told.reason) == ("unbalanced", "the terminal says that its upload is not complete")
    assert sorted(sentence_of(one) for one in Difference.objects.all()) == [
        "batch 000001: the host answered 95",
        "batch 000002: the terminal says that its upload is not complete",
    ]


def test_what_was_looked_at_and_closed_is_not_opened_again_by_a_later_comparison(device: Device) -> None:
    case = lose(device)
    services.close(case=case, resolution="merchant_charged", note="", actor="ann")
    deliver(sold(device, 5, "AUD"))
    found = Difference.objects.filter(is_open=True)
    assert [one.kind for one in found] == ["foreign_currency"], "the lost sale was looked at, number for number"
    deliver(sold(device, 50, "EUR"))
    kinds = Difference.objects.filter(is_open=True).values_list("kind", flat=True)
    assert sorted(kinds) == ["amount", "foreign_currency"], "with other numbers it is new"


def test_a_small_case_is_closed_by_one_and_a_large_one_by_two(device: Device) -> None:
    small = services.close(case=lose(device), resolution="host_error", note="seen", actor="ann")
    assert (small.state, small.needs_four_eyes, small.notes.get().text) == ("resolved", False, "seen")
    large = lose(device, 50_000, 2)
    assert services.close(case=large, resolution="fraud", note="", actor="ann").state == "approving"
    with pytest.raises(Refusal, match="whoever closed a case does not agree to it"):
        services.agree(case=large, actor="ann")
    done = services.agree(case=large, actor="bob")
    assert (done.state, done.resolved_by, done.approved_by) == ("resolved", "ann", "bob")
    told = Fact.objects.filter(kind="settlement.case_closed").latest("id")
    assert text_of(told.kind, told.body) == f"case {large.pk} closed by ann, agreed to by bob: fraud"
    with pytest.raises(Refusal, match=f"case {large.pk} is resolved by now"):
        services.agree(case=large, actor="bob")


def test_the_database_refuses_one_person_who_closes_a_large_case(device: Device) -> None:
    case = services.close(case=lose(device, 50_000), resolution="fraud", note="", actor="ann")
    alone = {"state": "resolved", "approved_by": "ann", "closed_at": case.opened_at}
    with pytest.raises(IntegrityError, match="large_case_closed_by_two"), transaction.atomic():
        Case.objects.filter(pk=case.pk).update(**alone)


def test_a_case_that_grows_while_it_waits_is_open_again(device: Device) -> None:
    case = services.close(case=lose(device, 50_000), resolution="fraud", note="", actor="ann")
    lose(device, 70_000, 2)
    case.refresh_from_db()
    assert (case.state, case.resolved_by, case.amount_minor) == ("open", "", 120_000)
    told = Fact.objects.get(kind="settlement.case_grew")
    said = f"case {case.pk} grew to 1,200.00 EUR and is open again; ann would have closed it: fraud"
    assert text_of(told.kind, told.body) == said


def test_who_closed_a_large_case_takes_that_back_and_nobody_else_does(device: Device) -> None:
    case = services.close(case=lose(device, 50_000), resolution="fraud", note="", actor="ann")
    with pytest.raises(Refusal, match="only ann, who closed it"):
        services.take_back(case=case, actor="bob")
    back = services.take_back(case=case, actor="ann")
    assert (back.state, back.resolution, back.resolved_by, back.needs_four_eyes) == ("open", "", "", False)
    assert AuditEntry.objects.filter(action="case.take_back", actor="ann").count() == 1
    with pytest.raises(Refusal, match=f"case {case.pk} is open by now"):
        services.take_back(case=case, actor="ann")


def test_who_does_not_agree_says_why_and_it_is_open_again(device: Device) -> None:
    case = services.close(case=lose(device, 50_000), resolution="fraud", note="", actor="ann")
    with pytest.raises(Refusal, match="write something"):
        services.send_back(case=case, note=" ", actor="bob")
    back = services.send_back(case=case, note="show me the voucher", actor="bob")
    assert (back.state, back.resolution, back.notes.get().text) == ("open", "", "show me the voucher")


def test_a_closed_case_is_opened_again_unless_another_one_is_open(device: Device) -> None:
    case = services.close(case=lose(device), resolution="no_difference", note="", actor="ann")
    again = services.reopen(case=case, note="the merchant wrote", actor="ann")
    assert (again.state, again.closed_at, again.differences.get().is_open) == ("open", None, True)
    services.close(case=again, resolution="no_difference", note="", actor="ann")
    other = lose(device, 99, 2)
    with pytest.raises(Refusal, match=f"case {other.pk} about the same is open"):
        services.reopen(case=case, note="once more", actor="ann")


@pytest.mark.parametrize(
    ("told", "refused"),
    [
        ({"text": ""}, "write something"),
        ({"text": "x" * 4001}, "at most 4000 characters"),
        ({"text": "card 4242424242424242"}, "full card number"),
        ({"text": "", "content": b"4242424242424242", "file_type": "text/plain"}, "full card number"),
        ({"text": "", "content": b"<script>", "file_type": "text/html"}, "bring a PDF"),
    ],
)
def test_a_note_that_may_not_be_kept_is_refused(device: Device, told: dict[str, Any], refused: str) -> None:
    case = lose(device)
    with pytest.raises(Refusal, match=refused):
        services.write(case=case, actor="ann", **told)
    assert not case.notes.exists()


def test_a_case_is_followed_to_its_end_on_its_page(device: Device, staff: Client, django_user_model: Any) -> None:
    case = lose(device, 50_000)
    url, act = reverse("case", args=[case.pk]), reverse("case-action", args=[case.pk])
    page = staff.get(url).content.decode()
    assert "1 card sale of 500.00 EUR that the terminal counted was never uploaded" in page
    assert "So much money is closed by two" in page
    voucher = SimpleUploadedFile('a"b.pdf', b"%PDF-1.7 voucher", "application/pdf")
    assert (
        "Noted." in staff.post(act, {"action": "write", "text": "hello", "file": voucher}, follow=True).content.decode()
    )
    file = staff.get(reverse("case-file", args=[case.pk, case.notes.get().pk]))
    assert (file.content, file["X-Content-Type-Options"]) == (b"%PDF-1.7 voucher", "nosniff")
    assert file["Content-Disposition"].startswith("attachment")
    staff.post(act, {"action": "take"})
    staff.post(act, {"action": "close", "resolution": "fraud", "text": "police told"})
    assert "It is closed as soon as somebody else agrees." in staff.get(url).content.decode()
    assert "does not agree to it" in staff.post(act, {"action": "agree"}, follow=True).content.decode()
    other = Client()
    other.force_login(django_user_model.objects.create_superuser("second"))
    assert "The case is closed." in other.post(act, {"action": "agree"}, follow=True).content.decode()
    case.refresh_from_db()
    assert (case.state, case.owner is not None) == ("resolved", True)
    letter = staff.get(reverse("case-letter", args=[case.pk])).content.decode()
    assert "500.00 EUR" in letter
    assert "Outcome: fraud" in letter
    verbs = AuditEntry.objects.filter(action__startswith="case.").order_by("id").values_list("action", flat=True)
    assert list(verbs) == ["case.write", "case.assign", "case.write", "case.propose", "case.agree"]


def test_many_cases_are_closed_at_once_after_a_look(register: Register, staff: Client) -> None:
    for n in range(3):
        lose(working_device(register(f"SN-{n}")), 50_000 if n == 2 else 1000)
    url = reverse("admin:settlement_case_changelist")
    chosen = {"action": "close_chosen", "_selected_action": list(Case.objects.values_list("pk", flat=True))}
    ahead = staff.post(url, chosen).content.decode()
    assert "3 cases, 520.00 EUR" in ahead
    assert "1 of them is of so much money that somebody else must agree." in ahead
    assert not Case.objects.exclude(state="open").exists()
    done = staff.post(url, {**chosen, "confirm": "1", "resolution": "host_error", "note": "outage"}, follow=True)
    assert "2 cases closed, 1 wait for somebody else to agree" in done.content.decode()


def test_a_run_that_does_not_balance_is_understood_from_its_page(device: Device, staff: Client) -> None:
    case = lose(device)
    page = staff.get(reverse("admin:settlement_settlementrun_change", args=[SettlementRun.objects.get().pk]))
    told = page.content.decode()
    assert "batch 000001: 1 card sale of 12.34 EUR that the terminal counted was never uploaded" in told
    assert reverse("case", args=[case.pk]) in told
    assert "+12.34 EUR" in told


def test_by_program(device: Device, api: APIClient) -> None:
    case = lose(device)
    url = f"/api/v1/settlement/cases/{case.pk}/"
    assert api.post(f"{url}take/").json()["owner"] is not None
    assert api.post(f"{url}write/", {"note": "looked at"}, format="json").status_code == 200
    assert api.post(f"{url}close/", {"resolution": "because"}, format="json").status_code == 400
    assert api.post(f"{url}close/", {"resolution": "host_error"}, format="json").json()["state"] == "resolved"
    assert api.post(f"{url}agree/").status_code == 409
    [one] = api.get("/api/v1/settlement/differences/", {"case": case.pk}).json()["results"]
    assert (one["kind"], one["is_open"], "was never uploaded" in one["sentence"]) == ("missing_record", False, True)


def test_differences_cost_the_same_for_any_number_of_batches(register: Register) -> None:
    devices = [working_device(register(f"SN-{n}")) for n in range(8)]
    totals = [Total("card", "sale", "EUR", 1, 1234)]

    def reports(some: list[Device], number: int) -> list[Any]:
        return [one.report("settlement", Settlement(number, one.now(), "EUR", totals)) for one in some]

    costs = []
    for some, number in ((devices[:1], 1), (devices, 2)):
        sent = reports(some, number)
        with CaptureQueriesContext(connection) as captured:
            deliver(*sent)
        costs.append(len([query for query in captured if "SAVEPOINT" not in query["sql"]]))
    assert abs(costs[0] - costs[1]) <= 2, "a case that is opened and one that grows differ by a statement or two"
