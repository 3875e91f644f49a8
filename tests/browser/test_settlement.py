"""Settlement at a browser: a plan with its preview, a blocked one that clears, a case closed by two, a bank's file, a report."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from terminals.estate.models import Organisation, Terminal
from terminals.link.models import DeviceSession
from terminals.link.protocol.messages.settlement import Settlement, Total
from terminals.settlement import tasks
from terminals.settlement.models import Case, CreditFile, CreditProfile, SettlementRun, SettlementSchedule
from terminals.settlement.runs import waiting
from terminals.settlement.runs.services import request_settlement
from terminals.simulator.device import Device
from tests.browser.conftest import PASSWORD, log_in
from tests.conftest import deliver, in_thread, make_plan, sold, working_device
from tests.terminals.settlement.credits.conftest import make_profile, registered
from tests.terminals.settlement.credits.files import Credit, camt

Register = Callable[[str], Terminal]


@pytest.fixture
def people(transactional_db: None) -> None:
    for name in ("ann", "bob"):
        User.objects.create_superuser(name, password=PASSWORD)


@pytest.fixture
def device(people: None) -> Device:
    make_plan("Evenings", is_default=True, cycle="30 22 * * *", time_zone="Europe/Madrid")
    return working_device(registered(Organisation.objects.create(name="Acquirer"), "SN-1", "00000001"))


def test_a_plan_is_changed_with_a_look_at_what_it_would_do(device: Device, page: Page, live_server: LiveServer) -> None:
    merchant = Terminal.objects.get().store.merchant_id
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/settlement/at/merchant/{merchant}/")
    page.locator("[name=cut_off]").fill("23:00")
    page.locator("[name=credit_days]").fill("2")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.locator("#preview")).to_contain_text("1 terminal")
    page.get_by_role("button", name="Set it for 1 terminal").click()
    expect(page.locator("body")).to_contain_text("cut-off 23:00")
    schedule = SettlementSchedule.objects.select_related("effective").get()
    assert (schedule.settings["cut_off"], schedule.settings["credit_days"]) == ("23:00", 2)


def test_a_blocked_settlement_is_seen_and_goes_off_by_itself_when_it_clears(
    device: Device, page: Page, live_server: LiveServer
) -> None:
    deliver(sold(device, 4757), device.health())
    DeviceSession.objects.update(online=False)
    run = in_thread(lambda: request_settlement(terminal=Terminal.objects.get(), actor="ann"))
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/settlement/settlementrun/{run.pk}/change/")
    expect(page.locator("#run-reason")).to_contain_text("offline")
    DeviceSession.objects.update(online=True)
    SettlementRun.objects.update(retry_at=timezone.now())
    in_thread(lambda: waiting.look_again(timezone.now()))
    page.reload()
    expect(page.locator("body")).to_contain_text("requested")
    assert SettlementRun.objects.get().state == "requested"


def test_an_unbalanced_batch_is_followed_to_its_end_by_two_people(
    device: Device, page: Page, live_server: LiveServer
) -> None:
    deliver(sold(device, 100))
    totals = [Total("card", "sale", "EUR", 2, 60_100)]
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", totals)))
    case = Case.objects.get()
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/settlement/settlementrun/{SettlementRun.objects.get().pk}/change/")
    told = "1 card sale of 600.00 EUR that the terminal counted was never uploaded"
    expect(page.locator("#run-differences")).to_contain_text(told)
    page.get_by_role("link", name=f"Case {case.pk}").click()
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#owner")).to_contain_text("ann")
    page.locator("#note-form textarea").fill("the merchant has the voucher")
    page.locator("#note-form button").click()
    expect(page.locator("#notes")).to_contain_text("the merchant has the voucher")
    page.locator("#close-form select").select_option("terminal_error")
    page.get_by_role("button", name="Close it, 600.00 EUR").click()
    expect(page.locator("#state")).to_contain_text("approving")
    expect(page.get_by_role("button", name="Agree, 600.00 EUR")).to_have_count(0)
    page.context.clear_cookies()
    log_in(page, live_server.url, "bob")
    page.goto(f"{live_server.url}/admin/cases/{case.pk}/")
    page.get_by_role("button", name="Agree, 600.00 EUR").click()
    expect(page.locator("#state")).to_contain_text("resolved")
    case.refresh_from_db()
    assert (case.resolved_by, case.approved_by) == ("ann", "bob")


def test_a_banks_file_is_brought_watched_and_taken_back(device: Device, page: Page, live_server: LiveServer) -> None:
    profile: CreditProfile = make_profile(Organisation.objects.get(), "House bank")
    deliver(sold(device, 1000))
    totals = [Total("card", "sale", "EUR", 1, 1000)]
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", totals)))
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/settlement/creditfile/")
    page.get_by_role("link", name="Bring a credit file").click()
    page.get_by_label("From").select_option(str(profile.pk))
    content = camt([Credit(amount="7.66"), Credit("00000042")])
    page.get_by_label("File").set_input_files({"name": "bank.xml", "mimeType": "text/xml", "buffer": content})
    page.get_by_role("button", name="Bring it").click()
    expect(page.locator("#state")).to_contain_text("reading")
    in_thread(tasks.work_on_credits)
    expect(page.locator("#state")).to_contain_text("done", timeout=15_000)
    expect(page.locator("#differences")).to_contain_text("2.34 EUR too little credited: 7.66 EUR of 10.00 EUR")
    expect(page.locator("#differences")).to_contain_text("00000042, a terminal that nobody knows")
    page.get_by_text("Take it back ...").click()
    page.get_by_role("button", name="Take back 1 credit").click()
    in_thread(tasks.work_on_credits)
    expect(page.locator("#state")).to_contain_text("withdrawn", timeout=15_000)
    assert CreditFile.objects.get().state == "withdrawn"


def test_a_report_is_downloaded_and_opened(device: Device, page: Page, live_server: LiveServer, tmp_path: Path) -> None:
    deliver(sold(device, 1234))
    totals = [Total("card", "sale", "EUR", 1, 1234)]
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", totals)))
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/reports/settlement/?level=merchant&period=today")
    expect(page.locator("#total-EUR")).to_contain_text("12.34 EUR")
    expect(page.locator("canvas").first).to_be_visible()
    files = {}
    for kind in ("csv", "xlsx", "pdf"):
        with page.expect_download() as download:
            page.locator(f"#file-{kind}").click()
        files[kind] = tmp_path / f"report.{kind}"
        download.value.save_as(files[kind])
    _header, line = csv.reader(io.StringIO(files["csv"].read_text("utf-8-sig")))
    assert line[:3] == ["Bakery 1", "EUR", "1"]
    assert "12.34" in line
    sheet = openpyxl.load_workbook(files["xlsx"]).active
    assert sheet is not None
    assert 12.34 in [cell.value for cell in list(sheet.rows)[1]]
    assert files["pdf"].read_bytes().startswith(b"%PDF")
    page.locator("#figures").get_by_role("link", name="Bakery 1").click()
    expect(page.locator("#figures")).to_contain_text("Corner")
