"""nginx as it is shipped in front of web: enrolment, renewal and downloads by HTTPS, and headers that nobody can forge."""

import base64
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from django.conf import settings as django_settings

from firmware.models import Release
from fleet.local import pki
from terminals.enrolment import certificates
from terminals.enrolment.codes import issue_activation_code
from terminals.enrolment.models import Certificate
from terminals.estate.models import Terminal
from terminals.simulator.identity import private_pem
from tests import services
from tests.conftest import enrolled_device, make_csr
from tests.firmware.test_downloads import CONTENT, link  # noqa: F401 - a fixture
from tests.flows.test_isolation import foreign
from tests.mqtt import Identity, identity_of

SHIPPED = Path(__file__).resolve().parent.parent.parent / "deploy" / "nginx" / "tillwarden.conf"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.django_db(transaction=True),
]
Open = Callable[[Identity | None], httpx.Client]
RENEW = "/.well-known/est/simplereenroll"


def configure(folder: Path, port: int, web: str, more: str) -> None:
    """Write the shipped configuration with this test's paths and ports, and more settings for who comes with a certificate."""
    text = SHIPPED.read_text()
    for shipped, here in (
        ("127.0.0.1:8000", web),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("listen 80", f"listen 127.0.0.1:{port + 1}"),
        ("ssl_verify_depth 3;", f"ssl_verify_depth 3; {more.format(http=port + 1)}"),
        ("/etc/nginx/tillwarden/device_roots.crt.pem", django_settings.DEVICE_CA_CERTIFICATE_FILE),
        ("/etc/nginx/tillwarden/web.", f"{folder}/broker."),
        ("/srv/tillwarden/artifacts/", f"{services.STATE_DIR}/artifacts/"),
    ):
        assert shipped in text
        text = text.replace(shipped, here)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    who = "user root;\n" if os.getuid() == 0 else ""  # it shall read this test's files
    (folder / "nginx.conf").write_text(
        f"{who}daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{text}}}\n"
    )


@pytest.fixture
def more() -> str:
    """Settings that a test adds to the shipped ones."""
    return ""


@pytest.fixture
def proxy(live_server: Any, settings: Any, tmp_path: Path, more: str) -> Iterator[Open]:
    """nginx before the test's web server; returns how to come to it with a certificate or without."""
    settings.EST_CERTIFICATE_HEADER, settings.ALLOWED_HOSTS = "X-Client-Certificate", ["tms.example.com", "localhost"]
    settings.ARTIFACT_ACCEL_PREFIX = "/internal-artifacts/"
    pki.make_services(tmp_path)
    port = services.free_port_pair()
    configure(tmp_path, port, live_server.url.removeprefix("http://"), more)
    log = (tmp_path / "log").open("ab")
    with subprocess.Popen([str(NGINX), "-c", str(tmp_path / "nginx.conf")], stdout=log, stderr=log) as process:

        def come(identity: Identity | None) -> httpx.Client:
            context = ssl.create_default_context(cafile=str(tmp_path / "services_ca.crt.pem"))
            if identity is not None:
                (tmp_path / "identity.pem").write_text(identity.key_pem + identity.certificate_pem)
                context.load_cert_chain(tmp_path / "identity.pem")
            return httpx.Client(base_url=f"https://localhost:{port}", verify=context, timeout=20)

        for _ in range(100):
            try:
                come(None).get("/healthz")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield come
        process.terminate()


def request_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    request = x509.load_pem_x509_csr(make_csr(key, "SN-1").encode())
    return base64.encodebytes(request.public_bytes(Encoding.DER))


def test_a_terminal_enrols_and_renews_by_https(proxy: Open, register: Callable[[str], Terminal]) -> None:
    terminal, key = register("SN-1"), ec.generate_private_key(ec.SECP256R1())
    code = issue_activation_code(terminal=terminal, actor="ops")
    enrolled = proxy(None).post("/enrol", json={"code": code, "serial": "SN-1", "csr": make_csr(key)})
    assert enrolled.status_code == 201
    Certificate.objects.update(issued_at=datetime.now(UTC) - timedelta(days=61))
    mine = Identity(enrolled.json()["certificate"], private_pem(key))
    later = ec.generate_private_key(ec.SECP256R1())
    answer = proxy(mine).post(RENEW, content=request_of(later), headers={"Content-Type": "application/pkcs10"})
    assert answer.status_code == 200
    [renewed] = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.content))
    assert renewed.public_key() == later.public_key()


def test_nobody_renews_in_the_name_of_another(proxy: Open, register: Callable[[str], Terminal]) -> None:
    device = enrolled_device(register("SN-1"))
    Certificate.objects.update(issued_at=datetime.now(UTC) - timedelta(days=61))
    body, forged = request_of(ec.generate_private_key(ec.SECP256R1())), Certificate.objects.get().pem
    headers = {"Content-Type": "application/pkcs10", "X-Client-Certificate": quote(forged)}
    assert proxy(None).post(RENEW, content=body, headers=headers).status_code == 403
    assert proxy(foreign("SN-1")).post(RENEW, content=body, headers=headers).status_code in (400, 403)
    assert proxy(None).post(f"/{RENEW}", content=body, headers=headers).status_code in (403, 404)
    assert Certificate.objects.count() == 1
    assert proxy(identity_of(device)).post(RENEW, content=body, headers=headers).status_code == 200


def test_a_terminal_fetches_a_release_and_nobody_does_without_its_link(proxy: Open, link: str) -> None:  # noqa: F811
    whole = proxy(None).get(link)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    rest = proxy(None).get(link, headers={"Range": "bytes=200000-", "If-Range": whole.headers["ETag"]})
    assert (rest.status_code, rest.content) == (206, CONTENT[200_000:])
    inside = f"/internal-artifacts/{Release.objects.get().artifact.name}"
    assert proxy(None).get(inside).status_code == 404
    assert proxy(None).get(link[:-1] + ("a" if link[-1] != "a" else "b")).status_code == 403


def test_the_fleets_numbers_are_for_who_is_named_alone(proxy: Open) -> None:
    with proxy(None) as named:
        assert named.get("/metrics").status_code == 200
        address = str(named.base_url.join("/metrics"))
    stranger = httpx.HTTPTransport(verify=False, local_address="127.0.0.2")
    with httpx.Client(transport=stranger) as client:
        assert client.get(address).status_code == 403


@pytest.mark.parametrize("more", ["ssl_ocsp leaf; ssl_ocsp_responder http://127.0.0.1:{http}/pki/ocsp/;"])
def test_a_proxy_that_asks_by_ocsp_turns_a_revoked_terminal_away(
    proxy: Open, more: str, register: Callable[[str], Terminal]
) -> None:
    terminal = register("SN-1")
    mine = identity_of(enrolled_device(terminal))
    assert proxy(mine).get("/healthz").status_code == 200
    certificates.revoke([terminal.pk])
    turned_away = proxy(mine).get("/healthz")
    assert (turned_away.status_code, "SSL certificate error" in turned_away.text) == (400, True)


def test_without_tls_there_are_the_revocations_and_the_way_to_it(proxy: Open) -> None:
    with proxy(None) as https:
        port = (https.base_url.port or 0) + 1
    lists = httpx.get(f"http://127.0.0.1:{port}/pki/device-ca.crl.pem")
    assert (lists.status_code, lists.content[:26]) == (200, b"-----BEGIN X509 CRL-----\nM")
    elsewhere = httpx.get(f"http://127.0.0.1:{port}/api/v1/terminals/?a=1")
    assert elsewhere.headers["Location"] == "https://tms.example.com/api/v1/terminals/?a=1"
    for address in (
        "/admin/terminals/terminal/1/../../../../pki/change/",
        "/artifacts/x/../../pki/x",
        "/%61dmin/../pki/ocsp/",
    ):
        assert said(port, address).startswith("HTTP/1.1 404"), address
    assert "Location: /pki/" in said(port, "/pki"), "to wherever one came, and not to a host that somebody names"
    with_two_slashes = quote(base64.b64encode(b"\xff\xff\xff").decode(), safe="/")
    assert with_two_slashes == "////"
    answer = httpx.get(f"http://127.0.0.1:{port}/pki/ocsp/{with_two_slashes}")
    assert answer.headers["Content-Type"] == "application/ocsp-response"


def said(port: int, address: str) -> str:
    """Return what comes back for an address as it is, which no library would send so."""
    with socket.create_connection(("127.0.0.1", port), 10) as wire:
        wire.sendall(f"GET {address} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: wire.recv(65536), b"")).decode()
