"""Reports: the same figures on screen and in every file, a day that is closed, reports in the background and by mail."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import openpyxl
import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from terminals.common.errors import Refusal
from terminals.estate.models import Membership, Organisation, Terminal
from terminals.link.protocol.messages.settlement import Total
from terminals.settlement import tasks
from terminals.settlement.models import (
    CreditProfile,
    DailyClose,
    Report,
    ReportSchedule,
    SettlementRun,
)
from terminals.settlement.reports import figures, files, services
from terminals.settlement.reports.rules import Figures, Period, Spec, period_of, spec_of
from terminals.simulator.device import Device
from tests.conftest import deliver, sold
from tests.terminals.settlement.credits import conftest as credits
from tests.terminals.settlement.credits.conftest import brought, registered, report, settled
from tests.terminals.settlement.credits.files import Credit, camt

acquirer, terminal, device, profile = credits.acquirer, credits.terminal, credits.device, credits.profile
TODAY = date(2026, 11, 26)
DAY = date(2026, 11, 25)
ISO = DAY.isoformat()


@pytest.fixture
def figures_of_a_day(device: Device, profile: CreditProfile) -> None:
    """Two batches of one day: one settled and credited with a fee, one with a sale that was never uploaded."""
    settled(device, 1, 1000)
    deliver(sold(device, 500, batch_number=2))
    totals = [Total("card", "sale", "EUR", 1, 500), Total("qr", "sale", "EUR", 1, 1234, scheme="alipay")]
    report(device, 2, [*totals, Total("card", "declined", "EUR", 3, 9999)])
    brought(profile, camt([Credit(amount="9.80", fee="0.20")]))
    SettlementRun.objects.update(settled_on=DAY)


WHOLE = Figures("EUR", 2, 3, 1500, 1234, 2734, 1500, 980, 20, 1734, 0, 1234)


def rows(level: str = "terminal", **more: Any) -> list[figures.Row]:
    return figures.rows_of(Spec(level, Period(DAY, DAY), **more), [""])


@pytest.mark.usefixtures("figures_of_a_day")
def test_figures_add_up_at_every_level(terminal: Terminal, acquirer: Organisation) -> None:
    for level, key in (
        ("terminal", terminal.pk),
        ("store", terminal.store_id),
        ("merchant", terminal.store.merchant_id),
        ("organisation", acquirer.pk),
    ):
        assert rows(level) == [figures.Row(key, None, WHOLE)], level
    assert rows(by_day=True)[0].day == DAY
    assert figures.rows_of(Spec("store", Period(TODAY, TODAY)), [""]) == []
    assert figures.rows_of(Spec("store", Period(DAY, DAY)), ["o999999."]) == []


@pytest.mark.usefixtures("figures_of_a_day")
def test_what_one_batch_was_paid_too_much_pays_for_no_other(profile: CreditProfile) -> None:
    brought(profile, camt([Credit(amount="5.00")]))
    (row,) = rows()
    assert (row.figures.outstanding_minor, row.figures.excess_minor) == (1734, 500)


def test_a_settlement_belongs_to_its_stores_day_and_a_wrong_clock_does_not_move_it(device: Device) -> None:
    settled(device)
    run = SettlementRun.objects.get()
    assert run.settled_on == datetime.now(UTC).date()
    device.now = lambda: datetime.now(UTC) - timedelta(days=80)  # with an older one it would be told to send it anew
    report(device, 2, [])
    assert SettlementRun.objects.get(batch_number=2).settled_on == datetime.now(UTC).date()


@pytest.mark.usefixtures("figures_of_a_day")
def test_every_file_tells_the_same_figures() -> None:
    spec = Spec("merchant", Period(DAY, DAY))
    told = rows("merchant")
    (header, line) = csv.reader(io.StringIO("".join(files.as_csv(spec, told)).lstrip("\ufeff")))
    assert dict(zip(header, line, strict=True)) == {
        "Merchant": "Bakery 1",
        "Currency": "EUR",
        "Batches": "2",
        "Transactions": "3",
        "Cards": "15.00",
        "QR": "12.34",
        "Settled": "27.34",
        "Fees": "0.20",
        "Credited": "9.80",
        "Not credited": "17.34",
        "Credited too much": "0.00",
        "Open differences": "12.34",
    }
    with files.as_xlsx(spec, told) as file:
        sheet = openpyxl.load_workbook(file).active
        assert [cell.value for cell in list(sheet.rows)[1]][4:] == [15, 12.34, 27.34, 0.2, 9.8, 17.34, 0, 12.34]
    assert files.as_pdf(spec, told).startswith(b"%PDF-")
    with translation.override("zh-hans"):
        assert files.as_pdf(spec, told).startswith(b"%PDF-")


@pytest.mark.usefixtures("figures_of_a_day")
def test_the_page_shows_figures_leads_down_and_hands_out_files(admin_client: Client, terminal: Terminal) -> None:
    address = reverse("settlement-report")
    page = admin_client.get(address, {"level": "merchant", "first": ISO, "last": ISO}).content.decode()
    for shown in (
        "27.34 EUR",
        "12.34 EUR in open differences",
        "Bakery 1",
        f"at=merchant%3A{terminal.store.merchant_id}",
    ):
        assert shown in page, shown
    for kind, begins in (("csv", b"\xef\xbb\xbfMerchant"), ("xlsx", b"PK"), ("pdf", b"%PDF")):
        said = {"level": "merchant", "first": ISO, "last": ISO, "format": kind}
        answer = admin_client.get(address, said)
        assert answer.content.startswith(begins)
        assert f"settlement-merchant-2026-11-25-2026-11-25.{kind}" in answer["Content-Disposition"]
    wrong = admin_client.get(address, {"first": "2026-11-25", "last": "2020-01-01"}).content.decode()
    assert "in order" in wrong
    assert admin_client.get(address, {"at": "merchant:999999"}).status_code == 404


@pytest.mark.usefixtures("figures_of_a_day")
def test_a_merchant_sees_the_own_money_and_nothing_else(
    client: Client, acquirer: Organisation, terminal: Terminal
) -> None:
    other = registered(acquirer, "SN-2", "00000002", mid="2")
    owner = User.objects.create_user("owner", password="a-long-password-here", is_staff=True)
    Membership.objects.create(user=owner, role=Group.objects.get(name="merchant"), merchant=other.store.merchant)
    client.force_login(owner)
    said = {"level": "organisation", "first": ISO, "last": ISO}
    assert "Nothing was settled in this time." in client.get(reverse("settlement-report"), said).content.decode()
    said["at"] = f"terminal:{terminal.pk}"
    assert client.get(reverse("settlement-report"), said).status_code == 404
    Membership.objects.update(merchant=terminal.store.merchant)
    page = client.get(reverse("settlement-report"), {"first": ISO, "last": ISO, "level": "store"}).content.decode()
    assert "27.34 EUR" in page
    assert client.post(reverse("close-day"), {"day": ISO}).status_code == 403
    assert client.get("/admin/settlement/creditfile/").status_code == 403


@pytest.mark.usefixtures("figures_of_a_day")
def test_a_closed_day_stays_as_it_was_and_shows_what_came_later(
    admin_client: Client, device: Device, acquirer: Organisation, profile: CreditProfile
) -> None:
    with pytest.raises(Refusal, match="is not over"):
        services.close_day(organisation=acquirer, day=timezone.localdate(), actor="ann")
    shown = admin_client.get(reverse("close-day"), {"day": ISO}).content.decode()
    assert "27.34 EUR" in shown
    admin_client.post(reverse("close-day"), {"day": ISO, "organisation": acquirer.pk})
    close = DailyClose.objects.get()
    assert services.changes_since(close) == (0, [])
    with pytest.raises(Refusal, match="was closed before"):
        services.close_day(organisation=acquirer, day=DAY, actor="bob")
    brought(profile, camt([Credit(batch=2, amount="17.34")]))
    (count, (change,)) = services.changes_since(close)
    assert (count, change.then.credited_minor, change.now.credited_minor) == (1, 980, 2714)
    assert change.then == WHOLE
    page = admin_client.get(reverse("day-closed", args=[close.pk])).content.decode()
    assert "9.80 EUR → 27.14 EUR" in page
    assert services.frozen_totals(close) == [WHOLE]


@pytest.mark.usefixtures("figures_of_a_day")
def test_a_large_report_is_made_in_the_background_and_fetched(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "AT_ONCE", 0)
    said = {"first": ISO, "last": ISO, "level": "terminal", "by_day": "1", "format": "csv"}
    answer = admin_client.get(reverse("settlement-report"), said)
    job = Report.objects.get()
    assert answer.headers["Location"] == reverse("report-job", args=[job.pk])
    assert admin_client.get(reverse("report-job-file", args=[job.pk])).status_code == 404
    tasks.make_reports()
    assert "Fetch the file" in admin_client.get(reverse("report-job-panel", args=[job.pk])).content.decode()
    assert b"27.34" in admin_client.get(reverse("report-job-file", args=[job.pk])).content
    stranger = Client()
    stranger.force_login(User.objects.create_superuser("other"))
    assert stranger.get(reverse("report-job-file", args=[job.pk])).status_code == 404
    services.forget_old_reports(timezone.now() + timedelta(days=8))
    assert not Report.objects.exists()


def test_a_report_that_a_worker_left_is_made_by_the_next_and_one_that_fails_says_so(
    admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = services.request_report(spec={"level": "store"}, file_format="csv", user=admin_user)
    Report.objects.update(state="running", leased_until=timezone.now() + timedelta(minutes=1))
    assert not services.make_next_report()
    Report.objects.update(leased_until=timezone.now() - timedelta(minutes=1))
    monkeypatch.setattr(services, "rows_of", lambda *_: 1 / 0)
    assert services.make_next_report()
    job.refresh_from_db()
    assert (job.state, job.why()) == ("failed", "the report could not be made; the worker's log says more")


def test_a_report_that_takes_too_long_or_is_too_large_ends_and_says_so(
    admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any, **__: Any) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(10)")
        return []

    for changed in ({"MOST_TIME": timedelta(milliseconds=30), "rows_of": slow}, {"MOST_ROWS": -1}):
        with monkeypatch.context() as patched:
            for name, value in changed.items():
                patched.setattr(services, name, value)
            for by_day in ("", "1"):
                said = {"level": "store", "by_day": by_day}
                job = services.request_report(spec=said, file_format="csv", user=admin_user)
                assert services.make_next_report()
                job.refresh_from_db()
                assert (job.state, "ask for fewer days" in job.why()) == ("failed", True), (changed, by_day)


def test_a_schedule_begins_with_the_report_that_was_on_screen(admin_client: Client, terminal: Terminal) -> None:
    at = f"merchant:{terminal.store.merchant_id}"
    said = {"level": "store", "period": "last_week", "by_day": "1", "at": at}
    page = admin_client.get(reverse("settlement-report"), said).content.decode()
    add = reverse("admin:settlement_reportschedule_add")
    link = page.partition(f'href="{add}?')[2].partition('"')[0].replace("&amp;", "&")
    form = admin_client.get(f"{add}?{link}").context["adminform"].form
    assert {name: form[name].value() for name in said} == {**said, "by_day": True}


def schedule(owner: User, **more: Any) -> ReportSchedule:
    said = {
        "name": "Daily",
        "spec": {"level": "merchant", "period": "yesterday"},
        "recipients": ["a@example.com"],
        **more,
    }
    made = services.checked_schedule(ReportSchedule(owner=owner, **said), owner)
    made.save()
    return made


@pytest.mark.usefixtures("figures_of_a_day")
def test_a_scheduled_report_is_mailed_once_with_the_owners_reach(admin_user: User, settings: Any) -> None:
    with pytest.raises(Refusal, match="set EMAIL_URL"):
        schedule(admin_user)
    settings.EMAIL_URL = "smtp://localhost"
    made = schedule(admin_user, format="xlsx")
    assert made.next_at is not None
    now = made.next_at + timedelta(seconds=1)
    assert services.send_due(now) == 1
    assert services.send_due(now) == 0
    (message,) = mail.outbox
    assert message.to == ["a@example.com"]
    assert message.attachments[0][0].endswith(".xlsx")
    made.refresh_from_db()
    assert made.sent_at == now
    assert made.next_at > now
    User.objects.update(is_superuser=False)
    assert services.send_due(made.next_at) == 0
    made.refresh_from_db()
    assert "may not see this report any more" in made.why()
    assert len(mail.outbox) == 1


def test_a_mail_server_that_is_away_is_tried_again(
    admin_user: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_URL = "smtp://localhost"
    made = schedule(admin_user)
    assert made.next_at is not None
    monkeypatch.setattr(mail.EmailMessage, "send", lambda self: (_ for _ in ()).throw(ConnectionRefusedError("no")))
    assert services.send_due(made.next_at) == 0
    tried = ReportSchedule.objects.get()
    assert tried.next_at == made.next_at + services.TRY_AGAIN_AFTER
    assert "the mail server did not take it" in tried.why()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"recipients": []}, "1 to 10"),
        ({"name": "a\nb"}, "can be printed"),
        ({"recipients": ["x"]}, "no e-mail address"),
        ({"crontab": "x"}, "no crontab"),
        ({"time_zone": "Mars/Base"}, "Mars/Base"),
        ({"spec": {"first": "2026-01-01", "last": "2026-01-02"}}, "where it lies"),
        ({"spec": {"level": "galaxy"}}, "none of"),
    ],
)
def test_a_schedule_that_could_not_be_sent_is_refused(admin_user: User, settings: Any, change: Any, told: str) -> None:
    settings.EMAIL_URL = "smtp://localhost"
    with pytest.raises(Refusal, match=told):
        schedule(admin_user, **change)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("yesterday", date(2026, 11, 25), date(2026, 11, 25)),
        ("last_week", date(2026, 11, 16), date(2026, 11, 22)),
        ("this_month", date(2026, 11, 1), date(2026, 11, 26)),
        ("last_month", date(2026, 10, 1), date(2026, 10, 31)),
    ],
)
def test_periods_lie_where_they_are_called(name: str, first: date, last: date) -> None:
    assert period_of(name, TODAY) == Period(first, last)


@pytest.mark.parametrize(
    "said", [{"at": "merchant:x"}, {"at": "3"}, {"first": "x"}, {"period": "ever"}, {"level": "x"}]
)
def test_an_address_that_asks_for_nothing_known_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(Refusal):
        spec_of(said, TODAY)


@pytest.mark.usefixtures("figures_of_a_day")
def test_a_report_is_one_statement_whatever_it_tells(device: Device) -> None:
    with CaptureQueriesContext(connection) as few:
        rows()
    for number in range(10, 40):
        settled(device, number)
    SettlementRun.objects.update(settled_on=DAY)
    with CaptureQueriesContext(connection) as many:
        assert rows()[0].figures.batches == 32
    assert len(few) == len(many) == 1


@pytest.mark.usefixtures("figures_of_a_day")
def test_the_api_tells_figures_makes_reports_and_closes_days(admin_client: Client, acquirer: Organisation) -> None:
    url = "/api/v1/settlement/"
    said = {"level": "merchant", "first": "2026-11-25", "last": "2026-11-25"}
    (row,) = admin_client.post(f"{url}reports/figures/", said, content_type="application/json").json()
    assert (row["name"], row["settled_minor"], row["outstanding_minor"]) == ("Bakery 1", 2734, 1734)
    job = admin_client.post(f"{url}reports/", {**said, "format": "csv"}, content_type="application/json").json()
    tasks.make_reports()
    assert b"27.34" in admin_client.get(f"{url}reports/{job['id']}/file/").content
    day = {"day": "2026-11-25", "organisation": acquirer.pk}
    made = admin_client.post(f"{url}closes/", day, content_type="application/json")
    assert made.status_code == 201
    assert admin_client.post(f"{url}closes/", day, content_type="application/json").status_code == 409
    assert admin_client.get(f"{url}closes/{made.json()['id']}/changes/").json() == []


@pytest.mark.usefixtures("figures_of_a_day")
def test_a_file_is_not_handed_to_who_may_not_see_it_any_more(client: Client, terminal: Terminal) -> None:
    owner = User.objects.create_user("owner", password="a-long-password-here", is_staff=True)
    member = Membership.objects.create(
        user=owner, role=Group.objects.get(name="merchant"), merchant=terminal.store.merchant
    )
    job = services.request_report(spec={"first": ISO, "last": ISO}, file_format="csv", user=owner)
    tasks.make_reports()
    client.force_login(owner)
    addresses = [reverse("report-job-file", args=[job.pk]), f"/api/v1/settlement/reports/{job.pk}/file/"]
    assert [client.get(address).status_code for address in addresses] == [200, 200]
    member.delete()
    Membership.objects.create(
        user=owner,
        role=Group.objects.get(name="merchant"),
        merchant=registered(Organisation.objects.get(), "SN-9", "00000009", mid="9").store.merchant,
    )
    assert [client.get(address).status_code for address in addresses] == [404, 404]
