"""A broken device is replaced in one step: the new one goes on where the old one stopped."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.enrolment.models import ActivationCode, Certificate
from terminals.estate.models import Membership, Terminal, TerminalGroup
from terminals.estate.replacing import replace_terminal
from terminals.keys.models import ProtectionKey
from terminals.parameters.sending import run_due
from terminals.settlement.models import Batch, SettlementSchedule
from terminals.settlement.runs.services import request_settlement
from tests.conftest import deliver, enrolled_device, make_plan, obey, set_parameters, set_schedule, sold, working_device

Register = Callable[[str], Terminal]


def a_terminal_at_work(register: Register) -> tuple[Terminal, Any]:
    terminal = register("SN-1")
    Terminal.objects.update(tid="T1", mid="M9", tags=["pilot"])
    device = working_device(terminal)
    TerminalGroup.objects.create(name="Named").members.add(terminal)
    plan = make_plan("Nightly", cycle="30 22 * * *")
    set_schedule(terminal=terminal, plan=plan, cycle="0 21 * * *", time_zone="Europe/Berlin", actor="ops")
    set_parameters(terminal, currency="EUR", tip_enabled=True)
    obey(device, "configure")
    deliver(sold(device, 4757))
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    return terminal, device


def test_the_new_device_goes_on_where_the_old_one_stopped(register: Register) -> None:
    terminal, _device = a_terminal_at_work(register)
    number = Batch.objects.get().batch_number
    new = replace_terminal(terminal=terminal, serial="SN-2", actor="ops")
    terminal.refresh_from_db()
    assert terminal.state == "retired"
    assert (new.store, new.tid, new.mid, new.tags) == (terminal.store, "T1", "M9", ["pilot"])
    assert [group.name for group in new.groups.all()] == ["Named"]
    schedule = SettlementSchedule.objects.get(terminal=new)
    assert (schedule.terminal, str(schedule.effective.plan), schedule.settings["cycle"]) == (
        new,
        "Nightly",
        "0 21 * * *",
    )
    assert schedule.next_due_at is not None
    assert not ProtectionKey.objects.filter(terminal=terminal).exists()
    assert not Certificate.objects.filter(terminal=terminal, revoked_at=None).exists()

    device = enrolled_device(new)
    assert device.memory.batch_number == number + 1
    deliver(device.hello())
    run_due(time.monotonic() + 20)
    obey(device, "configure")
    assert device.memory.parameters == {"currency": "EUR", "tip_enabled": True}
    assert AuditEntry.objects.get(action="terminal.replace").detail == {"by": "SN-2", "tid": "T1"}


def test_batch_numbers_go_on_over_several_devices(register: Register) -> None:
    terminal, _device = a_terminal_at_work(register)
    second = replace_terminal(terminal=terminal, serial="SN-2", actor="ops")
    third = replace_terminal(terminal=second, serial="SN-3", actor="ops")
    assert enrolled_device(third).memory.batch_number == 2


def test_money_that_is_not_settled_stands_against_it(register: Register) -> None:
    terminal, device = a_terminal_at_work(register)
    deliver(sold(device, 1000, batch_number=2))
    with pytest.raises(Refusal, match=r"10\.00 EUR .*on SN-1 are not settled"):
        replace_terminal(terminal=terminal, serial="SN-2", actor="ops")
    terminal.refresh_from_db()
    assert (terminal.state, Terminal.objects.count(), SettlementSchedule.objects.count()) == ("active", 1, 1)
    replace_terminal(terminal=terminal, serial="SN-2", write_off={"EUR": 1000}, actor="ops")
    assert AuditEntry.objects.filter(action="settlement.write_off", subject="terminal:SN-1").exists()


def test_a_serial_that_is_taken_and_a_retired_terminal_are_refused(register: Register) -> None:
    terminal = register("SN-1")
    register("SN-2")
    for serial in ("SN-2", "sn-2", "SN-1", "!"):
        with pytest.raises(Refusal):
            replace_terminal(terminal=terminal, serial=serial, actor="ops")
    replace_terminal(terminal=terminal, serial="SN-3", actor="ops")
    with pytest.raises(Refusal, match="is retired"):
        replace_terminal(terminal=terminal, serial="SN-4", actor="ops")
    assert list(Terminal.objects.values_list("serial", flat=True)) == ["SN-1", "SN-2", "SN-3"]


def test_page_and_api_replace_and_show_the_new_code(register: Register, client: Client) -> None:
    user = get_user_model().objects.create_superuser("root")
    first = register("SN-1")
    client.force_login(user)
    for chosen in ("²", "999999", "x"):
        form = {"action": "replace", "serial": "SN-2", "chosen": chosen}
        client.post(reverse("terminal-action", args=[first.pk]), form)
        assert Terminal.objects.count() == 1
    form = {"action": "replace", "serial": " SN-2 ", "chosen": str(first.model_id)}
    page = client.post(reverse("terminal-action", args=[first.pk]), form).content.decode()
    assert "SN-2 takes the place of SN-1" in page
    new = Terminal.objects.get(serial="SN-2")
    assert f'href="{reverse("terminal-page", args=[first.pk])}">SN-1</a>' in page
    api = APIClient()
    api.force_authenticate(user)
    answer = api.post(f"/api/v1/terminals/{new.pk}/replace/", {"serial": "SN-3"})
    assert answer.status_code == 201, answer.data
    assert (answer.data["serial"], answer.data["replaces"]) == ("SN-3", new.pk)
    assert len(answer.data["activation_code"]) == 31
    again = api.post(f"/api/v1/terminals/{new.pk}/replace/", {"serial": "SN-4"})
    assert again.status_code == 409


def test_who_may_issue_no_code_gets_none_on_the_page_and_in_the_api(register: Register, client: Client) -> None:
    terminal = register("SN-1")
    role = Group.objects.create(name="swapper")
    names = ("view_terminal", "replace_terminal")
    role.permissions.set(Permission.objects.filter(codename__in=names))
    ann = get_user_model().objects.create_user("ann", is_staff=True)
    Membership.objects.create(user=ann, role=role, merchant=terminal.store.merchant)
    client.force_login(ann)
    form = {"action": "replace", "serial": "SN-2", "chosen": str(terminal.model_id)}
    page = client.post(reverse("terminal-action", args=[terminal.pk]), form, follow=True).content.decode()
    assert "SN-2 takes the place of SN-1." in page
    assert not ActivationCode.objects.exists()
    api = APIClient()
    api.force_authenticate(ann)
    answer = api.post(f"/api/v1/terminals/{Terminal.objects.get(serial='SN-2').pk}/replace/", {"serial": "SN-3"})
    assert (answer.status_code, answer.data["activation_code"]) == (201, None)
    assert not ActivationCode.objects.exists()


def test_who_may_not_retire_gives_no_money_up(register: Register, client: Client) -> None:
    terminal, device = a_terminal_at_work(register)
    deliver(sold(device, 1000, batch_number=2))
    ann = get_user_model().objects.create_user("ann", is_staff=True)
    Membership.objects.create(user=ann, role=Group.objects.get(name="operator"), merchant=terminal.store.merchant)
    api = APIClient()
    api.force_authenticate(ann)
    url = f"/api/v1/terminals/{terminal.pk}/replace/"
    assert api.post(url, {"serial": "SN-2", "write_off": {"EUR": 1000}}, format="json").status_code == 403
    client.force_login(ann)
    form = {"action": "replace", "serial": "SN-2", "write_off": "EUR:1000"}
    assert client.post(reverse("terminal-action", args=[terminal.pk]), form).status_code == 403
    assert Terminal.objects.count() == 1
