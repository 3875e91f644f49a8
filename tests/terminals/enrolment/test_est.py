"""Renewal by EST, behind a proxy that checked the client certificate."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from django.test import Client

from terminals.enrolment import certificates
from terminals.enrolment.models import Certificate
from terminals.estate.models import Terminal
from terminals.link.models import DeadLetter
from terminals.simulator.device import Device
from terminals.simulator.identity import private_pem
from tests.conftest import deliver, make_csr, working_device
from tests.flows.test_isolation import foreign

ADDRESS, HEADER = "/.well-known/est/simplereenroll", "X-Client-Certificate"
Key = ec.EllipticCurvePrivateKey


@pytest.fixture
def device(register: Callable[[str], Terminal], settings: Any) -> Device:
    settings.EST_CERTIFICATE_HEADER = HEADER
    return working_device(register("SN-1"))


def leaf(device: Device) -> str:
    certificate = x509.load_pem_x509_certificates(device.memory.certificate_pem.encode())[0]
    return certificate.public_bytes(Encoding.PEM).decode()


def ask(client: Client, shown_pem: str, key: Key, name: str = "SN-1") -> Any:
    request = x509.load_pem_x509_csr(make_csr(key, name).encode()).public_bytes(Encoding.DER)
    headers = {HEADER: quote(shown_pem)}
    return client.post(ADDRESS, base64.encodebytes(request), content_type="application/pkcs10", headers=headers)


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def test_a_terminal_renews_and_both_keys_sign_for_a_while(client: Client, device: Device) -> None:
    key = new_key()
    with time_machine.travel(datetime.now(UTC) + timedelta(days=61)):
        answer = ask(client, leaf(device), key)
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/pkcs7-mime; smime-type=certs-only")
        [renewed] = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.content))
        assert renewed.public_key() == key.public_key()
        assert deliver(device.hello()).dead == 0
        device.memory.private_key_pem = private_pem(key)
        assert deliver(device.hello()).dead == 0
        assert ask(client, renewed.public_bytes(Encoding.PEM).decode(), new_key()).status_code == 429
    assert Certificate.objects.get(current=True).serial_number == f"{renewed.serial_number:x}"
    assert DeadLetter.objects.count() == 0


def test_without_a_certificate_of_ours_that_holds_nobody_renews(client: Client, device: Device) -> None:
    shown = leaf(device)
    stranger = foreign("SN-1")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=61)):
        for pem in ("", "junk", stranger.certificate_pem):
            answer = ask(client, pem, new_key())
            assert (answer.status_code, answer.content[:19]) == (403, b"unknown_certificate")
        assert ask(client, shown, new_key(), "SN-2").status_code == 400
        assert (
            client.post(ADDRESS, b"junk", content_type="application/pkcs10", headers={HEADER: quote(shown)}).status_code
            == 400
        )
        certificates.revoke([Terminal.objects.get().pk])
        assert ask(client, shown, new_key()).status_code == 403
    with time_machine.travel(datetime.now(UTC) + timedelta(days=91)):
        assert ask(client, shown, new_key()).status_code == 403
    assert Certificate.objects.count() == 1


def test_the_cas_are_told(client: Client, device: Device) -> None:
    told = pkcs7.load_der_pkcs7_certificates(base64.b64decode(client.get("/.well-known/est/cacerts").content))
    certificate, issuer = x509.load_pem_x509_certificates(device.memory.certificate_pem.encode())
    assert issuer in told
    assert any(one.subject == one.issuer for one in told)
    certificate.verify_directly_issued_by(issuer)


def test_it_is_closed_where_no_proxy_hands_certificates_on(client: Client, device: Device, settings: Any) -> None:
    settings.EST_CERTIFICATE_HEADER = ""
    assert ask(client, leaf(device), new_key()).status_code == 404
    assert client.get("/.well-known/est/cacerts").status_code == 404
