"""Enrolment: a one-time code and a certificate request become a certificate and everything a terminal must trust."""

from collections.abc import Callable
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_facts
from terminals.enrolment import certificates, queue, rules, trust
from terminals.enrolment.codes import check_usable, locked
from terminals.enrolment.facts import Enrolled
from terminals.enrolment.models import ActivationCode
from terminals.enrolment.rules import PublicKey
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import move
from terminals.link.protocol import brokers, signing, topics

# Features that give a terminal something at enrolment (a protection key, say); filled by the project.
on_enrolled: list[Callable[[Terminal, PublicKey], dict[str, Any]]] = []


@transaction.atomic
def enrol(*, code: str, serial: str, csr_pem: str) -> dict[str, Any]:
    """Exchange a code for a certificate; return the whole answer to the terminal.

    Raises Refusal, with nothing issued and the code unspent, where code, serial or request do not hold.
    """
    activation = locked(code)
    terminal = activation.terminal
    if terminal.serial != serial:
        raise Refusal("wrong_serial", "this activation code was issued for another serial number")
    check_usable(activation, timezone.now())
    public_key = rules.checked_public_key(csr_pem, serial=serial, device_id=terminal.device_id)
    answer = _enrol(terminal, public_key, let_in_by=activation.created_by)
    ActivationCode.objects.filter(pk=activation.pk).update(used_at=timezone.now())
    return answer


@transaction.atomic
def enrol_approved(*, serial: str, csr_pem: str, address: str) -> dict[str, Any] | None:
    """Return the same answer for a device that an operator has let in; None where it waits for that (queue.py)."""
    let_in = queue.admitted(serial=serial, csr_pem=csr_pem, address=address)
    return _enrol(*let_in, let_in_by="approval") if let_in else None


def _enrol(terminal: Terminal, public_key: PublicKey, *, let_in_by: str) -> dict[str, Any]:
    certificate, chain_pem = certificates.issue_first(terminal, public_key)
    terminal.public_key_pem = signing.public_pem(public_key)
    terminal.save(update_fields=["public_key_pem", "updated_at"])
    if not move(Terminal.objects.filter(pk=terminal.pk), TerminalTransition.enrol):
        raise Refusal("not_in_service", "the terminal is %(state)s", state=terminal.state)
    record_facts([(terminal.pk, Enrolled(certificate_serial=certificate.serial_number))])
    audit.record(
        actor=f"terminal {terminal.serial}",
        action="terminal.enrol",
        subject=subject_of(terminal),
        detail={"certificate": certificate.serial_number, "code_by": let_in_by},
    )
    answer = _answer(terminal, chain_pem)
    for extend in on_enrolled:
        answer |= extend(terminal, public_key)
    return answer


def _answer(terminal: Terminal, certificate_pem: str) -> dict[str, Any]:
    """Return what a terminal needs to go to work: names, addresses, and whom to trust for what."""
    device_id, urls = terminal.device_id, brokers.parse(settings.MQTT_PUBLIC_URL).urls
    return {
        "device_id": device_id,
        "certificate": certificate_pem,
        "broker": {
            "url": urls[0],
            "urls": urls,
            "client_id": device_id,
        },
        "topics": topics.told(device_id),
        "trust_anchors": msgspec.to_builtins(trust.anchors()),
    }
