"""Anchors: the chain's length and last hash, signed, one line each, in a file outside the database (AUDIT_ANCHOR_FILE).

Whoever rewrites or cuts the chain in the database would have to forge these, too: keep the file, or a copy of it, where
the database's administrators cannot write.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.utils import timezone

from terminals.common.audit.models import AuditSeal
from terminals.common.errors import Refusal

ALGORITHM = "ES256"
LONGEST_LINE = 2048
END = b"-----END PUBLIC KEY-----\n"


def _key() -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(Path(settings.AUDIT_SIGNING_KEY_FILE).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("AUDIT_SIGNING_KEY_FILE must hold an EC P-256 key")
    return key


def _public_keys() -> list[bytes]:
    """Return the present key's public half and those that it replaced (TRUSTED_AUDIT_KEYS_FILE), as PEM."""
    pems = [_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)]
    if settings.TRUSTED_AUDIT_KEYS_FILE:
        bundle = Path(settings.TRUSTED_AUDIT_KEYS_FILE).read_bytes()
        pems += [pem + END for pem in bundle.split(END) if pem.strip()]
    return pems


def _decode(line: bytes | str, pems: list[bytes]) -> dict[str, Any]:
    for pem in pems:
        with suppress(jwt.InvalidSignatureError):
            return jwt.decode(line, pem, [ALGORITHM])
    raise jwt.InvalidSignatureError("none of the audit's keys made it")


def write_anchor() -> bool:
    """Append an anchor for the chain as it stands; return whether there was anything new to anchor."""
    last = AuditSeal.objects.order_by("-position").first()
    if last is None:
        return False
    body = {"position": last.position, "hash": last.hash, "at": timezone.now().isoformat()}
    Path(settings.AUDIT_ANCHOR_FILE).touch()
    with Path(settings.AUDIT_ANCHOR_FILE).open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two workers may come at once after a pause
        whole, line = _end(file)
        if line and _decode(line, _public_keys())["position"] >= last.position:
            return False
        file.seek(whole)
        file.truncate()  # what a writer that died left half written
        file.write(jwt.encode(body, _key(), ALGORITHM).encode() + b"\n")
    return True


def _end(file: IO[bytes]) -> tuple[int, bytes]:
    """Return where the last whole line ends, and that line; reads no more than it must: the file grows for ever."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 2 * LONGEST_LINE, 0))
    lines = file.read().splitlines(keepends=True)
    torn = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
    return size - len(torn), lines[-1].strip() if lines else b""


def read_anchors() -> dict[int, str]:
    """Return position -> hash of every anchor, the first for a position; raise Refusal where a line is not ours.

    An unfinished last line was torn when its writer died: it says nothing.
    """
    path = Path(settings.AUDIT_ANCHOR_FILE)
    if not path.exists():
        return {}
    anchors: dict[int, str] = {}
    pems = _public_keys()
    whole, _, _torn = path.read_text().rpartition("\n")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            body = _decode(line, pems)
        except jwt.InvalidTokenError as error:
            raise Refusal(
                "bad_anchor",
                "line %(number)s of %(path)s does not verify: %(error)s",
                number=number,
                path=path,
                error=error,
            ) from None
        anchors.setdefault(int(body["position"]), str(body["hash"]))
    return anchors
