"""Two who change the same terminal at once: neither undoes what the other did, and neither fails."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.signals import pre_save
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from fleet.access.models import ApiToken
from terminals.common.errors import Refusal
from terminals.enrolment import authority
from terminals.enrolment.codes import issue_activation_code
from terminals.enrolment.models import Certificate
from terminals.enrolment.services import enrol
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.keys.models import TerminalKey
from terminals.keys.services import request_key_delivery
from terminals.link.models import Command
from terminals.settlement.models import SettlementRun, SettlementSchedule
from terminals.settlement.runs import opening
from terminals.settlement.runs.opening import run_due_settlements
from terminals.settlement.runs.services import request_settlement
from tests.conftest import enrolled_device, in_thread, make_csr, make_plan, working_device

pytestmark = pytest.mark.django_db(transaction=True)
Register = Callable[[str], Terminal]


def retire(terminal: Terminal) -> str:
    return change_state(terminal=terminal, transition=TerminalTransition.retire, actor="other").state


@pytest.mark.parametrize("door", ["admin", "api"])
def test_an_edit_does_not_undo_a_retirement_that_comes_between(register: Register, door: str) -> None:
    terminal, user = register("SN-1"), get_user_model().objects.create_superuser("ops")
    working_device(terminal)
    editing = threading.Event()

    def pause(sender: Any, instance: Any, **_: Any) -> None:
        if sender is Terminal and instance.tid == "7":
            editing.set()

    def edit() -> int:
        if door == "api":
            client = APIClient()
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.objects.create(user=user)[1]}")
            return client.patch(f"/api/v1/terminals/{terminal.pk}/", {"tid": "7"}, format="json").status_code
        browser = Client()
        browser.force_login(user)
        form = {"model": terminal.model_id, "store": terminal.store_id, "tid": "7", "mid": "", "tags": ""}
        return browser.post(reverse("admin:terminals_terminal_change", args=[terminal.pk]), form).status_code

    pre_save.connect(pause)
    try:
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                retire(terminal)
                edited = pool.submit(in_thread, edit)
                assert not editing.wait(1), "the edit waits for the retirement before it reads what it will save"
            assert edited.result(20) in (200, 302)
    finally:
        pre_save.disconnect(pause)
    terminal.refresh_from_db()
    assert (terminal.state, terminal.tid) == ("retired", "7")


def test_nothing_is_made_for_a_terminal_that_was_just_retired(register: Register) -> None:
    seen = register("SN-1")
    working_device(seen)
    retire(Terminal.objects.get(pk=seen.pk))
    assert seen.state == "active", "the operator's page is older than the retirement"
    for ask in (
        lambda: request_settlement(terminal=seen, actor="ops"),
        lambda: request_key_delivery(terminal=seen, usage="P0", actor="ops"),
    ):
        with pytest.raises(Refusal, match="SN-1 is retired"):
            ask()
    assert not Command.objects.filter(state="queued").exists()
    assert not SettlementRun.objects.exists()
    assert not TerminalKey.objects.exists()


def paused(monkeypatch: Any, module: Any, name: str) -> tuple[threading.Event, threading.Event]:
    """Let a function of a module wait in its midst: return the events that say that it began and let it go on."""
    began, go_on = threading.Event(), threading.Event()
    real = getattr(module, name)

    def slow(*args: Any, **named: Any) -> Any:
        began.set()
        assert go_on.wait(20)
        return real(*args, **named)

    monkeypatch.setattr(module, name, slow)
    return began, go_on


def meanwhile(
    events: tuple[threading.Event, threading.Event], first: Callable[[], Any], other: Callable[[], Any]
) -> Any:
    """Begin `other` in the midst of `first`: it has to wait. Return what became of both."""
    began, go_on = events
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(in_thread, first)
        assert began.wait(20)
        two = pool.submit(in_thread, other)
        with pytest.raises(TimeoutError):
            two.result(timeout=0.5)
        go_on.set()
        return one.result(20), two.result(20)


def test_a_tick_and_a_retirement_do_not_wait_for_each_other_for_ever(register: Register, monkeypatch: Any) -> None:
    make_plan("p", cycle="0 1 * * *", time_zone="UTC", is_default=True)
    terminal = register("SN-1")
    working_device(terminal)
    SettlementSchedule.objects.update(next_due_at=timezone.now())
    events = paused(monkeypatch, opening, "create_commands")
    done = meanwhile(events, lambda: run_due_settlements(timezone.now()), lambda: retire(terminal))
    assert done == (1, "retired")
    assert SettlementSchedule.objects.count() == 0


def test_an_enrolment_and_a_suspension_do_not_wait_for_each_other_for_ever(
    register: Register, monkeypatch: Any
) -> None:
    terminal = register("SN-1")
    working_device(terminal)
    suspend = TerminalTransition.suspend
    _, state = meanwhile(
        paused(monkeypatch, authority.Issuer, "issue"),
        lambda: enrolled_device(Terminal.objects.get()),
        lambda: change_state(terminal=terminal, transition=suspend, actor="ops").state,
    )
    assert state == "suspended"


def test_an_edit_of_a_schedule_waits_for_its_terminals_retirement_and_finds_it_gone(register: Register) -> None:
    plan = make_plan("p", cycle="0 1 * * *", time_zone="UTC", is_default=True)
    terminal, browser = register("SN-1"), Client()
    working_device(terminal)
    browser.force_login(get_user_model().objects.create_superuser("ops"))
    url = reverse("settlement-level", args=["terminal", terminal.pk])
    form = {"plan": plan.pk, "cycle": "0 4 * * *", "time_zone": "UTC", "set": "1"}
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Terminal.objects.select_for_update().get()
            editing = pool.submit(in_thread, lambda: browser.post(url, form).content.decode())
            with pytest.raises(TimeoutError):
                editing.result(timeout=0.5)
            retire(terminal)
        assert "the terminal is retired: it settles no more" in editing.result(20)
    assert not SettlementSchedule.objects.exists()


def test_a_hundred_uses_of_one_code_at_once_issue_one_certificate(register: Register) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    requests = [make_csr(ec.generate_private_key(ec.SECP256R1()), "SN-1") for _ in range(100)]

    def use(csr_pem: str) -> str:
        try:
            return str(enrol(code=code, serial="SN-1", csr_pem=csr_pem)["device_id"])
        except Refusal as refusal:
            return refusal.reason

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda csr: in_thread(lambda: use(csr)), requests))
    assert sorted(answers) == ["SN-1"] + ["code_used"] * 99
    assert Certificate.objects.count() == 1
