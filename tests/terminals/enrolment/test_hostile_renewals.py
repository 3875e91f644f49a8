"""Attacks on renewal: by who copied a key, by requests that no parser expects, by floods, and by whoever wants to stay unseen."""

import base64
import math
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from django.conf import LazySettings
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from terminals.enrolment import certificates
from terminals.enrolment.models import Certificate
from terminals.estate.models import Terminal
from terminals.link.models import Command, DeadLetter, DeviceSession
from terminals.link.protocol.messages.enrolment import CertificateRequest
from terminals.simulator.device import Device
from terminals.simulator.identity import private_pem
from tests.conftest import deliver, make_csr, working_device

HEADER = "X-Client-Certificate"


@pytest.fixture
def device(register: Callable[[str], Terminal], settings: LazySettings) -> Device:
    settings.EST_CERTIFICATE_HEADER = HEADER
    return working_device(register("SN-1"))


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def by_est(client: Client, shown_pem: str, csr: x509.CertificateSigningRequest) -> HttpResponse:
    body = base64.encodebytes(csr.public_bytes(Encoding.DER))
    headers = {HEADER: quote(shown_pem)}
    address = "/.well-known/est/simplereenroll"
    return client.post(address, body, content_type="application/pkcs10", headers=headers)  # type: ignore[return-value]


def csr_of(key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    return x509.load_pem_x509_csr(make_csr(key).encode())


def ask(device: Device, csr_pem: str) -> str:
    """Ask over the link and return the reason of a refusal, or nothing."""
    DeadLetter.objects.all().delete()
    deliver(device.report("certificate_request", CertificateRequest(csr_pem)))
    return "".join(DeadLetter.objects.values_list("reason", flat=True))


def leaf_of(device: Device) -> str:
    certificate, *_ = x509.load_pem_x509_certificates(device.memory.certificate_pem.encode())
    return certificate.public_bytes(Encoding.PEM).decode()


def test_a_key_that_was_replaced_and_forgotten_renews_nothing_while_a_newer_one_is_unconfirmed(
    client: Client, device: Device
) -> None:
    copied, second, third = leaf_of(device), new_key(), new_key()
    with time_machine.travel(in_days(50)):
        answer = by_est(client, copied, csr_of(second))
        [certificate] = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.content))
        device.memory.private_key_pem = private_pem(second)
        assert deliver(device.hello()).dead == 0
    with time_machine.travel(in_days(52)):
        certificates.forget_earlier_keys(datetime.now(UTC))
    with time_machine.travel(in_days(96)):
        Certificate.objects.filter(current=False).update(not_after=in_days(10))  # the copied one still holds
        assert by_est(client, certificate.public_bytes(Encoding.PEM).decode(), csr_of(third)).status_code == 200
    with time_machine.travel(in_days(96.1)):
        answer = by_est(client, copied, csr_of(new_key()))
        assert (answer.status_code, answer.content.split(b":")[0]) == (400, b"replaced_key")
        device.memory.private_key_pem = private_pem(third)
        assert deliver(device.hello()).dead == 0, "its owner is not locked out"


@pytest.mark.parametrize(
    ("oid", "value"),
    [("2.5.29.17", b"\x30\x02\xa5\x00"), ("1.3.6.1.5.5.7.1.24", b"\x30\x03\x02\x01\x63")],
    ids=["a name of a rare kind", "an unknown TLS feature"],
)
def test_extensions_that_no_parser_expects_are_a_refusal_and_no_failure(
    client: Client, device: Device, oid: str, value: bytes
) -> None:
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.add_extension(extension, critical=False).sign(new_key(), hashes.SHA256())
    with time_machine.travel(in_days(61)):
        assert ask(device, csr.public_bytes(Encoding.PEM).decode()) == "bad_request"
        assert by_est(client, leaf_of(device), csr).status_code == 400


def test_an_rsa_key_whose_messages_would_cost_a_hundred_times_as_much_is_refused(device: Device) -> None:
    key = rsa.generate_private_key(65537, 2048).private_numbers()
    phi = (key.p - 1) * (key.q - 1)
    e = 4
    while math.gcd(e, phi) != 1:
        e = secrets.randbits(2047) | 1 | (1 << 2046)
    d, public = pow(e, -1, phi), rsa.RSAPublicNumbers(e, key.public_numbers.n)
    odd = rsa.RSAPrivateNumbers(key.p, key.q, d, d % (key.p - 1), d % (key.q - 1), key.iqmp, public).private_key()
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(odd, hashes.SHA256())
    with time_machine.travel(in_days(61)):
        assert ask(device, csr.public_bytes(Encoding.PEM).decode()) == "weak_key"


def test_who_asks_for_the_same_again_and_again_makes_one_command_an_hour(device: Device) -> None:
    csr = make_csr(new_key())
    with time_machine.travel(in_days(61)):
        for _ in range(20):
            assert ask(device, csr) == ""
        assert Command.objects.filter(type="install_certificate").count() == 1
    with time_machine.travel(in_days(61.1)):
        assert ask(device, csr) == ""
        assert Command.objects.filter(type="install_certificate").count() == 2


def test_nobody_renews_by_the_hour(device: Device) -> None:
    def renew(day: float) -> str:
        key = new_key()
        with time_machine.travel(in_days(day)):
            if refusal := ask(device, make_csr(key)):
                return refusal
            device.memory.private_key_pem = private_pem(key)
            deliver(device.hello())
        return ""

    assert [renew(day) for day in (1, 44, 46, 47, 90, 92)] == ["too_soon", "too_soon", "", "too_soon", "too_soon", ""]


def test_a_hello_by_the_earlier_key_beside_one_by_the_new_key_hides_nothing(device: Device) -> None:
    earlier, key = device.memory.private_key_pem, new_key()
    with time_machine.travel(in_days(61)):
        assert ask(device, make_csr(key)) == ""
        device.memory.private_key_pem = private_pem(key)
        owner = device.hello()
        device.memory.private_key_pem = earlier
        deliver(owner, device.hello())
        assert Certificate.objects.get(current=True).confirmed_at is not None


def test_a_copy_cannot_hide_behind_further_boots(device: Device) -> None:
    for minute, boot in enumerate([device.boot_id, "copy-1", "copy-2", "copy-3"] * 2):
        with time_machine.travel(datetime.now(UTC) + timedelta(minutes=minute)):
            device.boot_id = boot
            assert deliver(device.hello()).dead == 0
    assert DeviceSession.objects.get().shared_at is not None


def test_starting_anew_again_and_again_is_no_copy(device: Device) -> None:
    for minute in range(40):
        with time_machine.travel(datetime.now(UTC) + timedelta(minutes=minute)):
            device.boot()
            deliver(device.hello(), device.hello())
    session = DeviceSession.objects.get()
    assert (session.shared_at, len(session.earlier_boot_ids)) == (None, 16)


@pytest.mark.usefixtures("closed_vault")
def test_asking_for_the_cas_certificates_opens_no_key(client: Client, device: Device) -> None:
    assert client.get("/.well-known/est/cacerts").status_code == 200
    with time_machine.travel(in_days(61)), CaptureQueriesContext(connection):
        answer = by_est(client, leaf_of(device), csr_of(new_key()))
        assert (answer.status_code, answer.content.split(b":")[0]) == (503, b"device_ca_closed")
