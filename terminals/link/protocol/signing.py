"""End-to-end signatures: detached JWS (RFC 7515 appendix F, RFC 7797 `b64: false`) over canonical JSON (RFC 8785).

What is signed is the whole envelope without its `sig`. The algorithm follows from the key and never from the message:
EC P-256 -> ES256, EC P-384 -> ES384, RSA -> PS256. What the server signs names its key by `kid`, the key's thumbprint
(RFC 7638), so that a terminal can trust an old and a new key while one replaces the other.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import msgspec
import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from django.conf import settings
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from terminals.link.protocol import messages

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_END = "-----END PUBLIC KEY-----"
_jws = jwt.PyJWS(algorithms=["ES256", "ES384", "PS256"])
_algorithms = {name: _jws.get_algorithm_by_name(name) for name in ("ES256", "ES384", "PS256")}


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


class SigningKey(NamedTuple):
    """One of the server's keys, with the id by which its signatures name it."""

    private: PrivateKey
    key_id: str


def key_id(key: PrivateKey | PublicKey) -> str:
    """Return a key's RFC 7638 thumbprint: SHA-256 over the members of its JWK that identify it, in base64url."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else key
    if isinstance(public, rsa.RSAPublicKey):
        jwk, members = RSAAlgorithm.to_jwk(public, as_dict=True), "e kty n"
    else:
        jwk, members = ECAlgorithm.to_jwk(public, as_dict=True), "crv kty x y"
    digest = hashlib.sha256(rfc8785.dumps({name: jwk[name] for name in members.split()})).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def sign_envelope(envelope: dict[str, Any], key: PrivateKey, key_id: str = "") -> dict[str, Any]:
    """Return the envelope (JSON types only) with its `sig`: `header..signature`; the header names `key_id` where given."""
    headers = {"typ": None, **({"kid": key_id} if key_id else {})}
    token = _jws.encode(rfc8785.dumps(envelope), key, algorithm_for(key), headers=headers, is_payload_detached=True)
    return {**envelope, "sig": token}


def sign_canonical(canonical: bytes, key: PrivateKey, key_id: str) -> bytes:
    """Return a whole signed message from its canonical JSON (RFC 8785), an object: what `sign_envelope` makes of it, without
    making its JSON twice. Of a fleet's commands of one tick this is half of the cost."""
    header = _header(algorithm_for(key), key_id)
    signature = _raw_signature(key, header + b"." + canonical)
    token = header + b".." + base64.urlsafe_b64encode(signature).rstrip(b"=")
    return canonical[:-1] + b',"sig":"' + token + b'"}'


@lru_cache(maxsize=16)
def _header(algorithm: str, key_id: str) -> bytes:
    header: dict[str, Any] = {"alg": algorithm, "b64": False, "crit": ["b64"], **({"kid": key_id} if key_id else {})}
    return base64.urlsafe_b64encode(rfc8785.dumps(header)).rstrip(b"=")


def _raw_signature(key: PrivateKey, signed: bytes) -> bytes:
    """Return a JWS signature (RFC 7518): of an EC key r and s side by side, of an RSA key RSASSA-PSS."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size), hashes.SHA256())
    size = (key.curve.key_size + 7) // 8
    digest = hashes.SHA256() if size == 32 else hashes.SHA384()
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def named_key(token: object) -> str:
    """Return the key id that a JWS names, unverified; raise BadSignature where it is none."""
    try:
        return str(_jws.get_unverified_header(str(token)).get("kid"))
    except (jwt.InvalidTokenError, ValueError) as error:
        raise BadSignature(str(error)) from None


def chosen_key(token: object, trusted: Mapping[str, str]) -> PublicKey:
    """Return the trusted key (id -> PEM) that a JWS names by its `kid`; raise BadSignature where it names no such key."""
    if (named := named_key(token)) not in trusted:
        raise BadSignature(f"the signature is by key {named!r}, which is not trusted")
    return public_key(trusted[named])


def verify_envelope(payload: bytes, key: PublicKey) -> None:
    """Check the `sig` member of a JSON message; raise BadSignature unless `key` made it over exactly this content.

    What msgspec writes with sorted names is the canonical form of nearly every message and costs a fiftieth; where its signature
    does not hold, the real canonical form decides. Either way the bytes that were signed say just what the message says.
    """
    try:
        envelope = msgspec.json.decode(payload)
        signature = envelope.pop("sig", None)
        if not isinstance(signature, str):
            raise BadSignature("the message is not signed")
        sorted_form = msgspec.json.encode(envelope, order="sorted")
        if _holds(signature, sorted_form, key):
            return
        canonical = rfc8785.dumps(envelope)
        if canonical == sorted_form or not _holds(signature, canonical, key):
            raise BadSignature("Signature verification failed")
    except (jwt.InvalidTokenError, rfc8785.CanonicalizationError, *messages.UNREADABLE) as error:
        raise BadSignature(str(error)) from None


def _holds(token: str, content: bytes, key: PublicKey) -> bool:
    """Whether a detached JWS is the key's over this content; raise InvalidTokenError where it is none."""
    algorithm = algorithm_for(key)
    head, _dot, rest = token.partition("..")
    _check_header(head, algorithm)
    try:
        signature = base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4))
    except ValueError:
        raise jwt.DecodeError("Invalid crypto padding") from None
    return bool(_algorithms[algorithm].verify(head.encode() + b"." + content, key, signature))


@lru_cache(maxsize=4096)
def _check_header(head: str, algorithm: str) -> None:
    """Raise InvalidTokenError unless a JWS header is this algorithm's, over content as it is (RFC 7797). A terminal's is always
    the same: it is read once."""
    header = _jws.get_unverified_header(f"{head}..")
    if header.get("alg") != algorithm:
        raise jwt.InvalidAlgorithmError("The specified alg value is not allowed")
    if header.get("b64") is not False or header.get("crit") != ["b64"]:
        raise jwt.DecodeError("the content must be signed as it is (b64: false)")


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


@lru_cache(maxsize=4)
def _signing_key(path: str) -> SigningKey:
    return SigningKey(private_key(path), key_id(private_key(path)))


def command_signing_key() -> SigningKey:
    """Return the server's key for commands and acks (COMMAND_SIGNING_KEY_FILE)."""
    return _signing_key(settings.COMMAND_SIGNING_KEY_FILE)


def release_signing_key() -> SigningKey:
    """Return the key that signs assignments of releases (RELEASE_SIGNING_KEY_FILE)."""
    return _signing_key(settings.RELEASE_SIGNING_KEY_FILE)


def trusted_keys(current: SigningKey, bundle_path: str) -> dict[str, str]:
    """Return key id -> public PEM: the current key's, and those of a PEM bundle of further ones (no path: none)."""
    pems = [public_pem(current.private), *(_bundle(bundle_path) if bundle_path else ())]
    return {key_id(public_key(pem)): pem for pem in pems}


@lru_cache(maxsize=8)
def _bundle(path: str) -> list[str]:
    """Read a bundle once per process, as the private keys are: half of a rotation must not be seen before a restart."""
    return [pem.strip() + f"\n{_END}\n" for pem in Path(path).read_text().split(_END) if pem.strip()]
