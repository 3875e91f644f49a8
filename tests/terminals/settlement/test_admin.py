"""Settlement's own pages: plans that settle nobody, and where to look when a run does not balance."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from terminals.estate.models import Terminal
from terminals.link.protocol.messages.settlement import Settlement
from terminals.settlement.models import SettlementPlan, SettlementRun, SettlementSchedule
from tests.conftest import deliver, make_plan, set_schedule, sold, working_device

PLAN = {"name": "p", "cycle": "", "time_zone": "UTC", "amount_limits": "", "jitter_seconds": "0", "enabled": "true"}


@pytest.mark.parametrize(
    ("typed", "warned"),
    [
        ({}, True),
        ({"cycle": "0 1 * * *"}, False),
        ({"amount_limits": "5 EUR"}, False),
        ({"amount_limits": "5 EUR", "enabled": "false"}, True),
    ],
)
def test_a_plan_that_settles_nobody_says_so(staff: Client, typed: dict[str, str], warned: bool) -> None:
    form = {name: value for name, value in (PLAN | typed).items() if value}
    page = staff.post(reverse("admin:settlement_settlementplan_add"), form, follow=True).content.decode()
    assert SettlementPlan.objects.exists()
    assert ("do not settle by themselves" in page) is warned


def test_a_run_leads_to_the_transactions_of_its_batch(staff: Client, register: Callable[[str], Terminal]) -> None:
    device = working_device(register("SN-1"))
    deliver(sold(device, 101, batch_number=1), sold(device, 202, batch_number=2))
    deliver(sold(working_device(register("SN-2")), 303, batch_number=1))
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [])))
    page = staff.get(reverse("admin:settlement_settlementrun_change", args=[SettlementRun.objects.get().pk]))
    link = re.search(r'href="([^"]*batch_number__exact=1[^"]*)"', page.content.decode())
    assert link is not None
    shown = staff.get(unescape(link[1]))
    assert shown.status_code == 200
    told = shown.content.decode()
    assert ("1.01 EUR" in told, "2.02 EUR" in told, "3.03 EUR" in told) == (True, False, False)


def test_a_schedule_that_is_due_stays_due_when_its_level_is_edited(
    staff: Client, register: Callable[[str], Terminal]
) -> None:
    terminal = register("SN-1")
    plan = make_plan("p", time_zone="UTC", amount_limits={"EUR": 1})
    device = working_device(terminal)
    set_schedule(terminal=terminal, plan=plan, actor="ops")
    deliver(sold(device, 100))
    due = SettlementSchedule.objects.get()
    assert due.due_reason == "threshold"
    form = {"plan": plan.pk, "cycle": "0 4 * * *", "time_zone": "UTC", "set": "1"}
    assert staff.post(reverse("settlement-level", args=["terminal", terminal.pk]), form).status_code == 302
    after = SettlementSchedule.objects.get()
    assert (after.settings["cycle"], after.next_due_at, after.due_reason) == ("0 4 * * *", due.next_due_at, "threshold")
