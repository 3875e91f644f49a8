"""What is open to everybody: `POST /enrol`, the one request that a terminal makes before it has a certificate, and which
certificates were revoked."""

import hashlib
import logging
from base64 import b64decode
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from terminals.common.addresses import address_of
from terminals.common.bodies import body_of
from terminals.common.errors import Refusal
from terminals.enrolment import certificates, ocsp, services

MAX_BODY_BYTES = 16 * 1024
MAX_OCSP_BYTES = 2 * 1024
ASK_AGAIN_SECONDS = 30
logger = logging.getLogger(__name__)
FORBIDDEN = ("unknown_code", "wrong_serial", "code_used", "code_expired", "not_in_service", "rejected")
_STATUS = dict.fromkeys(FORBIDDEN, 403) | {"too_many": 429, "serial_taken": 403}


class EnrolmentRequest(msgspec.Struct):
    """code: as shown to the operator, empty to wait for one's approval; serial: as registered; csr: PEM PKCS#10."""

    serial: str
    csr: str
    code: str = ""


@require_GET
def revocation_lists(request: HttpRequest) -> HttpResponse:
    """Answer with the lists of revoked certificates of all device CAs (RFC 5280; PEM, one after the other), for brokers and
    proxies to load. They ask every few seconds: what did not change costs 304 (`If-None-Match`)."""
    lists = certificates.revocation_lists(timezone.now())
    tag = f'"{hashlib.sha256(lists.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == tag:
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(lists, content_type="application/x-pem-file", headers=headers)


@csrf_exempt  # it changes nothing, and everybody may ask
@require_http_methods(["GET", "POST"])
def certificate_status(request: HttpRequest, asked: str = "") -> HttpResponse:
    """Answer by OCSP (RFC 6960, A.1) whether a certificate was revoked; the request is the body, or base64 in the address."""
    try:
        wanted = b64decode(asked, validate=True) if asked else body_of(request, MAX_OCSP_BYTES)
    except (Refusal, ValueError):
        wanted = b""  # malformed in any case
    answer = ocsp.respond(wanted if len(wanted) <= MAX_OCSP_BYTES else b"", timezone.now())
    return HttpResponse(answer, content_type="application/ocsp-response", headers={"Cache-Control": "no-cache"})


@csrf_exempt  # no session and no cookie stands behind it: the code is the credential
@require_POST
def enrol_terminal(request: HttpRequest) -> JsonResponse:
    """Answer 201 with the certificate and trust anchors, 202 where an operator must let the device in first, or an RFC 9457
    problem whose `reason` programs can read."""
    try:
        wanted = _decode(body_of(request, MAX_BODY_BYTES))
        answer = _answer(wanted, address_of(request))
    except Refusal as refusal:
        logger.warning("enrolment refused: %s", refusal.reason)
        return _problem(refusal.reason, refusal.detail)
    if answer is None:
        body = {"status": "waiting", "detail": "an operator must let this device in; ask again later"}
        return JsonResponse(body, status=202, headers={"Retry-After": str(ASK_AGAIN_SECONDS)})
    return JsonResponse(answer, status=201)


def _answer(wanted: EnrolmentRequest, address: str) -> dict[str, Any] | None:
    if wanted.code:
        return services.enrol(code=wanted.code, serial=wanted.serial, csr_pem=wanted.csr)
    return services.enrol_approved(serial=wanted.serial, csr_pem=wanted.csr, address=address)


def _decode(body: bytes) -> EnrolmentRequest:
    try:
        return msgspec.json.decode(body, type=EnrolmentRequest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refusal(
            "bad_request", "the request must be JSON with code, serial and csr: %(error)s", error=error
        ) from None


def _problem(reason: str, detail: str) -> JsonResponse:
    status = _STATUS.get(reason, 400)
    body = {
        "type": f"urn:tillwarden:enrolment:{reason}",
        "title": "Enrolment refused",
        "status": status,
        "reason": reason,
        "detail": detail,
    }
    return JsonResponse(body, status=status, content_type="application/problem+json")
