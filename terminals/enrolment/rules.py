"""What a certificate request must look like. Pure: parses and judges, issues nothing."""

import base64
import hashlib
import secrets
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition

MAX_CSR_BYTES = 8192
CURVES = ("secp256r1", "secp384r1")
RSA_BITS = (2048, 3072, 4096)
RSA_EXPONENTS = range(65_537, 2**32)
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class RequestState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    ENROLLED = "enrolled"


_R = RequestState


class RequestTransition(Machine):
    approve = Transition((_R.WAITING,), _R.APPROVED)
    reject = Transition((_R.WAITING, _R.APPROVED), _R.REJECTED)
    enrol = Transition((_R.APPROVED,), _R.ENROLLED)


def new_code() -> str:
    """Return a 128-bit code as people type it: 26 base-32 characters in groups, for example `K7QX2-...`."""
    text = base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=")
    return "-".join(text[start : start + 5] for start in range(0, len(text), 5))


def code_digest(code: str) -> str:
    """Return the SHA-256 of a code, however it was grouped or cased."""
    return hashlib.sha256("".join(code.split()).replace("-", "").upper().encode()).hexdigest()


def checked_public_key(csr_pem: str, *, serial: str, device_id: str) -> PublicKey:
    """Return the request's public key; raise Refusal unless the request is sound.

    Sound is: PEM PKCS#10 of at most 8 KiB, signed by its own key (proof of possession), a strong key, a subject that
    is empty or names this terminal and nothing else, and no extensions: what a certificate says is the CA's business.
    """
    if len(csr_pem) > MAX_CSR_BYTES:
        raise Refusal(
            "bad_request", "the certificate request is longer than %(max_csr_bytes)s bytes", max_csr_bytes=MAX_CSR_BYTES
        )
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        signed = request.is_signature_valid
        public_key = request.public_key()
        attributes = list(request.subject)
        extensions = list(request.extensions)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - the parser has more ways to fail at what a stranger wrote than it documents
        raise Refusal("bad_request", "csr must be one PEM encoded PKCS#10 certificate request") from None
    if not signed:
        raise Refusal("bad_signature", "the certificate request is not signed by its own key")
    strong_ec = isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in CURVES
    strong_rsa = (
        isinstance(public_key, rsa.RSAPublicKey)
        and public_key.key_size in RSA_BITS
        # A long exponent would cost a hundred times as much at each of its messages.
        and public_key.public_numbers().e in RSA_EXPONENTS
    )
    if not (strong_ec or strong_rsa):
        raise Refusal("weak_key", "the key must be EC P-256 or P-384, or RSA of 2048, 3072 or 4096 bits")
    foreign = any(a.oid != NameOID.COMMON_NAME or a.value not in (serial, device_id) for a in attributes)
    if foreign or len(attributes) > 1:
        raise Refusal("bad_subject", "the subject must be empty or CN=%(serial)s, and nothing else", serial=serial)
    if extensions:
        raise Refusal("bad_request", "the certificate request must not ask for extensions")
    assert isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)  # noqa: S101 - one of the two is strong
    return public_key


def public_key_digest(public_key: PublicKey) -> str:
    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
