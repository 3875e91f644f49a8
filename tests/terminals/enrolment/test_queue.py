"""Devices that nobody registered: they wait, are let in or sent away, and cannot flood the queue."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.enrolment import queue
from terminals.enrolment.models import Certificate, EnrolmentRequest
from terminals.estate.models import Merchant, Store, Terminal, TerminalModel
from tests.conftest import make_csr

pytestmark = pytest.mark.django_db
P256 = ec.SECP256R1()


@pytest.fixture(autouse=True)
def open_queue(settings: Any) -> None:
    settings.ENROLMENT_QUEUE = True


@pytest.fixture
def store() -> Store:
    TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
    return Store.objects.create(merchant=Merchant.objects.create(name="Bakery", mid="1"), name="Corner")


def ask(serial: str, key: Any, address: str = "10.0.0.1") -> Any:
    body = {"serial": serial, "csr": make_csr(key)}
    return Client().post("/enrol", body, content_type="application/json", REMOTE_ADDR=address)


def root() -> User:
    return User.objects.filter(username="root").first() or User.objects.create_superuser("root")


def let_in(store: Store) -> Terminal:
    return queue.approve(
        request=EnrolmentRequest.objects.latest("pk"), store=store, model=TerminalModel.objects.get(), user=root()
    )


def test_a_device_waits_is_let_in_and_enrols_when_it_asks_again(store: Store) -> None:
    key = ec.generate_private_key(P256)
    for _ in range(2):
        answer = ask("SN-1", key)
        assert (answer.status_code, answer["Retry-After"], answer.json()["status"]) == (202, "30", "waiting")
    waiting = EnrolmentRequest.objects.get()
    assert (waiting.serial, waiting.address, waiting.state) == ("SN-1", "10.0.0.1", "waiting")
    terminal = let_in(store)
    assert (terminal.serial, terminal.store, terminal.state) == ("SN-1", store, "registered")
    assert AuditEntry.objects.filter(action="enrolmentrequest.approve", actor="root").exists()
    answer = ask("SN-1", key)
    assert answer.status_code == 201
    assert answer.json()["device_id"] == "SN-1"
    terminal.refresh_from_db()
    assert terminal.state == "enrolled"
    assert ask("SN-1", key).json()["reason"] == "code_used"
    assert Certificate.objects.count() == 1


def test_another_key_with_the_serial_that_was_let_in_stays_outside(store: Store) -> None:
    real, fake = ec.generate_private_key(P256), ec.generate_private_key(P256)
    ask("SN-1", fake)
    ask("SN-1", real)
    let_in(store)  # the later one
    assert ask("SN-1", fake).status_code == 202
    assert ask("SN-1", real).status_code == 201
    assert ask("SN-1", fake).status_code == 202
    with pytest.raises(Refusal) as refused:
        queue.approve(
            request=EnrolmentRequest.objects.earliest("pk"), store=store, model=TerminalModel.objects.get(), user=root()
        )
    assert refused.value.reason == "serial_taken"
    assert Terminal.objects.count() == 1


def test_who_is_sent_away_is_refused_and_can_no_longer_be_let_in(store: Store) -> None:
    key = ec.generate_private_key(P256)
    ask("SN-1", key)
    queue.reject(request=EnrolmentRequest.objects.get(), actor="ops")
    answer = ask("SN-1", key)
    assert (answer.status_code, answer.json()["reason"]) == (403, "rejected")
    with pytest.raises(Refusal, match="decided about this device before"):
        let_in(store)
    assert not Terminal.objects.exists()


def test_one_key_asks_under_one_serial_and_a_known_serial_needs_a_code(store: Store) -> None:
    key = ec.generate_private_key(P256)
    ask("SN-1", key)
    assert ask("SN-2", key).json()["reason"] == "wrong_serial"
    let_in(store)
    assert ask("SN-1", ec.generate_private_key(P256)).status_code == 202, "nobody learns which serials are taken"


def test_strangers_cannot_fill_the_queue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_OF_AN_ADDRESS", 2)
    monkeypatch.setattr(queue, "MOST_WAITING", 3)
    answers = [ask(f"SN-{n}", ec.generate_private_key(P256)).status_code for n in range(3)]
    assert answers == [202, 202, 429]
    assert ask("SN-5", ec.generate_private_key(P256), "10.0.0.2").status_code == 202
    assert ask("SN-6", ec.generate_private_key(P256), "10.0.0.3").status_code == 429
    EnrolmentRequest.objects.update(last_asked_at=timezone.now() - queue.KEPT_FOR * 2)
    assert ask("SN-6", ec.generate_private_key(P256), "10.0.0.3").status_code == 202
    assert EnrolmentRequest.objects.count() == 1, "who went silent has gone"


def test_a_closed_queue_takes_nobody(settings: Any) -> None:
    settings.ENROLMENT_QUEUE = False
    answer = ask("SN-1", ec.generate_private_key(P256))
    assert (answer.status_code, answer.json()["reason"]) == (403, "unknown_code")
    assert not EnrolmentRequest.objects.exists()


def test_an_approval_is_no_open_door(store: Store) -> None:
    key = ec.generate_private_key(P256)
    ask("SN-1", key)
    terminal = let_in(store)
    EnrolmentRequest.objects.update(decided_at=timezone.now() - queue.KEPT_FOR * 2)
    assert ask("SN-1", key).json()["reason"] == "code_expired"
    EnrolmentRequest.objects.update(decided_at=timezone.now())
    Terminal.objects.filter(pk=terminal.pk).update(serial="SN-9", device_id="SN-9")
    assert ask("SN-1", key).json()["reason"] == "code_expired", "another device has its place"
    Terminal.objects.filter(pk=terminal.pk).update(serial="SN-1", device_id="SN-1", state="active")
    assert ask("SN-1", key).json()["reason"] == "code_expired", "another key enrolled as it"
    assert not Certificate.objects.exists()


def test_who_may_not_register_terminals_lets_no_device_in(store: Store) -> None:
    ask("SN-1", ec.generate_private_key(P256))
    clerk = User.objects.create_user("clerk", is_staff=True)
    with pytest.raises(PermissionDenied):
        queue.approve(
            request=EnrolmentRequest.objects.get(), store=store, model=TerminalModel.objects.get(), user=clerk
        )
    assert not Terminal.objects.exists()
