"""Signatures: whoever changes a byte that matters, or the key, or the algorithm, is found out."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from terminals.link.protocol.signing import BadSignature, PrivateKey, sign_envelope, verify_envelope

KEY = ec.generate_private_key(ec.SECP256R1())
ENVELOPE: dict[str, Any] = {"id": "1", "type": "settle", "body": {"amount": 5, "text": "é\u20ac"}}


def encoded(envelope: dict[str, Any]) -> bytes:
    return json.dumps(envelope).encode()


@pytest.mark.parametrize(
    "key",
    [KEY, ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["256", "384", "RSA"],
)
def test_what_a_key_signed_its_public_key_verifies(key: PrivateKey) -> None:
    signed = sign_envelope(ENVELOPE, key)
    verify_envelope(encoded(signed), key.public_key())
    header, payload, _ = signed["sig"].split(".")
    assert payload == ""  # detached (RFC 7515 appendix F)
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["b64"] is False  # RFC 7797


def test_the_order_and_spacing_of_members_do_not_matter() -> None:
    signed = sign_envelope(ENVELOPE, KEY)
    verify_envelope(json.dumps(dict(reversed(signed.items())), indent=3).encode(), KEY.public_key())


def with_header(token: str, header: dict[str, Any]) -> str:
    text = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return text + "." + token.split(".", 1)[1]


SIGNED = sign_envelope(ENVELOPE, KEY)


@pytest.mark.parametrize(
    "forged",
    [
        ENVELOPE,
        {**SIGNED, "type": "unlock"},
        {**SIGNED, "extra": 1},
        {**SIGNED, "body": {"amount": 6, "text": "é\u20ac"}},
        {**SIGNED, "sig": ""},
        {**SIGNED, "sig": "a.b.c"},
        {**SIGNED, "sig": "é..é"},
        {**SIGNED, "sig": with_header(SIGNED["sig"], {"alg": "none", "b64": False, "crit": ["b64"]})},
        {**SIGNED, "sig": with_header(SIGNED["sig"], {"alg": "HS256", "b64": False, "crit": ["b64"]})},
        {**SIGNED, "sig": with_header(SIGNED["sig"], {"alg": "ES256"})},
        {**SIGNED, "sig": SIGNED["sig"][:-4] + "AAAA"},
        sign_envelope(ENVELOPE, ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_a_forged_message_does_not_verify(forged: dict[str, Any]) -> None:
    with pytest.raises(BadSignature):
        verify_envelope(encoded(forged), KEY.public_key())
