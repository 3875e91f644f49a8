"""Anchors: the chain's length and last hash, signed, one line each, in a file outside the database (AUDIT_ANCHOR_FILE).

Whoever rewrites or cuts the chain in the database would have to forge these, too: keep the file, or a copy of it, where
the database's administrators cannot write.
"""

import os
from pathlib import Path
from typing import IO

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.utils import timezone

from terminals.common.audit.models import AuditSeal
from terminals.common.errors import Refusal

ALGORITHM = "ES256"
LONGEST_LINE = 2048


def _key() -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(Path(settings.AUDIT_SIGNING_KEY_FILE).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("AUDIT_SIGNING_KEY_FILE must hold an EC P-256 key")
    return key


def write_anchor() -> bool:
    """Append an anchor for the chain as it stands; return whether there was anything new to anchor."""
    last = AuditSeal.objects.order_by("-position").first()
    if last is None:
        return False
    body = {"position": last.position, "hash": last.hash, "at": timezone.now().isoformat()}
    Path(settings.AUDIT_ANCHOR_FILE).touch()
    with Path(settings.AUDIT_ANCHOR_FILE).open("r+b") as file:
        whole, line = _end(file)
        if line and int(jwt.decode(line, _key().public_key(), [ALGORITHM])["position"]) >= last.position:
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
    public, anchors = _key().public_key(), dict[int, str]()
    whole, _, _torn = path.read_text().rpartition("\n")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            body = jwt.decode(line, public, [ALGORITHM])
        except jwt.InvalidTokenError as error:
            raise Refusal("bad_anchor", f"line {number} of {path} does not verify: {error}") from None
        anchors.setdefault(int(body["position"]), str(body["hash"]))
    return anchors
