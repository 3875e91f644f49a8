"""Anchors: the chain's length and last hash, signed, one line each, in a file outside the database (AUDIT_ANCHOR_FILE).

Whoever rewrites or cuts the chain in the database would have to forge these, too: keep the file, or a copy of it, where
the database's administrators cannot write.
"""

from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.utils import timezone

from terminals.common.audit.models import AuditSeal
from terminals.common.errors import Refusal

ALGORITHM = "ES256"


def _key() -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(Path(settings.AUDIT_SIGNING_KEY_FILE).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("AUDIT_SIGNING_KEY_FILE must hold an EC P-256 key")
    return key


def write_anchor() -> bool:
    """Append an anchor for the chain as it stands; return whether there was anything new to anchor."""
    last = AuditSeal.objects.order_by("-position").first()
    path = Path(settings.AUDIT_ANCHOR_FILE)
    known = read_anchors()
    if last is None or max(known, default=0) >= last.position:
        return False
    body = {"position": last.position, "hash": last.hash, "at": timezone.now().isoformat()}
    with path.open("a") as file:
        file.write(jwt.encode(body, _key(), ALGORITHM) + "\n")
    return True


def read_anchors() -> dict[int, str]:
    """Return position -> hash of every anchor; raise Refusal where a line is not ours."""
    path = Path(settings.AUDIT_ANCHOR_FILE)
    if not path.exists():
        return {}
    public, anchors = _key().public_key(), {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            body = jwt.decode(line, public, [ALGORITHM])
        except jwt.InvalidTokenError as error:
            raise Refusal("bad_anchor", f"line {number} of {path} does not verify: {error}") from None
        anchors[int(body["position"])] = str(body["hash"])
    return anchors
