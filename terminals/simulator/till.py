"""What a virtual terminal sells, and its batch: numbered, uploaded, closed with the (imagined) host, kept for a while. No I/O."""

import hashlib
import random
from collections.abc import Iterable
from datetime import datetime

import msgspec
import uuid_utils.compat

from terminals.link.protocol.messages.settlement import Settlement, Total, TransactionRecord, Transactions
from terminals.simulator.books import batch_totals, inflated
from terminals.simulator.faults import Faults
from terminals.simulator.memory import Memory

MAX_RECORDS = 150
KEPT_BATCHES = 4  # the open one and three settled ones can be sent again
WRONG_EVERY = 8  # a terminal that misbehaves does so at one settlement of so many
CARDS = ("visa", "visa", "visa", "mastercard", "mastercard", "unionpay")
WALLETS = ("alipay", "wechat_pay")


def sell(memory: Memory, dice: random.Random, now: datetime) -> None:
    """Take one payment; sometimes give one back, take one back, or decline it."""
    rolled = dice.random()
    earlier = [record for record in memory.batch if record.kind == "sale"]
    if earlier and rolled < 0.07:
        kind = "refund" if rolled < 0.04 else "void" if rolled < 0.06 else "reversal"
        record = _record(memory, dice, now, kind, dice.choice(earlier))
    else:
        record = _record(memory, dice, now, "declined" if 0.07 <= rolled < 0.1 else "sale", None)
    memory.batch.append(record)
    memory.unsent.append(record)
    memory.paper -= 1


def _record(
    memory: Memory, dice: random.Random, now: datetime, kind: str, of: TransactionRecord | None
) -> TransactionRecord:
    """Return the next transaction; one `of` an earlier sale is by the same card for the same amount."""
    memory.stan = memory.stan % 999_999 + 1
    memory.sequence += 1
    by_card = of.method == "card" if of else dice.random() < 0.7 or not WALLETS
    last4 = f"{dice.randrange(10**4):04d}"
    return TransactionRecord(
        id=uuid_utils.compat.uuid7(),
        kind=kind,  # type: ignore[arg-type]
        method="card" if by_card else "qr",
        amount_minor=of.amount_minor if of else dice.randint(250, 12_000),
        currency=of.currency if of else memory.currency,
        occurred_at=now,
        approval_code="" if kind == "declined" else f"{dice.randrange(10**6):06d}",
        card_last4=of.card_last4 if of else last4 if by_card else "",
        scheme=of.scheme if of else dice.choice(CARDS if by_card else WALLETS),
        sequence=memory.sequence,
        stan=f"{memory.stan:06d}",
        rrn=f"{now:%y%j}{memory.stan:07d}"[-12:],
        card_token=of.card_token if of else f"tok_{last4}_{dice.randrange(100):02d}" if by_card else "",
    )


def uploads(memory: Memory, faults: Faults) -> Iterable[Transactions]:
    """Yield what was sold since the last upload. A faulty terminal loses one of its payments, or sends one twice."""
    while memory.unsent:
        records, memory.unsent = memory.unsent[:MAX_RECORDS], memory.unsent[MAX_RECORDS:]
        if faults.lost_upload and misbehaves(memory) and not memory.lost:
            memory.lost.append(records.pop().sequence)
        if faults.doubled_upload and misbehaves(memory) and records and not memory.doubled:
            memory.doubled = True
            records = [*records[: MAX_RECORDS - 1], msgspec.structs.replace(records[0], id=uuid_utils.compat.uuid7())]
        if records:
            yield Transactions(batch_number=memory.batch_number, records=records)


def misbehaves(memory: Memory) -> bool:
    """Whether a faulty terminal does so in its present batch."""
    return memory.settled % WRONG_EVERY == 0


def close(memory: Memory, faults: Faults, now: datetime, command_id: object) -> Settlement:
    """Close the open batch with the host and open the next one; return what is reported of it."""
    totals = batch_totals(memory.batch)
    if faults.wrong_totals and misbehaves(memory):
        totals = [inflated(totals[0]), *totals[1:]] if totals else [Total("card", "sale", memory.currency, 1, 1_00)]
    closed, number = memory.batch, memory.batch_number
    report = Settlement(
        batch_number=number,
        closed_at=now,
        currency=memory.currency,
        totals=totals,
        command_id=command_id,  # type: ignore[arg-type]
        opened_at=closed[0].occurred_at if closed else None,
        transaction_count=memory.sequence or None,
        place=place_of(memory.serial),
    )
    memory.archive = {str(number): closed, **memory.archive}
    memory.archive = dict(list(memory.archive.items())[: KEPT_BATCHES - 1])
    memory.batch, memory.batch_number = [], number % 999_999 + 1
    memory.sequence, memory.settled, memory.lost, memory.doubled = 0, memory.settled + 1, [], False
    return report


def place_of(serial: str) -> str:
    """Return the serving cell of a terminal that stays where it is."""
    digest = hashlib.sha256(serial.encode()).digest()
    return f"262-01-{int.from_bytes(digest[:2], 'big')}-{int.from_bytes(digest[2:4], 'big')}"


def asked_again(memory: Memory, batch_number: int, sequences: list[int]) -> list[Transactions]:
    """Return what the server lacks of a batch, as far as it is kept."""
    kept = memory.batch if batch_number == memory.batch_number else memory.archive.get(str(batch_number), [])
    wanted = [record for record in kept if not sequences or record.sequence in set(sequences)]
    return [
        Transactions(batch_number=batch_number, records=wanted[at : at + MAX_RECORDS])
        for at in range(0, len(wanted), MAX_RECORDS)
    ]
