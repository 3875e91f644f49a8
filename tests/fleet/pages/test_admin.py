"""The admin: every page opens, and what an operator presses does what it says."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from fleet import terminal_list
from fleet.pages.look import MENU
from terminals.common import admin_base
from terminals.common.admin_base import AuditedAdmin, RecordAdmin
from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Merchant, Terminal
from terminals.link.models import Command
from terminals.settlement.models import SettlementPlan
from tests.conftest import deliver, enrolled_device, working_device

PAGES = [model._meta for model in admin.site._registry]


@pytest.mark.parametrize("meta", PAGES, ids=str)
def test_every_list_opens_searches_and_sorts(staff: Client, meta: Any) -> None:
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    assert staff.get(url).status_code == 200
    assert staff.get(url, {"q": "x'\"%"}, follow=True).status_code == 200
    assert staff.get(url, {"o": "1"}, follow=True).status_code == 200


def test_a_terminal_is_registered_from_the_form_with_its_audit_entry(staff: Client, shop: dict[str, int]) -> None:
    answer = staff.post(
        reverse("admin:terminals_terminal_add"),
        {"serial": "SN-1", "store": shop["store"], "model": shop["model"], "tid": "1", "mid": "", "tags": "pilot"},
    )
    assert answer.status_code == 302, answer.content.decode()[:500]
    assert Terminal.objects.get().device_id == "SN-1"
    assert AuditEntry.objects.get().action == "terminal.register"


def test_a_serial_that_cannot_be_is_told_in_the_form(staff: Client, shop: dict[str, int]) -> None:
    answer = staff.post(
        reverse("admin:terminals_terminal_add"),
        {"serial": "a/b/c", "store": shop["store"], "model": shop["model"], "tid": "1", "mid": "", "tags": ""},
    )
    assert answer.status_code == 200
    assert "is no serial" in answer.content.decode()
    assert Terminal.objects.count() == AuditEntry.objects.count() == 0


@pytest.mark.parametrize("action", ["ping", "reboot", "lock", "unlock", "settle", "suspend", "activation_code"])
def test_a_button_of_the_terminals_page_does_it_and_says_so(
    staff: Client, register: Callable[[str], Terminal], action: str
) -> None:
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    before = AuditEntry.objects.count()
    answer = staff.post(reverse("terminal-action", args=[terminal.pk]), {"action": action}, follow=True)
    assert answer.status_code == 200
    assert AuditEntry.objects.count() == before + 1
    assert "SN-1" in answer.content.decode()


def test_a_button_that_does_not_fit_the_state_says_why_and_does_nothing(
    staff: Client, register: Callable[[str], Terminal]
) -> None:
    terminal = register("SN-1")
    answer = staff.post(reverse("terminal-action", args=[terminal.pk]), {"action": "settle"}, follow=True)
    assert "is registered; only" in answer.content.decode()
    assert Command.objects.count() == 0


def test_a_button_needs_staff_and_a_token(client: Client, operator: Any, register: Callable[[str], Terminal]) -> None:
    url = reverse("terminal-action", args=[register("SN-1").pk])
    assert client.post(url, {"action": "ping"}).status_code == 302
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(operator)
    assert strict.post(url, {"action": "ping"}).status_code == 403
    assert Command.objects.count() == 0


def test_the_page_offers_only_what_the_terminals_state_allows(
    staff: Client, register: Callable[[str], Terminal]
) -> None:
    terminal = register("SN-1")

    def page() -> str:
        return staff.get(reverse("terminal-page", args=[terminal.pk])).content.decode()

    assert "It has not enrolled yet" in page()
    assert "Settle now" not in page()
    deliver(enrolled_device(terminal).hello())
    assert "Settle now" in page()
    Terminal.objects.update(state="suspended")
    assert "Settle now" not in page()
    assert "Resume" in page()


def test_every_admin_page_is_under_the_audit() -> None:
    outside = [
        model._meta.label
        for model, page in admin.site._registry.items()
        if not isinstance(page, AuditedAdmin | RecordAdmin)
    ]
    assert outside == []


def test_switching_off_background_work_leaves_a_trace(staff: Client) -> None:
    task = PeriodicTask.objects.get(task="terminals.settlement.tasks.settle_due")
    form = {"name": task.name, "regtask": task.task, "task": task.task, "interval": task.interval_id, "args": "[]"}
    url = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    answer = staff.post(url, {**form, "kwargs": "{}", "headers": "{}", "expire_seconds": "5"})
    assert answer.status_code == 302, answer.content.decode()[:2000]
    entry = AuditEntry.objects.get(action="periodictask.update")
    assert (entry.detail["old"]["enabled"], entry.detail["new"]["enabled"]) == (True, False)


def test_an_activation_code_is_on_its_answer_alone(staff: Client, register: Callable[[str], Terminal]) -> None:
    url = reverse("terminal-action", args=[register("SN-1").pk])
    answer = staff.post(url, {"action": "activation_code"})
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    [code] = re.findall(r"<code>([A-Z2-7-]{31})</code>", answer.content.decode())
    assert code not in str(answer.cookies)
    assert code not in staff.get(reverse("admin:index")).content.decode()


@pytest.mark.parametrize("query", ["state__exact=%00", "q=%00", "p=%00"])
def test_a_null_character_in_an_address_is_refused(staff: Client, query: str) -> None:
    assert staff.get(f"{reverse('admin:terminals_terminal_changelist')}?{query}").status_code == 400


def test_a_serial_with_anothers_device_id_is_told_in_the_form(
    staff: Client, register: Callable[[str], Terminal]
) -> None:
    there = register("AB.1")
    body = {"serial": "AB-1", "store": there.store_id, "model": there.model_id, "tid": "", "mid": "", "tags": ""}
    answer = staff.post(reverse("admin:terminals_terminal_add"), body)
    assert (answer.status_code, Terminal.objects.count()) == (200, 1)
    assert "another terminal has the device id AB-1" in answer.content.decode()


def test_an_address_that_leads_nowhere_leads_back(client: Client, db: None) -> None:
    answer = client.get("/nowhere/")
    assert answer.status_code == 404
    assert reverse("admin:index") in answer.content.decode()


def test_several_objects_deleted_together_are_audited_with_their_values(
    staff: Client, django_assert_max_num_queries: Any
) -> None:
    Merchant.objects.bulk_create(Merchant(name=f"M{n}", mid=f"{n}") for n in range(20))
    chosen = list(Merchant.objects.values_list("pk", flat=True))
    pressed = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    with django_assert_max_num_queries(36):
        assert staff.post(reverse("admin:terminals_merchant_changelist"), pressed).status_code == 302
    assert not Merchant.objects.exists()
    entries = AuditEntry.objects.filter(action="merchant.delete")
    assert entries.count() == 20
    assert entries.get(subject=f"merchant:{chosen[0]}").detail["old"]["mid"] == "0"


@pytest.mark.parametrize("typed", ["0 EUR", "0.00 EUR", "12", "1.234 EUR", "-5 EUR"])
def test_a_threshold_that_cannot_be_is_told_at_its_field(staff: Client, typed: str) -> None:
    plan = {"name": "P", "time_zone": "UTC", "jitter_seconds": "0", "amount_limits": typed, "enabled": "true"}
    answer = staff.post(reverse("admin:settlement_settlementplan_add"), plan)
    assert answer.status_code == 200
    assert "amount_limits" in answer.context["adminform"].form.errors
    assert not SettlementPlan.objects.exists()


def test_every_list_is_in_the_menu() -> None:
    listed = {str(item["link"]) for group in MENU for item in group["items"]}
    assert {reverse(f"admin:{m.app_label}_{m.model_name}_changelist") for m in PAGES} <= listed


def test_a_list_is_called_in_the_menu_as_on_its_own_page() -> None:
    titles = {str(item["link"]): str(item["title"]) for group in MENU for item in group["items"]}
    for meta in PAGES:
        title = titles[reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")]
        assert title.lower() == str(meta.verbose_name_plural).lower()


def test_no_name_of_ours_is_a_raw_plural() -> None:
    assert not [m for m in PAGES if re.search(r"ss$|[^aeiou]ys$", str(m.verbose_name_plural))]


def test_no_page_may_run_or_style_anything_inline(staff: Client, register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    for url in (
        "/admin/login/",
        "/admin/",
        f"/admin/terminals/{terminal.pk}/",
        "/admin/preferences/",
        "/admin/api/",
        "/x",
    ):
        answer = staff.get(url, follow=True)
        policy = answer["Content-Security-Policy"]
        assert "'unsafe-inline'" not in policy
        assert "default-src 'self'" in policy
        page = answer.content.decode()
        assert not re.search(r"<style|<script(?![^>]*src=)|\son[a-z]+=|\sstyle=", page), url


def test_colours_of_text_are_readable() -> None:
    """WCAG 2.2 AA: 4.5 to 1 against the page, in the light and in the dark."""
    css = (Path(settings.BASE_DIR) / "fleet/static/fleet/overview.css").read_text()
    for rule, ground in ((":root", "#ffffff"), (".dark", "#111827")):
        block = re.search(re.escape(rule) + r" \{([^}]*)\}", css)
        assert block is not None
        for name, colour in re.findall(r"--(muted|good|warn|bad): (#[0-9a-f]{6})", block[1]):
            assert contrast(colour, ground) >= 4.5, f"{name} in {rule}"


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_what_was_asked_and_not_done_yet_is_on_the_page(staff: Client, register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    working_device(terminal)
    page = reverse("terminal-page", args=[terminal.pk])
    assert 'id="under-way"' not in staff.get(page).content.decode()
    staff.post(reverse("terminal-action", args=[terminal.pk]), {"action": "lock"})
    told = staff.get(page).content.decode().split('id="under-way"')[1].split("</section>")[0]
    assert "lock" in told
    assert "queued" in told


def test_a_list_too_large_to_sort_is_not_sorted_by_its_address(
    staff: Client, register: Callable[[str], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    for serial in ("SN-2", "SN-1", "SN-3"):
        register(serial)

    def asked(url: str, order: str) -> str:
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(reverse(url), {"o": order}).status_code == 200
        return " ".join(query["sql"] for query in captured)

    assert "ORDER BY" in asked("admin:terminals_terminal_changelist", "-1")
    assert '"serial" DESC' in asked("admin:terminals_terminal_changelist", "-1")
    with monkeypatch.context() as few:
        few.setattr(terminal_list, "COUNT_LIMIT", 2)
        assert 'ORDER BY "terminals_store"' not in asked("admin:terminals_terminal_changelist", "2")
    assert '"reported_minor" ASC' not in asked("admin:settlement_settlementrun_changelist", "7")


def test_a_page_far_down_is_joined_for_its_rows_alone_and_keeps_their_order(
    staff: Client, register: Callable[[str], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        register(f"SN-{number}")
    monkeypatch.setattr(admin_base, "FAR_DOWN", 2)
    monkeypatch.setattr(admin.site._registry[Terminal], "list_per_page", 2)

    def shown(page: str) -> tuple[list[str], int]:
        with CaptureQueriesContext(connection) as captured:
            answer = staff.get(reverse("admin:terminals_terminal_changelist"), {"o": "-1", "p": page})
        return [row.serial for row in answer.context["cl"].result_list], len(captured)

    (_first, _cold), (first, cost), (second, more), (third, _cost) = map(shown, "1123")
    assert (first, second, third) == (["SN-4", "SN-3"], ["SN-2", "SN-1"], ["SN-0"])
    assert more == cost + 1
