"""A person at a browser: logs in, sees the overview change by itself, opens a terminal."""

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from terminals.estate.models import Terminal
from terminals.settlement.runs.services import request_settlement
from tests.browser.conftest import PASSWORD, log_in
from tests.conftest import deliver, enrolled_device, obey
from tests.releases import ready


@pytest.fixture
def overview(page: Page, live_server: LiveServer) -> Page:
    """The overview as a staff member sees it after logging in."""
    get_user_model().objects.create_superuser("ops", password=PASSWORD)
    log_in(page, live_server.url, "ops")
    expect(page.get_by_role("heading", name="Fleet overview")).to_be_visible()
    return page


def test_the_overview_changes_by_itself_and_leads_to_a_terminal(
    transactional_db: None, parts_alive: None, register: Callable[[str], Terminal], overview: Page
) -> None:
    link = overview.locator("section", has=overview.get_by_role("heading", name="Link", exact=True))
    expect(link).to_contain_text("0 online")
    overview.evaluate("window.stays = true")

    terminal = register("SN-1")
    device = enrolled_device(terminal)
    device.memory.paper = 0
    deliver(device.hello(), device.health())
    expect(link).to_contain_text("1 online", timeout=15_000)
    printers = overview.locator("section", has=overview.get_by_role("heading", name="Printers"))
    expect(printers).to_contain_text("1 out of paper")
    assert overview.evaluate("window.stays") is True, "the page was loaded again"

    link.get_by_role("link", name="1", exact=True).click()
    overview.get_by_role("link", name="SN-1").first.click()
    expect(overview.locator("#content").get_by_role("heading", name="SN-1")).to_be_visible()
    expect(overview.locator("body")).to_contain_text("booted and connected")
    expect(overview.locator("body")).to_contain_text("out of paper")


def test_a_phone_shows_the_overview_without_scrolling_sideways(transactional_db: None, overview: Page) -> None:
    overview.set_viewport_size({"width": 390, "height": 844})
    overview.reload()
    expect(overview.get_by_role("heading", name="Fleet overview")).to_be_visible()
    assert overview.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_nothing_is_missing_and_nothing_fails_on_the_pages(
    transactional_db: None, overview: Page, live_server: LiveServer
) -> None:
    bad: list[str] = []
    overview.on(
        "response", lambda answer: bad.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
    )
    overview.on("pageerror", lambda error: bad.append(str(error)))
    for path in (
        "/admin/",
        "/admin/terminals/terminal/",
        "/admin/settlement/settlementrun/",
        "/admin/terminals/terminal/add/",
    ):
        overview.goto(live_server.url + path)
        overview.wait_for_load_state("networkidle")
    assert overview.request.get(live_server.url + "/favicon.ico").status == 200
    assert bad == []


def test_a_refresh_keeps_focus_selection_choices_and_open_menus(
    transactional_db: None, register: Callable[[str], Terminal], overview: Page, live_server: LiveServer
) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    deliver(device.hello(), device.health())
    violations: list[str] = []
    overview.on("console", lambda m: violations.append(m.text) if "Content Security Policy" in m.text else None)
    overview.goto(f"{live_server.url}/admin/terminals/{terminal.pk}/")
    overview.get_by_text("More", exact=True).click()
    overview.get_by_text("Retire ...").click()
    overview.get_by_label("Key usage").select_option("D0")
    overview.get_by_role("button", name="Settle now").focus()
    overview.evaluate("getSelection().selectAllChildren(document.querySelector('.tw-timeline li'))")
    before = overview.evaluate("getSelection().toString()")
    device.sell()
    deliver(*device.upload_transactions())
    expect(overview.locator("#do-retire")).to_contain_text("Not settled:", timeout=15_000)
    assert overview.locator("#do-retire details").get_attribute("open") is not None
    assert overview.locator("#more").get_attribute("open") is not None
    assert overview.get_by_label("Key usage").input_value() == "D0"
    assert overview.evaluate("document.activeElement.textContent") == "Settle now"
    assert overview.evaluate("getSelection().toString()") == before != ""
    overview.get_by_label("retire although").check()
    device.sell()
    deliver(*device.upload_transactions())
    expect(overview.locator("#do-retire")).to_contain_text("2 transactions", timeout=15_000)
    assert not overview.get_by_label("retire although").is_checked(), "what was ticked was another amount"
    settle_first = overview.locator("#do-settle-before-retiring")
    settle_first.evaluate("button => window.held = button")
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    expect(overview.locator("#do-retire")).not_to_contain_text("Not settled", timeout=15_000)
    assert overview.evaluate("[held.isConnected, held.value]") == [False, "settle"], "no button turns into another"
    Terminal.objects.update(state="suspended")
    expect(overview.get_by_role("button", name="Resume")).to_be_visible(timeout=15_000)
    assert violations == []


def test_a_choice_stays_the_same_when_the_list_changes(
    transactional_db: None, register: Callable[[str], Terminal], overview: Page, live_server: LiveServer
) -> None:
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        ready(version)
    overview.goto(f"{live_server.url}/admin/terminals/{terminal.pk}/")
    overview.get_by_text("More", exact=True).click()
    chosen = overview.get_by_label("Release", exact=True)
    chosen.select_option(label="pay 2.0.0 (linux-arm64)")
    ready("4.0.0")
    expect(chosen).to_contain_text("pay 4.0.0", timeout=15_000)
    assert chosen.evaluate("s => s.selectedOptions[0].textContent") == "pay 2.0.0 (linux-arm64)"


def test_a_server_that_fails_is_told_and_a_session_that_ended_asks_to_log_in(
    transactional_db: None, overview: Page
) -> None:
    lost = overview.get_by_text("The server does not answer.")
    expect(lost).to_be_hidden()
    overview.route("**/overview/panel/", lambda route: route.fulfill(status=502, body="bad gateway"))
    expect(lost).to_be_visible(timeout=15_000)
    overview.unroute("**/overview/panel/")
    expect(lost).to_be_hidden(timeout=15_000)
    overview.context.clear_cookies()
    expect(overview.get_by_role("button", name="Log in")).to_be_visible(timeout=15_000)
