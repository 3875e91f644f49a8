"""OCSP: whether a certificate was revoked, as OpenSSL and nginx ask, and whatever else comes to an address open to all."""

import subprocess
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from fleet.local import device_ca, pki
from terminals.enrolment import authority, certificates
from terminals.enrolment.models import Certificate, DeviceCA
from terminals.estate.models import Terminal
from terminals.simulator.device import Device
from tests.conftest import enrolled_device
from tests.terminals.enrolment.test_device_ca import MAKE_ROOT, run

OCSP = "/pki/ocsp/"
Request = ocsp.OCSPRequestBuilder
Status, Certain = ocsp.OCSPResponseStatus, ocsp.OCSPCertStatus


@pytest.fixture
def device(register: Callable[[str], Terminal]) -> Device:
    return enrolled_device(register("SN-1"))


def leaf_and_issuer(device: Device) -> tuple[x509.Certificate, x509.Certificate]:
    leaf = x509.load_pem_x509_certificates(device.memory.certificate_pem.encode())[0]
    row = Certificate.objects.select_related("ca").get(serial_number=f"{leaf.serial_number:x}")
    assert row.ca is not None
    return leaf, x509.load_pem_x509_certificate(row.ca.certificate_pem.encode())


def asking(device: Device, algorithm: hashes.HashAlgorithm | None = None) -> Request:
    return Request().add_certificate(*leaf_and_issuer(device), algorithm or hashes.SHA1())  # noqa: S303 - RFC 5019's


def ask(client: Client, request: bytes) -> ocsp.OCSPResponse:
    answer = client.post(OCSP, request, content_type="application/ocsp-request")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/ocsp-response")
    return ocsp.load_der_ocsp_response(answer.content)


def der(request: Request) -> bytes:
    return request.build().public_bytes(Encoding.DER)


def by_openssl(url: str, device: Device, folder: Path, *options: str) -> str:
    """Ask as an administrator does: OpenSSL checks the signature, the nonce and the times."""
    leaf, issuer = leaf_and_issuer(device)
    for name, certificate in (("leaf", leaf), ("issuer", issuer)):
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    asked = f"openssl ocsp -issuer {folder}/issuer.pem -cert {folder}/leaf.pem -url {url}{OCSP}".split()
    checked = [*asked, "-CAfile", settings.DEVICE_CA_CERTIFICATE_FILE, *options]
    done = subprocess.run(checked, capture_output=True, text=True, check=False, timeout=30)
    assert "Response verify OK" in done.stderr, done.stderr
    assert "WARNING" not in done.stderr, "it repeats the nonce"
    return done.stdout


@pytest.mark.django_db(transaction=True)
def test_openssl_hears_that_a_certificate_is_good_and_a_moment_later_that_it_is_revoked(
    live_server: Any, device: Device, tmp_path: Path
) -> None:
    assert "leaf.pem: good" in by_openssl(live_server.url, device, tmp_path)
    certificates.revoke([Terminal.objects.get().pk])
    told = by_openssl(live_server.url, device, tmp_path)
    assert "leaf.pem: revoked" in told
    assert "Revocation Time" in told


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])  # noqa: S303
def test_the_answer_names_what_was_asked_and_is_signed_by_the_ca(
    client: Client, device: Device, algorithm: hashes.HashAlgorithm
) -> None:
    leaf, issuer = leaf_and_issuer(device)
    revoked_at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    Certificate.objects.update(revoked_at=revoked_at)
    answer = ask(client, der(asking(device, algorithm)))
    assert (answer.serial_number, answer.certificate_status) == (leaf.serial_number, Certain.REVOKED)
    assert answer.revocation_time_utc == revoked_at
    assert answer.next_update_utc == answer.this_update_utc + timedelta(minutes=10), "five of them for slow clocks"
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


def test_the_address_may_bear_the_request(client: Client, device: Device) -> None:
    request = quote(b64encode(der(asking(device))).decode(), safe="")
    answer = client.get(OCSP + request)
    assert ocsp.load_der_ocsp_response(answer.content).certificate_status == Certain.GOOD
    assert answer["Cache-Control"] == "no-cache"


def test_a_ca_that_was_replaced_goes_on_answering_for_what_it_issued(client: Client, device: Device) -> None:
    device_ca.replace()
    assert ask(client, der(asking(device))).certificate_status == Certain.GOOD


def test_what_no_ca_of_ours_issued_is_not_spoken_of(client: Client, device: Device) -> None:
    leaf, _ = leaf_and_issuer(device)
    stranger = x509.load_pem_x509_certificate(pki.self_signed_ca_pem(pki.new_private_key_pem().encode()).encode())
    request = Request().add_certificate(leaf, stranger, hashes.SHA1())  # noqa: S303
    assert ask(client, der(request)).response_status == Status.UNAUTHORIZED
    assert ask(client, der(by_serial(device, 4711))).certificate_status == Certain.UNKNOWN
    ours = der(asking(device))
    DeviceCA.objects.update(not_after=datetime.now(UTC))
    assert ask(client, ours).response_status == Status.UNAUTHORIZED


def by_serial(device: Device, number: int) -> Request:
    named = asking(device).build()
    return Request().add_certificate_by_hash(
        named.issuer_name_hash, named.issuer_key_hash, number, named.hash_algorithm
    )


def test_an_rsa_ca_answers_too(
    client: Client, register: Callable[[str], Terminal], settings: Any, tmp_path: Path
) -> None:
    run(MAKE_ROOT.replace("ec -pkeyopt ec_paramgen_curve:P-256", "rsa:3072"), tmp_path)
    key, certificate = tmp_path / "root.key.pem", tmp_path / "root.crt.pem"
    settings.DEVICE_CA_CERTIFICATE_FILE = str(certificate)
    authority.adopt(key.read_bytes(), certificate.read_text(), actor="ops")
    answer = ask(client, der(asking(enrolled_device(register("SN-1")))))
    assert answer.certificate_status == Certain.GOOD
    signed_by = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    assert isinstance(signed_by, rsa.RSAPublicKey)
    signed_by.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("request_", [b"", b"junk", b"0" * 3000, b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x30\x01\x30"])
def test_what_is_no_request_is_told_so(client: Client, device: Device, request_: bytes) -> None:
    assert ask(client, request_).response_status == Status.MALFORMED_REQUEST
    in_the_address = client.get(OCSP + quote(b64encode(request_).decode(), safe=""))
    assert ocsp.load_der_ocsp_response(in_the_address.content).response_status == Status.MALFORMED_REQUEST
    assert ocsp.load_der_ocsp_response(client.get(f"{OCSP}~~").content).response_status == Status.MALFORMED_REQUEST


UNKNOWN = bytes.fromhex("300906032a030404020500")  # 1.2.3.4, whatever that may be
UNKNOWN_CRITICAL = bytes.fromhex("300c06032a03040101ff04020500")


def wrapped(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return bytes([tag, len(content)] if len(content) < 128 else [tag, 0x81, len(content)]) + content


def by_hand(device: Device, serial_number: bytes, *extensions: bytes) -> bytes:
    """Return a request in DER as no library would write it."""
    named = asking(device).build()
    digests = [wrapped(4, one) for one in (named.issuer_name_hash, named.issuer_key_hash)]
    certificate = wrapped(0x30, bytes.fromhex("300906052b0e03021a0500"), *digests, wrapped(2, serial_number))
    asked = wrapped(0x30, wrapped(0x30, certificate))
    return wrapped(0x30, wrapped(0x30, asked, wrapped(0xA2, wrapped(0x30, *extensions))))


def test_a_request_that_no_library_would_write_is_told_so(client: Client, device: Device) -> None:
    assert ask(client, by_hand(device, b"\x05", UNKNOWN)).certificate_status == Certain.UNKNOWN
    for request in (
        by_hand(device, b"\x05", UNKNOWN, UNKNOWN),
        by_hand(device, b"\x05", UNKNOWN_CRITICAL),
        by_hand(device, b"\xfb", UNKNOWN),  # -5
    ):
        assert ask(client, request).response_status == Status.MALFORMED_REQUEST


def test_a_nonce_is_repeated_unless_it_is_longer_than_there_may_be(client: Client, device: Device) -> None:
    for length, repeated in ((1, True), (32, True), (33, False)):
        nonce = x509.OCSPNonce(b"n" * length)
        answer = ask(client, der(asking(device).add_extension(nonce, critical=False)))
        assert [one.value for one in answer.extensions] == ([nonce] if repeated else [])


@pytest.mark.usefixtures("closed_vault")
def test_while_the_vault_is_closed_it_says_later(client: Client, device: Device) -> None:
    assert ask(client, der(asking(device))).response_status == Status.TRY_LATER


def test_a_question_costs_two_statements(client: Client, device: Device) -> None:
    request = der(asking(device))
    with CaptureQueriesContext(connection) as asked:
        ask(client, request)
    assert len(asked) == 2
