"""What a terminal works out before it says it: its batch's totals, and whether a release may be installed. Pure."""

import hashlib
from collections import defaultdict
from typing import Any

import jwt
import msgspec
import rfc8785

from terminals.link.protocol import signing
from terminals.link.protocol.messages.settlement import Total, TransactionRecord
from terminals.link.protocol.messages.software import Assignment, Install
from terminals.simulator.memory import Memory


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


class NotAssigned(Exception):
    """What the terminal must not follow; the message says why."""


def assigned(install: Install, memory: Memory) -> Assignment:
    """Return what the terminal shall run; raise NotAssigned unless a trusted release key signed it, about this very release, for
    this terminal, and after what it took last."""
    try:
        key = signing.chosen_key(install.assignment, memory.release_keys)
        signed = jwt.PyJWS(algorithms=["ES256", "ES384", "PS256"]).decode(
            install.assignment, key, algorithms=[signing.algorithm_for(key)]
        )
        assignment = msgspec.json.decode(signed, type=Assignment)
    except (jwt.InvalidTokenError, msgspec.DecodeError, signing.BadSignature) as error:
        raise NotAssigned(f"the assignment does not hold: {error}") from None
    if (assignment.size_bytes, assignment.sha256) != (install.size_bytes, install.sha256):
        raise NotAssigned("the assignment speaks of another release")
    if why := check_assignment(
        assignment, serial=memory.serial, counter=memory.assigned_counter, target=memory.assigned
    ):
        raise NotAssigned(why)
    return assignment


def check_assignment(assignment: Assignment, *, serial: str, counter: int, target: str) -> str:
    """Return why a terminal must not follow an assignment, or nothing: `counter` and `target` are of the last one it took."""
    if assignment.serial != serial:
        return "the assignment is for another terminal"
    if assignment.counter < counter or (assignment.counter == counter and assignment.target != target):
        return "the assignment is older than one that was taken"
    return ""


def parameters_digest(parameters: dict[str, Any], secrets: list[str]) -> str:
    """Return what a hello says of the parameters that the terminal has: SHA-256 of their canonical JSON, without secrets."""
    told = {name: value for name, value in parameters.items() if name not in secrets}
    return hashlib.sha256(rfc8785.dumps(told)).hexdigest()
