"""Enrolment over Secure Transport (RFC 7030), as far as a terminal with a certificate needs it: `simplereenroll`, `cacerts`.

The proxy in front of web asks for the client certificate, checks it against the roots, and hands it on in a header
(EST_CERTIFICATE_HEADER). Here it must be one that we issued, that holds, and that was not revoked. First enrolment goes by
`POST /enrol`, because it is bound to an activation code.
"""

import base64
import binascii
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from terminals.common.bodies import body_of
from terminals.common.errors import Refusal
from terminals.enrolment import authority, certificates
from terminals.enrolment.certificates import Wanted
from terminals.enrolment.models import Certificate
from terminals.estate.rules import LINKED_STATES
from terminals.estate.services import hold_alone
from terminals.link.protocol import signing

MAX_BODY_BYTES = 16 * 1024
# What is not said of a request is said of us, and may be better later.
STATUS = {"unknown_certificate": 403, "too_soon": 429} | dict.fromkeys(authority.CLOSED, 503)
NOT_OURS = Refusal("unknown_certificate", "renewal needs a client certificate of ours that holds and was not revoked")


@require_GET
def ca_certificates(request: HttpRequest) -> HttpResponse:
    """Answer with the roots and the CA that issues (RFC 7030, 4.1)."""
    _check_open()
    chain = x509.load_pem_x509_certificates(authority.ca_certificates_pem().encode())
    try:
        issuing = x509.load_pem_x509_certificate(authority.issuer().row.certificate_pem.encode())
    except Refusal as refusal:
        return HttpResponse(f"{refusal.reason}: {refusal.detail}\n", status=503, content_type="text/plain")
    return _certificates([*chain, *(one for one in [issuing] if one not in chain)])


@csrf_exempt  # no session and no cookie stands behind it: the client certificate is the credential
@require_POST
def simple_reenroll(request: HttpRequest) -> HttpResponse:
    """Renew the certificate with which the terminal came, over the key of its request (RFC 7030, 4.2.2)."""
    _check_open()
    try:
        pem = _renewed(
            unquote(request.headers.get(settings.EST_CERTIFICATE_HEADER, "")), body_of(request, MAX_BODY_BYTES)
        )
    except IntegrityError:  # another terminal brought the same key at this moment
        return HttpResponse(f"{certificates.KEY_IN_USE}\n", status=400, content_type="text/plain")
    except Refusal as refusal:
        status = STATUS.get(refusal.reason, 400)
        return HttpResponse(f"{refusal.reason}: {refusal.detail}\n", status=status, content_type="text/plain")
    return _certificates(x509.load_pem_x509_certificates(pem.encode())[:1])


@transaction.atomic
def _renewed(shown_pem: str, body: bytes) -> str:
    shown = _ours(shown_pem)
    hold_alone([shown.terminal_id])
    now = timezone.now()
    key = x509.load_pem_x509_certificate(shown.pem.encode()).public_key()
    signed_by = signing.public_pem(key)  # type: ignore[arg-type]
    given, refused = certificates.renew([Wanted(shown.terminal_id, _request_pem(body), signed_by)], now=now)
    for refusal in refused.values():
        raise refusal
    return given[shown.terminal_id]


def _ours(shown_pem: str) -> Certificate:
    """Return the certificate that the proxy saw; raise Refusal where it is not one of ours that holds."""
    try:
        shown = x509.load_pem_x509_certificate(shown_pem.encode())
    except ValueError:
        raise NOT_OURS.again() from None
    holding: Any = Certificate.objects.filter(revoked_at=None, not_after__gt=timezone.now())
    known = holding.filter(serial_number=f"{shown.serial_number:x}", terminal__state__in=LINKED_STATES).first()
    if known is None or known.pem != shown.public_bytes(Encoding.PEM).decode():
        raise NOT_OURS.again()
    return known  # type: ignore[no-any-return]


def _request_pem(body: bytes) -> str:
    """Return the request in PEM: it comes as the base64 of DER (RFC 7030, 4.2.1), from some clients as PEM."""
    try:
        if body.lstrip().startswith(b"-----"):
            return body.decode()
        request = x509.load_der_x509_csr(base64.b64decode(body, validate=False))
        return request.public_bytes(Encoding.PEM).decode()
    except (ValueError, TypeError, binascii.Error, UnicodeError, x509.InvalidVersion):
        raise Refusal("bad_request", "the body must be one base64 encoded PKCS#10 certificate request") from None


def _certificates(chain: list[x509.Certificate]) -> HttpResponse:
    content = base64.encodebytes(pkcs7.serialize_certificates(chain, Encoding.DER))
    answer = HttpResponse(content, content_type="application/pkcs7-mime; smime-type=certs-only")
    answer["Content-Transfer-Encoding"] = "base64"
    return answer


def _check_open() -> None:
    if not settings.EST_CERTIFICATE_HEADER:
        raise Http404
