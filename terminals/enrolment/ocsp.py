"""The OCSP responder: whether one certificate was revoked (RFC 6960, one certificate a request as in RFC 5019), for proxies and
brokers that ask instead of loading the lists. Certificates name no responder (no AIA extension): who asks is told its URL.

The CA that issued a certificate signs the answer itself, so that no responder needs a certificate. What was revoked a moment ago
is told at once; whoever keeps an answer keeps it for LASTS.
"""

import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from terminals.common import vault
from terminals.enrolment import authority
from terminals.enrolment.models import Certificate, DeviceCA
from terminals.link.protocol.signing import PublicKey

LASTS = timedelta(minutes=5)
LONGEST_NONCE = 32  # bytes (RFC 9654)
# Several certificates in one request are not implemented.
MALFORMED = (ValueError, NotImplementedError, UnsupportedAlgorithm, x509.DuplicateExtension)


def respond(request: bytes, now: datetime) -> bytes:
    """Return the answer (DER) to a request (DER): good, revoked since when, or unknown; or, unsigned, why there is none:
    `malformedRequest`, `unauthorized` (no CA of ours that still holds has this name and key), `tryLater` (the vault does not open
    the CA's key)."""
    try:
        asked = ocsp.load_der_ocsp_request(request)
        _check(asked)
        issuer, nonce = _issuer_of(asked, now), _nonce_of(asked)
    except MALFORMED:
        return _refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    if issuer is None:
        return _refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    try:
        return _answer(asked, issuer, nonce, now)
    except vault.VaultError:
        return _refusal(ocsp.OCSPResponseStatus.TRY_LATER)


def _check(asked: ocsp.OCSPRequest) -> None:
    """Raise ValueError for what no certificate of ours can have, and for a critical extension that we do not know (4.4)."""
    if asked.serial_number < 0:
        raise ValueError("a serial number is not negative")
    if any(one.critical and not isinstance(one.value, x509.OCSPNonce) for one in asked.extensions):
        raise ValueError("an extension that we do not know is critical")


def _answer(asked: ocsp.OCSPRequest, issuer: DeviceCA, nonce: x509.OCSPNonce | None, now: datetime) -> bytes:
    status, revoked_at = _state_of(issuer, asked.serial_number)
    ca = x509.load_pem_x509_certificate(issuer.certificate_pem.encode())
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        asked.issuer_name_hash,
        asked.issuer_key_hash,
        asked.serial_number,
        asked.hash_algorithm,
        status,
        now - authority.BACKDATED,
        now + LASTS,
        revoked_at,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, ca)
    if nonce is not None:
        builder = builder.add_extension(nonce, critical=False)
    return builder.sign(authority.unsealed(issuer), hashes.SHA256()).public_bytes(Encoding.DER)


def _state_of(issuer: DeviceCA, serial_number: int) -> tuple[ocsp.OCSPCertStatus, datetime | None]:
    known = Certificate.objects.filter(ca=issuer, serial_number=f"{serial_number:x}").values_list("revoked_at").first()
    if known is None:
        return ocsp.OCSPCertStatus.UNKNOWN, None
    [revoked_at] = known
    return (ocsp.OCSPCertStatus.REVOKED if revoked_at else ocsp.OCSPCertStatus.GOOD), revoked_at


def _issuer_of(asked: ocsp.OCSPRequest, now: datetime) -> DeviceCA | None:
    """Return the CA whose name and key a request names by their digests."""
    for row in DeviceCA.objects.exclude(certificate_pem="").filter(not_after__gt=now):
        ca = x509.load_pem_x509_certificate(row.certificate_pem.encode())
        names = (ca.subject.public_bytes(), _key_bits(ca.public_key()))  # type: ignore[arg-type]
        if tuple(_digest(one, asked.hash_algorithm) for one in names) == (
            asked.issuer_name_hash,
            asked.issuer_key_hash,
        ):
            return row
    return None


def _digest(content: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    return hashlib.new(algorithm.name, content, usedforsecurity=False).digest()


def _key_bits(key: PublicKey) -> bytes:
    """Return the key as it lies in the certificate's bit string, without algorithm and length (a point uncompressed, as all write
    it)."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)


def _nonce_of(asked: ocsp.OCSPRequest) -> x509.OCSPNonce | None:
    """Return what the answer must bear so that nobody can show it again; a longer one than there may be is not repeated."""
    try:
        nonce = asked.extensions.get_extension_for_class(x509.OCSPNonce).value
    except x509.ExtensionNotFound:
        return None
    return nonce if 0 < len(nonce.nonce) <= LONGEST_NONCE else None


def _refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
