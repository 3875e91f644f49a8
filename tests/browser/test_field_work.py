"""At a browser: importing a file, printing codes, claiming a device on a phone, replacing one, setting parameters."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from terminals.enrolment.codes import issue_activation_code
from terminals.estate.models import Membership, Merchant, Terminal, TerminalModel
from terminals.importing.services import run_imports
from terminals.parameters.models import ModelTemplate, ParameterSet
from terminals.parameters.rules import is_sealed
from terminals.parameters.services import publish_template
from tests.browser.conftest import PASSWORD, log_in
from tests.conftest import TEMPLATE, deliver, in_thread, sold, working_device

Register = Callable[[str], Terminal]
ROWS = """merchant,mid,store,city,time_zone,serial,model,tid
Books,42,Pier,Hamburg,Europe/Berlin,SN-10,Acme One,T1
Books,,Pier,,,SN-11,Acme One,T2
Books,,Pier,,,SN-12,Acme Nothing,T3
"""


def member(role: str) -> User:
    """Return somebody who works in a role at the merchant of whom `register` makes terminals."""
    user = User.objects.create_user("ann", password=PASSWORD, is_staff=True)
    Membership.objects.create(user=user, role=Group.objects.get(name=role), merchant=Merchant.objects.get())
    return user


def test_a_file_is_imported_and_its_codes_are_printed(
    transactional_db: None, page: Page, live_server: LiveServer, tmp_path: Path
) -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
    file = tmp_path / "shops.csv"
    file.write_text(ROWS)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    log_in(page, live_server.url, "root")
    page.goto(f"{live_server.url}/admin/importing/import/")
    page.get_by_role("link", name="New import").click()
    page.get_by_label("CSV or XLSX file").set_input_files(file)
    page.get_by_role("button", name="Show what would be added").click()
    expect(page.locator("#refused")).to_contain_text("there is no model Acme Nothing")
    assert not Merchant.objects.exists()
    page.get_by_role("button", name="Import 2 rows and leave 1 out").click()
    in_thread(lambda: run_imports(time.monotonic() + 20))
    expect(page.locator("#progress")).to_contain_text("100 %", timeout=15_000)
    assert list(Terminal.objects.values_list("serial", flat=True)) == ["SN-10", "SN-11"]
    with page.expect_download() as report:
        page.get_by_role("link", name="Report of all rows").click()
    assert "there is no model Acme Nothing" in Path(report.value.path()).read_text()

    page.get_by_role("link", name="Activation codes to print").click()
    page.get_by_role("button", name="Show for how many").click()
    page.get_by_role("button", name="Issue 2 codes").click()
    expect(page.locator(".tw-slip")).to_have_count(2)
    expect(page.locator(".tw-slip svg")).to_have_count(2)
    expect(page.locator(".tw-slip").first).to_contain_text("Hamburg")
    assert broken == []


def test_an_installer_claims_a_device_on_a_phone(register: Register, page: Page, live_server: LiveServer) -> None:
    terminal = register("SN-1")
    code = issue_activation_code(terminal=terminal, actor="ops")
    member("installer")
    page.set_viewport_size({"width": 390, "height": 844})
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/claim/#SN-1/{code}")  # what the slip's QR code says
    expect(page.get_by_label("Activation code on the slip")).to_have_value(code)
    assert "#" not in page.url
    page.get_by_label("Serial on the device").fill("SN-9")
    page.get_by_role("button", name="This is the device").click()
    page.get_by_role("button", name="SN-9 takes the place of SN-1").click()
    expect(page.locator("#claimed")).to_contain_text("Bakery")
    expect(page.locator("#claim-progress")).to_contain_text("has not enrolled yet")
    terminal.refresh_from_db()
    assert terminal.serial == "SN-9"
    working_device(terminal)
    expect(page.locator("#claim-progress")).to_contain_text("online", timeout=15_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing lies beside the screen"


def test_a_device_with_unsettled_money_is_replaced(register: Register, page: Page, live_server: LiveServer) -> None:
    terminal = register("SN-1")
    deliver(sold(working_device(terminal), 4757))
    member("administrator")
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/terminals/{terminal.pk}/")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_text("More", exact=True).click()
    page.get_by_text("Replace the device ...").click()
    page.get_by_label("Serial of the new device").fill("SN-2")
    page.get_by_role("button", name="Replace SN-1").click()
    expect(page.locator("body")).to_contain_text("47.57 EUR in 1 transaction on SN-1 are not settled")
    page.get_by_label("Serial of the new device").fill("SN-2")
    page.get_by_label("replace it although").check()
    page.get_by_role("button", name="Replace SN-1").click()
    expect(page.locator("body")).to_contain_text("SN-2 takes the place of SN-1")
    expect(page.locator(".tw-once code")).to_have_text(re.compile("^[A-Z2-7-]{31}$"))
    assert list(Terminal.objects.values_list("serial", "state")) == [("SN-1", "retired"), ("SN-2", "registered")]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_parameter_is_changed_at_a_merchant_after_a_dry_run(
    register: Register, page: Page, live_server: LiveServer, width: int
) -> None:
    for n in range(3):
        register(f"SN-{n}")
    template = publish_template(name="till", schema=TEMPLATE, actor="ops").template
    ModelTemplate.objects.create(model=TerminalModel.objects.get(), template=template)
    member("operator")
    page.set_viewport_size({"width": width, "height": 900})
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/parameters/?q=bak")
    page.get_by_role("link", name="Bakery", exact=True).click()
    page.locator("#id_p-currency").fill("euro")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.locator("#values-form")).to_contain_text("does not have the form that is asked for")
    page.locator("#id_p-currency").fill("EUR")
    page.locator("#id_p-contactless_limits").fill("50.00 EUR")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.locator("#preview")).to_contain_text("of 3 terminals below get other parameters")
    page.get_by_role("button", name="Set it for 3 terminals").click()
    expect(page.locator("#history")).to_contain_text("50.00 EUR")
    assert ParameterSet.objects.get().values == {"currency": "EUR", "contactless_limits": {"EUR": 5000}}
    page.locator("#id_p-wifi").fill("correct horse")
    page.get_by_role("button", name="Show what would happen").click()
    page.get_by_role("button", name="Set it for 3 terminals").click()
    expect(page.locator("#value-wifi")).to_contain_text("set, not shown")
    assert is_sealed(ParameterSet.objects.get(is_current=True).values["wifi"])
    assert "correct horse" not in page.content()
    page.goto(f"{live_server.url}/admin/parameters/at/terminal/{Terminal.objects.get(serial='SN-1').pk}/")
    expect(page.locator("#value-currency")).to_contain_text("merchant Bakery")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing lies beside the screen"


def test_a_slash_leads_to_the_search_box_and_a_phone_shows_two_lines_a_terminal(
    register: Register, page: Page, live_server: LiveServer
) -> None:
    working_device(register("SN-1"))
    member("operator")
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/")
    page.keyboard.press("/")
    page.wait_for_url("**/admin/find/")
    expect(page.locator("#find-text")).to_be_focused()
    page.keyboard.type("sn-1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="SN-1", exact=True)).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{live_server.url}/admin/terminals/terminal/")
    row = page.locator("#result_list tbody tr").first
    expect(row.locator(".field-shown_link")).to_be_visible()
    expect(row.locator(".field-model")).to_be_hidden()
    box = row.bounding_box()
    assert box is not None
    assert box["height"] < 80
