"""An operator of one merchant at a browser: bulk work over a filter, followed to its end; who guesses passwords waits."""

import time
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from terminals.bulk.services import run_jobs
from terminals.estate.models import Membership, Merchant, Store, Terminal
from tests.browser.conftest import PASSWORD, log_in
from tests.conftest import in_thread


@pytest.fixture
def ann(transactional_db: None) -> User:
    """The operator of a merchant."""
    merchant = Merchant.objects.create(name="Café Ribeira", mid="2")
    Store.objects.create(merchant=merchant, name="Ribeira")
    ann = User.objects.create_user("ann", password=PASSWORD, is_staff=True)
    Membership.objects.create(user=ann, role=Group.objects.get(name="operator"), merchant=merchant)
    return ann


def test_bulk_work_over_a_filter_is_followed_to_its_end(
    ann: User, register: Callable[[str], Terminal], page: Page, live_server: LiveServer
) -> None:
    for n in range(5):
        register(f"SN-{n}")
    Terminal.objects.filter(serial__in=["SN-0", "SN-1", "SN-2"]).update(store=Store.objects.get(name="Ribeira"))
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/terminals/terminal/?q=SN-")
    expect(page.get_by_role("link", name="SN-2")).to_be_visible()
    expect(page.get_by_role("link", name="SN-3")).to_have_count(0)

    page.goto(f"{live_server.url}/admin/bulk/new/")
    page.get_by_label("Terminals").fill("serial ~ SN- and not serial = SN-0")
    page.get_by_label("What to do").select_option("tag")
    page.get_by_label("Tag", exact=True).fill("pilot")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.locator("#preview")).to_contain_text("SN-1, SN-2")
    page.get_by_role("button", name="Do it to 2 terminals").click()
    expect(page.locator("#progress")).to_contain_text("running")
    page.evaluate("window.stays = true")
    in_thread(lambda: run_jobs(time.monotonic() + 20))
    expect(page.locator("#progress")).to_contain_text("100 %", timeout=15_000)
    expect(page.locator("#progress")).to_contain_text("done")
    assert page.evaluate("window.stays") is True, "the page was loaded again"
    assert set(Terminal.objects.filter(tags=["pilot"]).values_list("serial", flat=True)) == {"SN-1", "SN-2"}


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)])
def test_nothing_of_the_lists_bar_lies_upon_another(
    ann: User, page: Page, live_server: LiveServer, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/terminals/terminal/")
    page.get_by_text("What a filter can ask").click()  # fails where something covers it
    expect(page.locator("#list-bar dl")).to_be_visible()
    bar, search = page.locator("#list-bar").bounding_box(), page.locator("#searchbar").bounding_box()
    assert bar is not None
    assert search is not None
    assert search["y"] >= bar["y"] + bar["height"] or search["y"] + search["height"] <= bar["y"]


def test_who_guesses_passwords_is_told_to_wait(ann: User, page: Page, live_server: LiveServer) -> None:
    for n in range(10):
        log_in(page, live_server.url, "ann", f"guess {n}")
    expect(page.locator("body")).to_contain_text("30 minutes")
    log_in(page, live_server.url, "ann")
    expect(page.locator("body")).to_contain_text("30 minutes")
    expect(page.get_by_role("heading", name="Fleet overview")).to_have_count(0)
