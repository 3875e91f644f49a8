"""A terminal that is retired at the very moment at which it uploads money: nothing is stranded."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import transaction

from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.link.models import DeadLetter
from terminals.link.routes import routes
from terminals.settlement.models import Batch
from tests.conftest import deliver, in_thread, sold, working_device

pytestmark = pytest.mark.django_db(transaction=True)
Register = Callable[[str], Terminal]


def retire(terminal: Terminal) -> str:
    try:
        return change_state(terminal=terminal, transition=TerminalTransition.retire, actor="ops").state
    except Refusal as refusal:
        return refusal.reason


def test_who_retires_a_terminal_waits_for_what_it_is_just_uploading(register: Register, monkeypatch: Any) -> None:
    terminal = register("SN-1")
    upload = sold(working_device(terminal), 100)
    recording, go_on = threading.Event(), threading.Event()

    def slow(messages: list[Any]) -> None:
        recording.set()
        assert go_on.wait(20)

    monkeypatch.setitem(routes.messages, "transactions", [slow, *routes.messages["transactions"]])
    with ThreadPoolExecutor(2) as pool:
        uploading = pool.submit(in_thread, lambda: deliver(upload))
        assert recording.wait(20)
        retiring = pool.submit(in_thread, lambda: retire(terminal))
        with pytest.raises(TimeoutError):
            retiring.result(timeout=0.5)
        go_on.set()
        assert uploading.result(20).fresh == 1
        assert retiring.result(20) == "unsettled_money"
    assert Batch.objects.get().net_minor == 100


def test_what_is_uploaded_while_its_terminal_retires_becomes_a_dead_letter(register: Register) -> None:
    terminal = register("SN-1")
    upload = sold(working_device(terminal), 100)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert retire(terminal) == "retired"
            uploading = pool.submit(in_thread, lambda: deliver(upload))
            with pytest.raises(TimeoutError):
                uploading.result(timeout=0.5)
        assert uploading.result(20).dead == 1
    assert DeadLetter.objects.get().reason == "not_in_service"
    assert not Batch.objects.exists()
