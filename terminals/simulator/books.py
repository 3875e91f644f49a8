"""What a terminal works out before it says it: its batch's totals, and whether a release may be installed. Pure."""

import hashlib
from collections import defaultdict
from typing import Any

import jwt
import msgspec
import rfc8785

from terminals.link.protocol import signing
from terminals.link.protocol.messages.settlement import MethodTotal, TransactionRecord
from terminals.link.protocol.messages.software import Install


def batch_totals(batch: list[TransactionRecord]) -> list[MethodTotal]:
    """Return a batch's totals by payment method."""
    numbers: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for record in batch:
        at = 0 if record.kind == "sale" else 2
        numbers[record.method][at] += 1
        numbers[record.method][at + 1] += record.amount_minor
    return [MethodTotal(method, *totals) for method, totals in sorted(numbers.items())]  # type: ignore[arg-type]


def net_minor(batch: list[TransactionRecord]) -> int:
    """Return sales less refunds, in minor units."""
    return sum(record.amount_minor if record.kind == "sale" else -record.amount_minor for record in batch)


def inflated(total: MethodTotal) -> MethodTotal:
    """Return a total as a dishonest terminal would: one sale of 12.34 too many."""
    return msgspec.structs.replace(total, sale_count=total.sale_count + 1, sale_minor=total.sale_minor + 12_34)


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
