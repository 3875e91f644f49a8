"""How a virtual terminal gets its identity: a key of its own, a request, and the server's answer, checked."""

import asyncio
import hashlib
import logging
from itertools import pairwise
from typing import Any

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from terminals.keys.rules import accept_offer
from terminals.link.protocol import messages, signing
from terminals.link.protocol.messages.enrolment import UpdateTrust
from terminals.simulator.identity import private_pem, request_pem, sign_pending_anew
from terminals.simulator.memory import Memory

logger = logging.getLogger(__name__)


class EnrolmentFailed(Exception):
    """The server refused; the message is its reason."""


def fingerprint(private_key: ec.EllipticCurvePrivateKey) -> str:
    """Return what a device shows of its key on its screen, for a person to compare with the operator's page."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(private_key.public_key().public_bytes(*form)).hexdigest()
    return "-".join(digest[start : start + 4] for start in range(0, 16, 4))


async def enrol(http: httpx.AsyncClient, memory: Memory, code: str, *, ask_again_seconds: float = 30) -> None:
    """Exchange the code for a certificate and fill the memory; raise EnrolmentFailed where the server refuses.

    Without a code it waits until an operator lets it in.
    """
    private_key = ec.generate_private_key(ec.SECP256R1())
    request_body = {"code": code, "serial": memory.serial, "csr": request_pem(private_key, memory.serial)}
    response = await http.post("/enrol", json=request_body)
    while response.status_code == httpx.codes.ACCEPTED:  # an operator must let it in
        logger.info("%s waits to be let in; its key's fingerprint is %s", memory.serial, fingerprint(private_key))
        await asyncio.sleep(min(float(response.headers["Retry-After"]), ask_again_seconds))
        response = await http.post("/enrol", json=request_body)
    answer = response.json()
    if response.status_code != 201:
        raise EnrolmentFailed(f"{answer.get('reason')}: {answer.get('detail')}")
    _check_certificate(answer, private_key)
    anchors = msgspec.convert(answer["trust_anchors"], UpdateTrust)
    memory.trust_anchors(anchors)
    kbpk = accept_signed_offer(memory, private_key, answer["key_protection"], answer["device_id"])
    memory.device_id = answer["device_id"]
    memory.broker_urls = answer["broker"]["urls"]
    memory.topics = answer["topics"]
    memory.certificate_pem = answer["certificate"]
    memory.kbpk_hex = kbpk.hex()
    if not memory.batch:  # an open one goes on under its own number
        memory.batch_number = answer["batch_number"]
    sign_pending_anew(memory, private_key)
    memory.private_key_pem = private_pem(private_key)
    memory.next_key_pem = memory.renewal_asked_at = ""


def accept_signed_offer(
    memory: Memory, private_key: ec.EllipticCurvePrivateKey, offer: dict[str, Any], device_id: str
) -> bytes:
    """Return the protection key; raise EnrolmentFailed unless the server signed the offer, for this device and this key."""
    try:
        signing.verify_envelope(messages.encode(offer), signing.chosen_key(offer.get("sig"), memory.command_keys))
    except signing.BadSignature as error:
        raise EnrolmentFailed(f"the key protection offer is not the server's: {error}") from None
    if (offer["device_id"], offer["terminal_key_id"]) != (device_id, signing.key_id(private_key)):
        raise EnrolmentFailed("the key protection offer is for another terminal or another key")
    return accept_offer(private_key, offer, device_id=device_id)


def _check_certificate(answer: dict[str, Any], private_key: ec.EllipticCurvePrivateKey) -> None:
    certificate, *between = x509.load_pem_x509_certificates(answer["certificate"].encode())
    roots = x509.load_pem_x509_certificates(answer["trust_anchors"]["device_ca"].encode())
    for one, issuer in pairwise([certificate, *between]):
        one.verify_directly_issued_by(issuer)
    if not any(root.subject == [certificate, *between][-1].issuer for root in roots):
        raise EnrolmentFailed("no root that the server names stands behind the certificate")
    if certificate.public_key() != private_key.public_key():
        raise EnrolmentFailed("the certificate is for another key")


class Registrar:
    """Puts simulated terminals on the books through the operator's API, spread over the stores and models there are."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stores: list[int] = []
        self._models: list[int] = []
        self._known: dict[str, int] = {}

    async def look_around(self) -> None:
        """Learn the stores, the models, and which simulated terminals are on the books already."""
        self._stores = [row["id"] for row in await _all(self._http, "/api/v1/stores/", self._headers)]
        self._models = [row["id"] for row in await _all(self._http, "/api/v1/terminal-models/", self._headers)]
        if not self._stores or not self._models:
            raise EnrolmentFailed("the server has no store or no terminal model yet; make one of each in the admin")
        known = await _all(self._http, "/api/v1/terminals/?serial_contains=SIM-", self._headers)
        self._known = {row["serial"]: row["id"] for row in known}

    async def activation_code(self, serial: str, number: int) -> str:
        """Register a terminal and return its code; one that is on the books (its memory was lost) gets a fresh code."""
        if serial in self._known:
            url, body = f"/api/v1/terminals/{self._known[serial]}/activation-code/", {}
        else:
            store, model = self._stores[number % len(self._stores)], self._models[number % len(self._models)]
            url = "/api/v1/terminals/"
            body = {"serial": serial, "store": store, "model": model, "tid": f"{number:08d}", "tags": ["simulated"]}
        response = await self._http.post(url, json=body, headers=self._headers)
        if response.status_code != 201:
            raise EnrolmentFailed(f"registering {serial}: {response.text}")
        return str(response.json()["activation_code"])


async def _all(http: httpx.AsyncClient, url: str | None, headers: dict[str, str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    url = f"{url}{'&' if '?' in (url or '') else '?'}page_size=1000"
    while url:
        response = await http.get(url, headers=headers)
        response.raise_for_status()
        page = response.json()
        rows, url = rows + page["results"], page["next"]
    return rows
