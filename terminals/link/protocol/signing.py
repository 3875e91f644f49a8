"""End-to-end signatures: detached JWS (RFC 7515 appendix F, RFC 7797 `b64: false`) over canonical JSON (RFC 8785).

What is signed is the whole envelope without its `sig`. The algorithm follows from the key and never from the message:
EC P-256 -> ES256, EC P-384 -> ES384, RSA -> PS256.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
import msgspec
import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.conf import settings

from terminals.link.protocol import messages

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_jws = jwt.PyJWS(algorithms=["ES256", "ES384", "PS256"])


class BadSignature(Exception):
    """The signature is absent, malformed, by another key or over other bytes."""


def algorithm_for(key: PrivateKey | PublicKey) -> str:
    """Return the JWS algorithm of a key; raise ValueError for a kind of key that the protocol does not know."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return "PS256"
    by_curve = {"secp256r1": "ES256", "secp384r1": "ES384"}
    try:
        return by_curve[key.curve.name]
    except KeyError:
        raise ValueError(f"curve {key.curve.name} is not P-256 or P-384") from None


def sign_envelope(envelope: dict[str, Any], key: PrivateKey) -> dict[str, Any]:
    """Return the envelope (JSON types only) with its `sig`: `header..signature`."""
    payload = rfc8785.dumps(envelope)
    token = _jws.encode(payload, key, algorithm_for(key), headers={"typ": None}, is_payload_detached=True)
    return {**envelope, "sig": token}


def verify_envelope(payload: bytes, key: PublicKey) -> None:
    """Check the `sig` member of a JSON message; raise BadSignature unless `key` made it over exactly this content."""
    try:
        envelope = msgspec.json.decode(payload)
        signature = envelope.pop("sig", None)
        if not isinstance(signature, str):
            raise BadSignature("the message is not signed")
        _jws.decode(signature, key, algorithms=[algorithm_for(key)], detached_payload=rfc8785.dumps(envelope))
    except (jwt.InvalidTokenError, rfc8785.CanonicalizationError, *messages.UNREADABLE) as error:
        raise BadSignature(str(error)) from None


@lru_cache(maxsize=50_000)
def public_key(pem: str) -> PublicKey:
    """Parse a PEM public key; parsed ones are kept, because a fleet's keys are used again and again."""
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise UnsupportedAlgorithm("only EC and RSA keys sign messages")
    return key


@lru_cache(maxsize=4)
def private_key(path: str) -> PrivateKey:
    """Read a PEM private key file once per process."""
    key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise UnsupportedAlgorithm(f"{path} must hold an EC or RSA key")
    return key


def public_pem(key: PrivateKey | PublicKey) -> str:
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else key
    encoding = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*encoding).decode()


def command_signing_key() -> PrivateKey:
    """Return the server's key for commands and acks (COMMAND_SIGNING_KEY_FILE)."""
    return private_key(settings.COMMAND_SIGNING_KEY_FILE)
