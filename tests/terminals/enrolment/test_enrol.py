"""Enrolment: what is given for a good code, and that every refusal leaves everything as it was."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.test import Client
from django.utils import timezone

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.enrolment.codes import issue_activation_code
from terminals.enrolment.models import ActivationCode, Certificate
from terminals.enrolment.rules import code_digest, new_code
from terminals.enrolment.services import enrol
from terminals.estate.models import Terminal
from terminals.keys.models import ProtectionKey
from tests.conftest import enrolled_device, make_csr

P256 = ec.SECP256R1()
Register = Callable[[str], Terminal]


def csr_of(key: Any, subject: list[x509.NameAttribute[Any]], extension: x509.ExtensionType | None = None) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def name(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[Any]:
    return x509.NameAttribute(oid, value)


def refused(reason: str, **request: str) -> None:
    """Enrol, expect the refusal, and find that nothing was issued and no state moved."""
    before = list(Terminal.objects.order_by("pk").values_list("state", "public_key_pem"))
    certificates, keys = Certificate.objects.count(), ProtectionKey.objects.count()
    used = ActivationCode.objects.exclude(used_at=None).count()
    with pytest.raises(Refusal) as refusal:
        enrol(**request)
    assert refusal.value.reason == reason
    assert list(Terminal.objects.order_by("pk").values_list("state", "public_key_pem")) == before
    assert (Certificate.objects.count(), ProtectionKey.objects.count()) == (certificates, keys)
    assert ActivationCode.objects.exclude(used_at=None).count() == used


def test_a_code_buys_a_certificate_for_the_terminals_own_key(register: Register) -> None:
    terminal, key = register("SN-1"), ec.generate_private_key(P256)
    answer = enrol(code=issue_activation_code(terminal=terminal, actor="ops"), serial="SN-1", csr_pem=make_csr(key))
    certificate, ca = x509.load_pem_x509_certificates(answer["certificate"].encode())
    root = x509.load_pem_x509_certificate(answer["trust_anchors"]["device_ca"].encode())
    certificate.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(root)
    assert certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=90)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=SN-1"
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert answer["topics"]["hello"] == "tw/v1/13/SN-1/up/hello"
    terminal.refresh_from_db()
    assert terminal.state == "enrolled"


def test_a_code_is_kept_only_as_its_digest(register: Register) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    stored = ActivationCode.objects.get()
    assert stored.digest == code_digest(code)
    assert code.replace("-", "") not in str(stored.__dict__).replace("-", "")


def test_codes_have_128_bits_and_are_read_however_they_are_typed() -> None:
    code = new_code()
    assert len(code.replace("-", "")) == 26  # 26 x 5 bits carry 128
    assert code_digest(code.lower().replace("-", " ")) == code_digest(code)


def test_a_code_works_once(register: Register) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    enrol(code=code, serial="SN-1", csr_pem=make_csr(ec.generate_private_key(P256)))
    refused("code_used", code=code, serial="SN-1", csr_pem=make_csr(ec.generate_private_key(P256)))


def test_an_expired_code_is_refused(register: Register) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    ActivationCode.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    refused("code_expired", code=code, serial="SN-1", csr_pem=make_csr(ec.generate_private_key(P256)))


def test_a_newer_code_replaces_the_older(register: Register) -> None:
    terminal = register("SN-1")
    older = issue_activation_code(terminal=terminal, actor="ops")
    issue_activation_code(terminal=terminal, actor="ops")
    refused("unknown_code", code=older, serial="SN-1", csr_pem=make_csr(ec.generate_private_key(P256)))


def test_a_code_for_another_serial_is_refused(register: Register) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    register("SN-2")
    refused("wrong_serial", code=code, serial="SN-2", csr_pem=make_csr(ec.generate_private_key(P256)))


def test_a_key_is_certified_once_in_its_life(register: Register) -> None:
    key = ec.generate_private_key(P256)
    enrol(code=issue_activation_code(terminal=register("SN-1"), actor="ops"), serial="SN-1", csr_pem=make_csr(key))
    other = issue_activation_code(terminal=register("SN-2"), actor="ops")
    refused("key_in_use", code=other, serial="SN-2", csr_pem=make_csr(key))


def test_a_retired_terminal_gets_no_code(register: Register) -> None:
    terminal = register("SN-1")
    Terminal.objects.update(state="retired")
    terminal.refresh_from_db()
    with pytest.raises(Refusal, match="is retired and cannot enrol"):
        issue_activation_code(terminal=terminal, actor="ops")
    assert ActivationCode.objects.count() == 0


def test_enrolling_again_revokes_the_earlier_certificate(register: Register) -> None:
    terminal = register("SN-1")
    for _ in range(2):
        code = issue_activation_code(terminal=terminal, actor="ops")
        enrol(code=code, serial="SN-1", csr_pem=make_csr(ec.generate_private_key(P256)))
        terminal.refresh_from_db()
    first, second = Certificate.objects.order_by("pk")
    assert first.revoked_at is not None
    assert second.revoked_at is None


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("weak_key", lambda: csr_of(ec.generate_private_key(ec.SECP192R1()), [])),
        ("weak_key", lambda: csr_of(rsa.generate_private_key(65537, 1024), [])),  # noqa: S505
        ("bad_subject", lambda: csr_of(ec.generate_private_key(P256), [name(x509.NameOID.COMMON_NAME, "SN-2")])),
        (
            "bad_subject",
            lambda: csr_of(
                ec.generate_private_key(P256),
                [name(x509.NameOID.COMMON_NAME, "SN-1"), name(x509.NameOID.ORGANIZATION_NAME, "Root CA")],
            ),
        ),
        ("bad_subject", lambda: csr_of(ec.generate_private_key(P256), [name(x509.NameOID.COMMON_NAME, "SN-1/CN=x")])),
        (
            "bad_request",
            lambda: csr_of(ec.generate_private_key(P256), [], x509.BasicConstraints(ca=True, path_length=None)),
        ),
        ("bad_request", lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"),
        ("bad_request", lambda: ""),
        ("bad_request", lambda: "x" * 9000),
        ("bad_request", lambda: "\ud800"),
    ],
)
def test_an_unsound_certificate_request_is_refused(register: Register, reason: str, make: Callable[[], str]) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    refused(reason, code=code, serial="SN-1", csr_pem=make())


def test_a_request_signed_by_another_key_is_refused(register: Register) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    request = x509.load_pem_x509_csr(make_csr(ec.generate_private_key(P256)).encode())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    refused("bad_signature", code=code, serial="SN-1", csr_pem=forged)


@pytest.mark.parametrize(
    ("body", "reason", "status"),
    [
        (b"", "bad_request", 400),
        (b"{", "bad_request", 400),
        (b"\xff\xfe", "bad_request", 400),
        (b'{"code": 1, "serial": "SN-1", "csr": ""}', "bad_request", 400),
        (b'{"code": "AAAAA", "serial": "SN-1", "csr": ""}', "unknown_code", 403),
        (b'{"code": "' + b"A" * 20_000 + b'"}', "bad_request", 400),
    ],
)
@pytest.mark.django_db
def test_enrol_answers_bad_requests_with_a_problem(client: Client, body: bytes, reason: str, status: int) -> None:
    answer = client.post("/enrol", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["reason"] == reason


@pytest.mark.parametrize(
    "body",
    [b"[" * 8_000, b'{"code": ' + b"9" * 5_000 + b"}", b'{"code": "\xff"}', b"null"],
    ids=["depth", "digits", "no utf-8", "null"],
)
def test_hostile_json_is_a_problem_and_no_failure(client: Client, db: None, body: bytes) -> None:
    answer = client.post("/enrol", body, content_type="application/json")
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_request")


def test_a_request_of_an_unknown_version_is_refused(register: Register) -> None:
    code = issue_activation_code(terminal=register("SN-1"), actor="ops")
    der = x509.load_pem_x509_csr(make_csr(ec.generate_private_key(ec.SECP256R1())).encode()).public_bytes(
        serialization.Encoding.DER
    )
    at = der.index(b"\x02\x01\x00")  # the version, INTEGER 0
    changed = der[: at + 2] + b"\x07" + der[at + 3 :]
    pem = "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(changed).decode()
    refused("bad_request", code=code, serial="SN-1", csr_pem=pem + "-----END CERTIFICATE REQUEST-----\n")


def test_one_key_for_two_serials_is_certified_for_the_first_alone(register: Register) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    codes = {serial: issue_activation_code(terminal=register(serial), actor="ops") for serial in ("SN-1", "SN-2")}
    enrol(code=codes["SN-1"], serial="SN-1", csr_pem=make_csr(key, "SN-1"))
    refused("key_in_use", code=codes["SN-2"], serial="SN-2", csr_pem=make_csr(key, "SN-2"))


def test_enrolling_stands_in_the_audit_with_who_made_the_code(register: Register) -> None:
    enrolled_device(register("SN-1"))
    entry = AuditEntry.objects.get(action="terminal.enrol")
    assert (entry.actor, entry.subject, entry.detail["code_by"]) == ("terminal SN-1", "terminal:SN-1", "ops")
