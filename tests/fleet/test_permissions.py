"""Every API operation and page is opened by the permission that it names and by no other."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client, RequestFactory
from django.urls import reverse
from rest_framework.test import APIClient

from fleet.api import router
from fleet.pages.terminal import TABS
from fleet.pages.verbs import VERBS
from terminals.common.api.permissions import needed
from terminals.estate.models import Terminal
from terminals.keys.services import request_key_delivery
from terminals.link.protocol.messages.health import Tamper
from terminals.link.protocol.messages.settlement import Settlement
from terminals.link.services import new_id
from terminals.settlement.runs.services import request_settlement
from tests.conftest import deliver, obey, sold, working_device

OPERATIONS = [
    (url, view, method, action)
    for route_prefix, view, _ in router.registry
    for route in router.get_routes(view)
    for method, action in route.mapping.items()
    if hasattr(view, action)
    for url in [route.url.format(prefix=route_prefix, lookup="{pk}", trailing_slash="/").strip("^$")]
]
# Whoever adds an operation that does something says here, too, what it shall need.
DOES = {
    "terminals:create": "terminals.add_terminal",
    "terminals/register:register": "terminals.add_terminal",
    "terminals:suspend": "terminals.suspend_terminal",
    "terminals:resume": "terminals.suspend_terminal",
    "terminals:retire": "terminals.retire_terminal",
    "terminals:activation_code": "enrolment.add_activationcode",
    "terminals:ddi_token": "firmware.add_dditoken",
    "terminals:commands": "link.send_command",
    "releases:create": "firmware.add_release",
    "releases:assign": "firmware.add_installation",
    "packages:create": "firmware.add_package",
    "keys:create": "keys.add_terminalkey",
    "key-requirements:create": "keys.add_keyrequirement",
    "parameters/templates:create": "parameters.add_templateversion",
    "parameters/values:create": "parameters.add_parameterset",
    "parameters/values/preview:preview": "parameters.add_parameterset",
    "parameters/values:restore": "parameters.add_parameterset",
    "parameters/values:preview_restoring": "parameters.add_parameterset",
    "settlement/plans:create": "settlement.add_settlementplan",
    "settlement/levels:create": "settlement.change_planlevel",
    "settlement/accounts:create": "settlement.add_settlementaccount",
    "settlement/accounts:approve": "settlement.approve_settlementaccount",
    "settlement/accounts:reject": "settlement.approve_settlementaccount",
    "settlement/calendars:create": "settlement.add_businesscalendar",
    **{
        f"settlement/cases:{verb}": "settlement.change_case"
        for verb in ("take", "write", "close", "take_back", "reopen")
    },
    **{f"settlement/cases:{verb}": "settlement.approve_case" for verb in ("agree", "send_back")},
    **{
        f"campaigns{verb}": "campaigns.add_campaign"
        for verb in (
            ":create",
            "/preview:preview",
            *(f":{one}" for one in ("start", "pause", "resume", "force", "cancel", "retry", "roll_back")),
        )
    },
    "campaigns:approve": "campaigns.approve_campaign",
    **{f"releases:{verb}": "firmware.approve_release" for verb in ("approve", "deprecate", "reinstate", "withdraw")},
    "releases:bill_of_materials": "firmware.add_release",
    "settlement/credit-profiles:create": "settlement.add_creditprofile",
    "settlement/credit-files:create": "settlement.add_creditfile",
    "settlement/credit-files:withdraw": "settlement.delete_creditfile",
    "settlement/risk-rules:create": "settlement.change_riskrule",
    "settlement/risk-rules/trial:trial": "settlement.change_riskrule",
    "settlement/reports:create": "settlement.view_dailyfigure",
    "settlement/reports/figures:figures": "settlement.view_dailyfigure",
    "settlement/closes:create": "settlement.add_dailyclose",
    "settlement/report-schedules:create": "settlement.add_reportschedule",
    "settlement/runs:create": "settlement.add_settlementrun",
    "merchants:create": "terminals.add_merchant",
    "bulk:create": "terminals.view_terminal",  # and the verb's own: tests/fleet/test_bulk.py
    "bulk/preview:preview": "terminals.view_terminal",
    "bulk:cancel": "terminals.view_terminal",
    "terminals:replace": "terminals.replace_terminal",
    "terminals/claim:claim": "enrolment.claim_terminal",
    "enrolment-requests:approve": "enrolment.change_enrolmentrequest",
    "enrolment-requests:reject": "enrolment.change_enrolmentrequest",
    "imports:create": "terminals.add_terminal",  # and what each row adds: tests/fleet/test_importing.py
    "imports:start": "terminals.add_terminal",
    "imports:cancel": "terminals.add_terminal",
    "organisations:create": "terminals.add_organisation",
    "groups:create": "terminals.add_terminalgroup",
    "stores:create": "terminals.add_store",
    "terminal-models:create": "terminals.add_terminalmodel",
}


def staff_with(*names: str) -> Any:
    user = get_user_model().objects.create_user(f"clerk-{new_id()}", is_staff=True)
    user.user_permissions.set(p for p in Permission.objects.select_related("content_type") if label(p) in names)
    return user


def label(permission: Permission) -> str:
    return f"{permission.content_type.app_label}.{permission.codename}"


def everything_but(name: str) -> list[str]:
    names = [label(p) for p in Permission.objects.select_related("content_type")]
    assert name in names, f"no permission is called {name}"
    return [one for one in names if one != name]


@pytest.mark.parametrize(("url", "view", "method", "action"), OPERATIONS, ids=lambda value: str(value)[:60])
@pytest.mark.django_db
def test_an_operation_is_opened_by_its_permission_and_by_no_other(
    url: str, view: Any, method: str, action: str
) -> None:
    needs = needed(view, method.upper(), action)
    path = "/api/v1/" + url.replace("{pk}", "0")
    for user, opens in ((staff_with(needs), True), (staff_with(*everything_but(needs)), False)):
        client = APIClient()
        client.force_authenticate(user)
        answer = client.generic(method.upper(), path, "{}", content_type="application/json")
        assert (answer.status_code != 403) is opens, f"{method} {path} with {needs}: {answer.status_code}"


def test_what_does_something_needs_what_is_written_down() -> None:
    found = {
        f"{url.split('/{pk}')[0].rstrip('/')}:{action}": needed(view, "POST", action)
        for url, view, method, action in OPERATIONS
        if method == "post"
    }
    assert found == DOES


@pytest.mark.parametrize("name", VERBS)
def test_a_pages_verb_is_opened_by_its_permission_and_by_no_other(
    client: Client, register: Callable[[str], Terminal], name: str
) -> None:
    url = reverse("terminal-action", args=[register("SN-1").pk])
    needs = VERBS[name].permission
    client.force_login(staff_with("terminals.view_terminal", needs))
    assert client.post(url, {"action": name}).status_code != 403
    client.force_login(staff_with(*everything_but(needs)))
    assert client.post(url, {"action": name}).status_code == 403


@pytest.mark.parametrize("page", ["terminal-page", "terminal-panel", "overview-panel"])
def test_a_page_about_terminals_needs_to_see_them(
    client: Client, register: Callable[[str], Terminal], page: str
) -> None:
    terminal = register("SN-1")
    url = reverse(page, args=[] if page.startswith("overview") else [terminal.pk])
    client.force_login(staff_with("terminals.view_terminal"))
    assert client.get(url).status_code == 200
    client.force_login(staff_with(*everything_but("terminals.view_terminal")))
    assert client.get(url).status_code == 403
    assert "may not see terminals" in client.get(reverse("admin:index")).content.decode()


def test_the_page_and_the_api_ask_the_same(register: Callable[[str], Terminal]) -> None:
    same = {
        "settle": "settlement/runs:create",
        "deliver_key": "keys:create",
        "install": "releases:assign",
        "reboot": "terminals:commands",
        "suspend": "terminals:suspend",
        "resume": "terminals:resume",
        "retire": "terminals:retire",
        "replace": "terminals:replace",
        "activation_code": "terminals:activation_code",
        "ddi_token": "terminals:ddi_token",
    }
    assert {name: VERBS[name].permission for name in same} == {name: DOES[there] for name, there in same.items()}


# Jobs are looked at by who may look at terminals: whose they are decides which.
LOOKED_AT = {"bulk.bulkjob": "terminals.view_terminal", "importing.import": "terminals.add_terminal"}
MODELS = list(admin.site._registry)


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model._meta.label))
def test_an_admin_list_and_its_form_are_opened_by_their_permission_and_by_no_other(client: Client, model: Any) -> None:
    meta = model._meta
    for verb, page in (("view", "changelist"), ("add", "add")):
        name = f"{meta.app_label}.{verb}_{meta.model_name}"
        name = LOOKED_AT.get(meta.label_lower, name) if verb == "view" else name
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}")
        change = [f"{meta.app_label}.change_{meta.model_name}"] if verb == "view" else []  # who may change may look
        client.force_login(staff_with(*(one for one in everything_but(name) if one not in change)))
        assert client.get(url).status_code == 403, f"{url} without {name}"
        if verb == "view" or admin.site._registry[model].has_add_permission(request_of(superuser())):
            client.force_login(
                staff_with(name, f"{meta.app_label}.change_{meta.model_name}")
            )  # a user's form asks both
            assert client.get(url).status_code == 200, f"{url} with {name}"


def superuser() -> Any:
    return get_user_model().objects.filter(username="root").first() or get_user_model().objects.create_superuser("root")


def request_of(user: Any) -> Any:
    request = RequestFactory().get("/")
    request.user = user
    return request


# What a reader without the permission must not find, on a page or in the API's timeline.
SHOWN = {
    "link.view_command": ["settle by ops"],
    "keys.view_terminalkey": ["KCV"],
    "settlement.view_settlementrun": ["Not yet settled</h2>", "batch 000001"],
    "firmware.view_installation": ["<dt>payment</dt>"],
    "health.view_healthstate": ["Battery", "ALARM"],
}


@pytest.fixture
def lived_in(register: Callable[[str], Terminal]) -> Terminal:
    terminal = register("SN-1")
    device = working_device(terminal)
    deliver(sold(device, 4757), device.health(), device.report("tamper", Tamper(True, device.now(), "case open")))
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")
    request_settlement(terminal=terminal, actor="ops")
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [])))
    deliver(sold(device, 4757, batch_number=2))
    return terminal


def without_tokens(page: str) -> str:
    """Return the page without its CSRF tokens: 64 letters at random spell "KCV" now and then."""
    return re.sub(r"\b[A-Za-z0-9]{64}\b", "", page)


@pytest.mark.parametrize("permission", SHOWN)
def test_pages_and_timeline_show_what_one_may_see(client: Client, lived_in: Terminal, permission: str) -> None:
    for may in (True, False):
        user = staff_with(*everything_but(permission), *([permission] if may else []))
        client.force_login(user)
        address = reverse("terminal-page", args=[lived_in.pk])
        page = "".join(without_tokens(client.get(address, {"tab": tab}).content.decode()) for tab in TABS)
        panel = without_tokens(client.get(reverse("overview-panel")).content.decode())
        api = APIClient()
        api.force_authenticate(user)
        told = api.get(f"/api/v1/terminals/{lived_in.pk}/timeline/").content.decode()
        for text in SHOWN[permission]:
            assert (text in page) is may, (permission, text)
            assert may or text not in panel + told
