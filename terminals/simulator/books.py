"""What a terminal works out before it says it: its batch's totals, and whether a release may be installed. Pure."""

import hashlib
from collections import defaultdict
from typing import Any

import jwt
import msgspec
import rfc8785

from terminals.link.protocol import signing
from terminals.link.protocol.messages.settlement import Total, TransactionRecord
from terminals.link.protocol.messages.software import Install


def batch_totals(batch: list[TransactionRecord]) -> list[Total]:
    """Return a batch's totals by currency, method, scheme and kind."""
    numbers: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for record in batch:
        line = numbers[record.currency, record.method, record.scheme, record.kind]
        line[0] += 1
        line[1] += record.amount_minor
    return [
        Total(method, kind, currency, count, minor, scheme)  # type: ignore[arg-type]
        for (currency, method, scheme, kind), (count, minor) in sorted(numbers.items())
    ]


# What a kind adds to the batch; what was declined moved no money.
_SIGNS = {"sale": 1, "refund": -1, "credit": -1, "void": -1, "reversal": -1, "declined": 0}


def net_minor(batch: list[TransactionRecord]) -> int:
    """Return sales less refunds, credits, voids and reversals, in minor units."""
    return sum(_SIGNS[record.kind] * record.amount_minor for record in batch)


def inflated(total: Total) -> Total:
    """Return a total as a dishonest terminal would: one payment of 12.34 too many."""
    return msgspec.structs.replace(total, count=total.count + 1, amount_minor=total.amount_minor + 12_34)


def check_manifest(install: Install, release_keys: dict[str, str]) -> str:
    """Return why a release must not be installed, or nothing: signed by a trusted release key, and about this very file."""
    try:
        key = signing.chosen_key(install.manifest, release_keys)
        signed = jwt.PyJWS(algorithms=["ES256", "ES384", "PS256"]).decode(
            install.manifest, key, algorithms=[signing.algorithm_for(key)]
        )
    except (jwt.InvalidTokenError, signing.BadSignature) as error:
        return f"the manifest's signature does not hold: {error}"
    manifest = msgspec.json.decode(signed)
    expected = {
        "package": install.package,
        "version": install.version,
        "size_bytes": install.size_bytes,
        "sha256": install.sha256,
    }
    if any(manifest.get(name) != value for name, value in expected.items()) or signed != rfc8785.dumps(manifest):
        return "the manifest speaks of another release"
    return ""


def parameters_digest(parameters: dict[str, Any], secrets: list[str]) -> str:
    """Return what a hello says of the parameters that the terminal has: SHA-256 of their canonical JSON, without secrets."""
    told = {name: value for name, value in parameters.items() if name not in secrets}
    return hashlib.sha256(rfc8785.dumps(told)).hexdigest()
