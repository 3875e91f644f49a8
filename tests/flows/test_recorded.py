"""Whatever is done leaves its audit entry and its fact: one table of both."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from firmware.services import assign_release
from terminals.common.audit.models import AuditEntry
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.enrolment.codes import issue_activation_code
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.keys.services import request_key_delivery
from terminals.link.protocol.messages.link import Result
from terminals.link.services import send_plain_command
from terminals.settlement.models import SettlementPlan
from terminals.settlement.plans.services import change_plan
from terminals.settlement.runs.services import request_settlement
from terminals.simulator.device import Device
from terminals.simulator.faults import Faults
from tests.conftest import deliver, enrolled_device, obey, set_parameters, set_schedule, working_device
from tests.releases import ready

Register = Callable[[str], Terminal]


def release_of(terminal: Terminal, version: str = "1.0.0") -> Any:
    return ready(version, platform=terminal.model.platform, actor="ops")


def install(terminal: Terminal, device: Device) -> None:
    assign_release(release=release_of(terminal), terminals=[terminal], actor="ops")
    obey(device, "install")
    deliver(device.finish_install())


def deliver_key(terminal: Terminal, device: Device) -> None:
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")


def refuse_key(terminal: Terminal, device: Device) -> None:
    key = request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    assert key.command_id is not None
    deliver(device.answer(Result(key.command_id, "rejected", code="busy")))


def configure(terminal: Terminal, device: Device) -> None:
    set_parameters(terminal, tip_enabled=True)
    obey(device, "configure")


def schedule(terminal: Terminal, device: Device) -> None:
    plan = SettlementPlan(name="p", settings={"time_zone": "UTC", "cycle": "0 1 * * *"})
    change_plan(plan, actor="ops")
    set_schedule(terminal=terminal, plan=plan, actor="ops")


def leave(terminal: Terminal, device: Device) -> None:
    for transition in (TerminalTransition.suspend, TerminalTransition.resume, TerminalTransition.retire):
        change_state(terminal=terminal, transition=transition, actor="ops")


def edit(terminal: Terminal, device: Device) -> None:
    api = APIClient()
    api.force_authenticate(get_user_model().objects.create_superuser("ops"))
    assert api.patch(f"/api/v1/terminals/{terminal.pk}/", {"tags": ["pilot"]}).status_code == 200


def settle(terminal: Terminal, device: Device) -> None:
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")


# what is done -> (audit actions by ops, kinds of facts)
DONE: dict[str, tuple[Callable[[Terminal, Device], object], set[str], set[str]]] = {
    "install": (install, {"release.publish", "release.assign"}, {"software.installation_ended"}),
    "key": (deliver_key, {"key.deliver"}, {"key.confirmed"}),
    "refused key": (refuse_key, {"key.deliver"}, {"key.not_delivered"}),
    "parameters": (configure, {"parametertemplate.publish", "parameterset.set"}, {"parameters.answered"}),
    "schedule": (schedule, {"settlementplan.create", "planlevel.create"}, {"settlement.schedule_changed"}),
    "states": (leave, {"terminal.suspend", "terminal.resume", "terminal.retire"}, {"state.changed"}),
    "settlement": (settle, {"settlement.request"}, {"settlement.settled"}),
    "command": (lambda t, d: send_plain_command(terminal=t, command_type="ping", actor="ops"), {"command.ping"}, set()),
    "code": (
        lambda t, d: issue_activation_code(terminal=t, actor="ops"),
        {"terminal.activation_code"},
        {"enrolment.code_issued"},
    ),
    "enrolment": (lambda t, d: enrolled_device(t), {"terminal.activation_code"}, {"enrolment.enrolled"}),
    "edit": (edit, {"terminal.update"}, {"state.edited"}),
}


@pytest.mark.parametrize("what", DONE)
def test_what_is_done_leaves_its_entry_and_its_fact(register: Register, what: str) -> None:
    do, actions, kinds = DONE[what]
    terminal = register("SN-1")
    device = working_device(terminal)
    entries, facts = (
        set(AuditEntry.objects.values_list("pk", flat=True)),
        set(Fact.objects.values_list("pk", flat=True)),
    )
    do(terminal, device)
    left = AuditEntry.objects.exclude(pk__in=entries).filter(actor="ops")
    assert set(left.values_list("action", flat=True)) >= actions
    told = Fact.objects.exclude(pk__in=facts)
    assert set(told.values_list("kind", flat=True)) >= kinds
    for fact in told:
        assert fact.terminal_id == terminal.pk
        assert text_of(fact.kind, fact.body) not in ("", fact.kind), "it can be said in words"


def test_a_terminal_that_computes_another_check_value_is_told(register: Register) -> None:
    terminal = register("SN-1")
    deliver_key(terminal, working_device(terminal, Faults(wrong_kcv=True)))
    fact = Fact.objects.get(kind="key.mismatch")
    assert (fact.subject, "NOT confirmed" in text_of(fact.kind, fact.body)) == ("key:P0", True)


def test_registering_is_told(register: Register) -> None:
    terminal = register("SN-1")
    assert Fact.objects.get(terminal_id=terminal.pk).kind == "state.registered"
    assert AuditEntry.objects.filter(action="terminal.register", subject="terminal:SN-1").count() == 1


def test_what_was_before_stands_in_the_audit(register: Register) -> None:
    terminal = register("SN-1")
    working_device(terminal)
    change_state(terminal=terminal, transition=TerminalTransition.suspend, actor="ops")
    assert AuditEntry.objects.get(action="terminal.suspend").detail["from"] == "active"
