"""How a virtual terminal keeps its identity: whom it trusts, and its certificate, renewed at two thirds of its life."""

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from terminals.link.protocol import messages, signing
from terminals.link.protocol.messages.base import CommandEnvelope
from terminals.link.protocol.messages.enrolment import CertificateRequest, InstallCertificate, UpdateTrust
from terminals.link.protocol.messages.link import Result
from terminals.simulator.memory import Memory

if TYPE_CHECKING:
    from terminals.simulator.device import Device, Outgoing

RENEW_AT = 2 / 3
ASK_AGAIN_AFTER = timedelta(days=1)


def update_trust(device: "Device", envelope: CommandEnvelope) -> "list[Outgoing]":
    """Trust the new anchors and say so at once in a hello."""
    device.memory.trust_anchors(msgspec.json.decode(envelope.body, type=UpdateTrust))
    return [*device.done(envelope), device.hello()]


def renew_when_due(device: "Device") -> "list[Outgoing]":
    """Ask for a new certificate where two thirds of the present one's life are over; once a day."""
    memory, now = device.memory, device.now()
    if not memory.certificate_pem or now < _renews_at(memory.certificate_pem):
        return []
    if memory.renewal_asked_at and now < datetime.fromisoformat(memory.renewal_asked_at) + ASK_AGAIN_AFTER:
        return []
    return [_ask(device)]


def renew(device: "Device", envelope: CommandEnvelope) -> "list[Outgoing]":
    return [_ask(device), *device.done(envelope)]


def install_certificate(device: "Device", envelope: CommandEnvelope) -> "list[Outgoing]":
    """Go over to the new key and certificate, where they belong together and are this terminal's."""
    memory = device.memory
    chain = msgspec.json.decode(envelope.body, type=InstallCertificate).certificate
    certificate, *_ = x509.load_pem_x509_certificates(chain.encode())
    asked = private_key(memory.next_key_pem) if memory.next_key_pem else None
    named = [name.value for name in certificate.subject] == [memory.device_id]
    if not asked or asked.public_key() != certificate.public_key() or not named:
        return [device.finish(Result(envelope.id, "rejected", code="wrong_certificate"))]
    answers = device.done(envelope)  # still signed by the earlier key, which holds as well
    memory.private_key_pem, memory.certificate_pem = memory.next_key_pem, chain
    memory.next_key_pem = memory.renewal_asked_at = ""
    sign_pending_anew(memory, asked)
    device.changed = device.reconnect_wanted = True
    return answers


def _ask(device: "Device") -> "Outgoing":
    """Make the request over the key of the last one, if it was not answered."""
    memory = device.memory
    if not memory.next_key_pem:
        memory.next_key_pem = private_pem(ec.generate_private_key(ec.SECP256R1()))
    memory.renewal_asked_at = device.now().isoformat()
    request = request_pem(private_key(memory.next_key_pem), memory.serial)
    return device.report("certificate_request", CertificateRequest(request))


def sign_pending_anew(memory: Memory, key: ec.EllipticCurvePrivateKey) -> None:
    """Sign what the server has not acknowledged with the new key; the ids stay, so that nothing counts twice."""
    for event in memory.pending:
        envelope = json.loads(event.payload)
        del envelope["sig"]
        event.payload = messages.encode(signing.sign_envelope(envelope, key)).decode()


@lru_cache(maxsize=20_000)
def private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    return cast(ec.EllipticCurvePrivateKey, serialization.load_pem_private_key(pem.encode(), None))


def request_pem(key: ec.EllipticCurvePrivateKey, serial: str) -> str:
    """Return a certificate request (PKCS#10) over a key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, serial)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


@lru_cache(maxsize=20_000)
def _renews_at(chain_pem: str) -> datetime:
    certificate, *_ = x509.load_pem_x509_certificates(chain_pem.encode())
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * RENEW_AT
