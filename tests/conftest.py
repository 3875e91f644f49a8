"""Builders that the tests share."""

import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from terminals.enrolment.services import enrol, issue_activation_code
from terminals.keys.rules import accept_offer
from terminals.link import inbox
from terminals.link.models import Command
from terminals.link.mqtt import Incoming
from terminals.models import Merchant, Store, Terminal, TerminalModel
from terminals.services import register_terminal
from terminals.simulator.device import Device, Outgoing
from terminals.simulator.faults import Faults
from terminals.simulator.memory import Memory


@pytest.fixture
def register(db: None) -> Callable[[str], Terminal]:
    """Return a function that registers a terminal by serial."""
    merchant, _ = Merchant.objects.get_or_create(name="Bakery", mid="1")
    store, _ = Store.objects.get_or_create(merchant=merchant, name="Corner")
    model, _ = TerminalModel.objects.get_or_create(vendor="Acme", name="One", platform="linux-arm64")
    return lambda serial: register_terminal(serial=serial, model=model, store=store, actor="ops")


def make_csr(key: ec.EllipticCurvePrivateKey, name: str | None = None) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else [])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def enrolled_device(terminal: Terminal, faults: Faults = Faults()) -> Device:  # noqa: B008 - an immutable tuple
    """Enrol a terminal and return the virtual one that holds its identity."""
    key = ec.generate_private_key(ec.SECP256R1())
    code = issue_activation_code(terminal=terminal, actor="ops")
    answer = enrol(code=code, serial=terminal.serial, csr_pem=make_csr(key, terminal.serial))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    terminal.refresh_from_db()
    memory = Memory(
        serial=terminal.serial,
        device_id=answer["device_id"],
        certificate_pem=answer["certificate"],
        private_key_pem=pem,
        command_key_pem=answer["trust_anchors"]["command_signing_key"],
        release_key_pem=answer["trust_anchors"]["release_signing_key"],
        kbpk_hex=accept_offer(key, answer["key_protection"], device_id=answer["device_id"]).hex(),
    )
    return Device(memory, faults=faults, dice=random.Random(7), now=lambda: datetime.now(UTC))


def deliver(*outgoing: Outgoing) -> inbox.Taken:
    """Give messages to the inbox as the link would."""
    now = datetime.now(UTC)
    return inbox.take([Incoming(1, n, message.topic, message.payload, now) for n, message in enumerate(outgoing, 1)])


def obey(device: Device, kind: str) -> Command:
    """Hand the terminal its latest command of a type, and the server what it answers."""
    command = Command.objects.filter(terminal__serial=device.memory.serial, type=kind).latest("id")
    deliver(*device.receive("", bytes(command.payload)))
    command.refresh_from_db()
    return command
