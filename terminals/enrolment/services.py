"""Enrolment: a one-time code and a certificate request become a certificate and everything a terminal must trust."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_fact_of_many, record_facts
from terminals.enrolment import authority, rules, trust
from terminals.enrolment.facts import CodeIssued, Enrolled
from terminals.enrolment.models import ActivationCode, Certificate
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import hold, move
from terminals.link.protocol import signing, topics

ISSUE_CODE = "enrolment.add_activationcode"  # what issuing a code needs
CODE_LIFETIME = timedelta(days=7)
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
# Features that give a terminal something at enrolment (a protection key, say); filled by the project.
on_enrolled: list[Callable[[Terminal, PublicKey], dict[str, Any]]] = []


@transaction.atomic
def issue_activation_code(*, terminal: Terminal, actor: str) -> str:
    """Return a fresh one-time code for the terminal; unused earlier ones lose their force. It is shown only now."""
    held = hold([terminal.pk])[terminal.pk]
    if held.state not in TerminalTransition.enrol.sources:
        raise Refusal(
            "cannot_enrol",
            "terminal %(serial)s is %(state)s and cannot enrol",
            serial=held.serial,
            state=held.state,
        )
    code = rules.new_code()
    ActivationCode.objects.filter(terminal=terminal, used_at=None).delete()
    expires_at = timezone.now() + CODE_LIFETIME
    ActivationCode.objects.create(
        terminal=terminal, digest=rules.code_digest(code), expires_at=expires_at, created_by=actor
    )
    detail = {"expires_at": expires_at.isoformat()}
    audit.record(actor=actor, action="terminal.activation_code", subject=subject_of(terminal), detail=detail)
    record_facts([(terminal.pk, CodeIssued(by=actor))])
    return code


@transaction.atomic
def issue_first_codes(*, terminal_ids: Sequence[int], actor: str) -> dict[int, str]:
    """Return a one-time code for each of terminals that were just registered, in two statements. They are shown only now."""
    codes = {terminal_id: rules.new_code() for terminal_id in terminal_ids}
    expires_at = timezone.now() + CODE_LIFETIME
    ActivationCode.objects.bulk_create(
        ActivationCode(terminal_id=pk, digest=rules.code_digest(code), expires_at=expires_at, created_by=actor)
        for pk, code in codes.items()
    )
    serials = Terminal.objects.filter(pk__in=codes).values_list("serial", flat=True)
    detail = {"expires_at": expires_at.isoformat()}
    subjects = [f"terminal:{serial}" for serial in serials]
    audit.record_many(actor=actor, action="terminal.activation_code", subjects=subjects, detail=detail)
    record_fact_of_many(codes, CodeIssued(by=actor))
    return codes


def withdraw_codes(terminal_ids: Sequence[int]) -> None:
    """Take the force of terminals' unused codes: who leaves service must not come back by an old code."""
    ActivationCode.objects.filter(terminal__in=terminal_ids, used_at=None).delete()


def revoke_certificates(terminal_ids: Sequence[int]) -> None:
    """Revoke what terminals that leave service for good were issued."""
    Certificate.objects.filter(terminal__in=terminal_ids, revoked_at=None).update(revoked_at=timezone.now())


@transaction.atomic
def enrol(*, code: str, serial: str, csr_pem: str) -> dict[str, Any]:
    """Exchange a code for a certificate; return the whole answer to the terminal.

    Raises Refusal, with nothing issued and the code unspent, where code, serial or request do not hold.
    """
    now = timezone.now()
    activation = _usable_code(code, serial, now)
    terminal = activation.terminal
    public_key = rules.checked_public_key(csr_pem, serial=serial, device_id=terminal.device_id)
    certificate = _issue_certificate(terminal, public_key)
    ActivationCode.objects.filter(pk=activation.pk).update(used_at=now)
    terminal.public_key_pem = signing.public_pem(public_key)
    terminal.save(update_fields=["public_key_pem", "updated_at"])
    if not move(Terminal.objects.filter(pk=terminal.pk), TerminalTransition.enrol):
        raise Refusal("not_in_service", "the terminal is %(state)s", state=terminal.state)
    record_facts([(terminal.pk, Enrolled(certificate_serial=certificate.serial_number))])
    audit.record(
        actor=f"terminal {serial}",
        action="terminal.enrol",
        subject=subject_of(terminal),
        detail={"certificate": certificate.serial_number, "code_by": activation.created_by},
    )
    answer = _answer(terminal, certificate.pem)
    for extend in on_enrolled:
        answer |= extend(terminal, public_key)
    return answer


def _usable_code(code: str, serial: str, now: datetime) -> ActivationCode:
    """Lock and return the code; raise Refusal unless it is this serial's, unused and in time."""
    # The terminal first, then what is its: the order of all who change one.
    Terminal.objects.select_for_update(of=("self",)).filter(activation_codes__digest=rules.code_digest(code)).first()
    activation = (
        ActivationCode.objects.select_for_update(of=("self",))
        .select_related("terminal")
        .filter(digest=rules.code_digest(code))
        .first()
    )
    if activation is None:
        raise Refusal("unknown_code", "this activation code was never issued or was replaced by a newer one")
    if activation.terminal.serial != serial:
        raise Refusal("wrong_serial", "this activation code was issued for another serial number")
    if activation.used_at is not None:
        raise Refusal("code_used", "this activation code was used before; ask for a new one")
    if activation.expires_at <= now:
        raise Refusal("code_expired", "this activation code has expired; ask for a new one")
    return activation


def _issue_certificate(terminal: Terminal, public_key: PublicKey) -> Certificate:
    """Issue and store a certificate; the terminal's earlier one is revoked by it."""
    digest = rules.public_key_digest(public_key)
    if Certificate.objects.filter(public_key_digest=digest).exists():
        raise Refusal("key_in_use", "this key was certified before; a terminal makes a new key to enrol")
    now = timezone.now()
    certificate = authority.issue(public_key, device_id=terminal.device_id, now=now)
    Certificate.objects.filter(terminal=terminal, revoked_at=None).update(revoked_at=now)
    try:
        with transaction.atomic():
            return Certificate.objects.create(
                terminal=terminal,
                serial_number=f"{certificate.serial_number:x}",
                public_key_digest=digest,
                pem=certificate.public_bytes(Encoding.PEM).decode(),
                not_after=certificate.not_valid_after_utc,
            )
    except IntegrityError:  # another terminal brought the same key at this moment
        raise Refusal("key_in_use", "this key was certified before; a terminal makes a new key to enrol") from None


def _answer(terminal: Terminal, certificate_pem: str) -> dict[str, Any]:
    """Return what a terminal needs to go to work: names, addresses, and whom to trust for what."""
    device_id, broker = terminal.device_id, urlsplit(settings.MQTT_PUBLIC_URL)
    return {
        "device_id": device_id,
        "certificate": certificate_pem,
        "broker": {
            "url": f"{broker.scheme}://{broker.hostname}:{broker.port or (8883 if broker.scheme == 'mqtts' else 1883)}",
            "client_id": device_id,
        },
        "topics": {
            **{channel: topics.up(device_id, channel) for channel in topics.UP_CHANNELS},
            "presence": topics.presence(device_id),
            "down": topics.down(device_id),
        },
        "trust_anchors": msgspec.to_builtins(trust.anchors()),
    }
