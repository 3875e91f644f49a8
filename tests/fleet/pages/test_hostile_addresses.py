"""What an address or a form can ask of the admin: it tells nothing that a page hides, and fails nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import ClockedSchedule, PeriodicTask

from fleet.pages.models import Preferences
from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Merchant, Store, Terminal
from terminals.keys.services import request_key_delivery
from terminals.parameters.models import TemplateVersion
from tests.conftest import working_device

Register = Callable[[str], Terminal]
PAGES = [model._meta for model in admin.site._registry]
ODD = ("regex=(", "iregex=[", "range=1", "range=1,2", "year=99999", "contains={", "gt=x", "in=x,y")


def url_of(meta: Any, page: str, *args: Any) -> str:
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("meta", PAGES, ids=str)
def test_a_list_filters_by_nothing_but_what_it_offers(staff: Client, meta: Any) -> None:
    for field in meta.concrete_fields:
        for lookup in ODD:
            answer = staff.get(f"{url_of(meta, 'changelist')}?{field.name}__{lookup}")
            assert answer.status_code in (302, 400), (field.name, lookup)


@pytest.mark.parametrize(
    ("model", "column"), [("link_command", "payload"), ("keys_terminalkey", "sealed_key"), ("auth_user", "password")]
)
def test_no_filter_tells_what_a_page_hides(staff: Client, register: Register, model: str, column: str) -> None:
    terminal = register("SN-1")
    working_device(terminal)
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    for lookup in ("contains=7b", "startswith=p", "exact=x"):
        address = f"{reverse(f'admin:{model}_changelist')}?{column}__{lookup}"
        assert staff.get(address).status_code == 400


@pytest.mark.parametrize("meta", PAGES, ids=str)
def test_made_up_keys_choose_nothing(staff: Client, meta: Any) -> None:
    chosen = {"action": "delete_selected", "_selected_action": ["x", "_00", "\0"], "post": "yes"}
    assert staff.post(url_of(meta, "changelist"), chosen).status_code in (200, 302, 403)


@pytest.mark.parametrize("meta", PAGES, ids=str)
def test_an_address_fills_in_only_what_fits(staff: Client, meta: Any) -> None:
    filled = {field.name: "zzz" for field in meta.get_fields() if not field.auto_created}
    assert staff.get(url_of(meta, "add"), filled).status_code in (200, 403)


def test_a_history_is_only_read(client: Client, register: Register) -> None:
    terminal = register("SN-1")
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.post(reverse("admin:terminals_terminal_history", args=[terminal.pk])).status_code == 404


@pytest.mark.parametrize("page", ["x", "-1", "9" * 20, "\u0661"])
def test_the_menus_search_takes_numbers_of_pages_only(staff: Client, page: str) -> None:
    assert staff.get("/admin/search/", {"s": "a", "page": page}).status_code == 400
    assert staff.get("/admin/search/", {"s": "terminal"}).status_code == 200


@pytest.mark.parametrize("document", ["[" * 100_000, "9" * 5000, '{"receipt_header": "\\u0000"}', '{"a": "\\ud800"}'])
def test_parameters_are_read_as_the_api_reads_them(staff: Client, document: str) -> None:
    answer = staff.post(reverse("admin:parameters_templateversion_add"), {"name": "till", "schema": document})
    assert answer.status_code == 200
    assert TemplateVersion.objects.count() == 0


@pytest.mark.parametrize(
    ("field", "value"), [("headers", "[]"), ("headers", "1"), ("args", "{}"), ("kwargs", "[]"), ("args", "[" * 100_000)]
)
def test_background_work_that_would_end_the_scheduler_is_refused(staff: Client, field: str, value: str) -> None:
    task = PeriodicTask.objects.get(name="Overview: fold tallies")
    form = {"name": task.name, "regtask": task.task, "task": "", "enabled": "on", "interval": task.interval_id}
    form |= {"args": "[]", "kwargs": "{}", "headers": "{}", field: value}
    answer = staff.post(reverse("admin:django_celery_beat_periodictask_change", args=[task.pk]), form)
    assert answer.status_code == 200
    assert "a JSON" in answer.content.decode()


@pytest.mark.parametrize("day", ["9999-12-31", "1900-01-01"])
def test_a_time_that_no_zone_can_show_is_refused(staff: Client, operator: Any, day: str) -> None:
    Preferences.objects.create(user=operator, time_zone="America/New_York")
    for model, field in (("access_apitoken", "expiry"), ("django_celery_beat_clockedschedule", "clocked_time")):
        answer = staff.post(reverse(f"admin:{model}_add"), {f"{field}_0": day, f"{field}_1": "23:59:59"})
        assert answer.status_code == 200
        assert "within" in answer.content.decode()
    assert ClockedSchedule.objects.count() == 0


def test_a_tid_that_another_terminal_of_the_store_has_is_told_at_its_field(staff: Client, register: Register) -> None:
    first = register("SN-1")
    Terminal.objects.update(tid="00000001")
    form = {
        "serial": "SN-2",
        "store": first.store_id,
        "model": first.model_id,
        "tid": "00000001",
        "mid": "",
        "tags": "",
    }
    answer = staff.post(reverse("admin:terminals_terminal_add"), form)
    assert answer.status_code == 200
    assert "SN-1 of this store has this TID" in answer.content.decode()
    assert staff.post(reverse("admin:terminals_terminal_add"), form | {"tid": "1 $"}).status_code == 200
    assert Terminal.objects.count() == 1


def test_what_is_still_in_use_says_what_uses_it(staff: Client, register: Register) -> None:
    terminal = register("SN-1")
    page = staff.get(reverse("admin:terminals_store_delete", args=[terminal.store_id])).content.decode()
    assert "SN-1" in page
    assert "permission" not in page.lower().split("</nav>")[-1].split("terminal")[0]
    staff.post(reverse("admin:terminals_store_delete", args=[terminal.store_id]), {"post": "yes"})
    assert Store.objects.count() == 1


def test_preferences_leave_their_entry(staff: Client) -> None:
    staff.post(reverse("preferences"), {"language": "zh-hans", "time_zone": "Asia/Shanghai"})
    entry = AuditEntry.objects.get(action="preferences.update")
    assert entry.detail["new"]["time_zone"] == "Asia/Shanghai"


def test_a_wrong_address_of_the_api_is_told_whatever_the_verb(client: Client, db: None) -> None:
    strict = Client(enforce_csrf_checks=True)
    for send in (strict.get, strict.post, strict.patch, strict.delete):
        answer = send("/api/v1/releases//assign/")
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


def test_a_form_that_was_open_too_long_is_told_so(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/account/login/", {"login": "x", "password": "y"})
    assert answer.status_code == 403
    assert "The page was open too long" in answer.content.decode()


def test_the_audit_speaks_in_words(staff: Client) -> None:
    staff.post(reverse("admin:terminals_merchant_add"), {"name": "Bakery", "mid": "1"})
    listed = staff.get(reverse("admin:common_auditentry_changelist")).content.decode()
    assert "merchant: create" in listed
    assert f"merchant {Merchant.objects.get().pk}" in listed
