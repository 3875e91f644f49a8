"""axe-core finds no serious fault on any page: lists, forms, and operators' own pages."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.urls import reverse
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from fleet.pages.terminal import TABS
from terminals.bulk.services import start
from terminals.estate.models import Terminal
from terminals.health.models import HealthState
from terminals.importing.services import bring
from terminals.link.protocol.messages.health import Tamper
from terminals.settlement.runs.services import request_settlement
from tests.browser.conftest import PASSWORD, log_in
from tests.conftest import deliver, obey, set_parameters, sold, working_device

SERIOUS = {"serious", "critical"}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


@pytest.fixture
def root(transactional_db: None, parts_alive: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def terminal(root: User, register: Callable[[str], Terminal]) -> Terminal:
    """A terminal in trouble: most of what its page can show is there."""
    terminal = register("SN-1")
    device = working_device(terminal)
    device.memory.paper = 0
    deliver(sold(device, 4757), device.health(), device.report("tamper", Tamper(True, device.now(), "case open")))
    request_settlement(terminal=terminal, actor="root")
    obey(device, "settle")
    HealthState.objects.update(battery_percent=3)
    set_parameters(terminal, currency="EUR")
    return terminal


def faults(page: Page) -> list[str]:
    page.wait_for_timeout(100)  # the admin's own widgets are made after the page was loaded
    found: dict[str, Any] = Axe().run(page, options={"resultTypes": ["violations"], "runOnly": WCAG}).response
    return [
        f"{page.url}: {fault['id']}: {node['html'][:160]}"
        for fault in found["violations"]
        if fault["impact"] in SERIOUS
        for node in fault["nodes"][:3]
    ]


@pytest.mark.parametrize("width", [1280, 390])
def test_operators_pages(terminal: Terminal, root: User, page: Page, live_server: LiveServer, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{live_server.url}/admin/account/login/")
    found = faults(page)
    log_in(page, live_server.url, "root")
    job = start(verb="tag", arguments={"tag": "x"}, text="serial = SN-1", user=root)
    own = [
        "find",
        "parameters",
        "bulk",
        "import",
        "claim",
        "code-sheet",
        "preferences",
        "api-reference",
        "admin:index",
        "admin:password_change",
    ]
    urls = [
        *map(reverse, own),
        *(f"{reverse('terminal-page', args=[terminal.pk])}?tab={tab}" for tab in TABS),
        f"{reverse('admin:terminals_terminal_changelist')}?filter=online+and+locked",
        reverse("bulk-job", args=[job.pk]),
        reverse("import-job", args=[bring(file=ContentFile(b"merchant,mid\nNew,9\n=x,8", name="x.csv"), user=root).pk]),
        reverse("admin:terminals_terminal_change", args=[terminal.pk]),
        reverse("admin:auth_user_change", args=[root.pk]),
    ]
    for url in urls:
        page.goto(live_server.url + url)
        found += faults(page)
    assert not found, "\n".join(found)


def test_lists_and_forms_of_everything(terminal: Terminal, root: User, page: Page, live_server: LiveServer) -> None:
    log_in(page, live_server.url, "root")
    found = []
    for model in admin.site._registry:
        for kind in ("changelist", "add"):
            answer = page.goto(
                live_server.url + reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}")
            )
            if answer and answer.ok:
                found += faults(page)
    assert not found, "\n".join(found)
