"""Whether a settlement balances, where it does not, and which transactions are suspected of it. Pure: no clock, no database."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

from terminals.settlement.rules import SIGNS

DOUBLE_WITHIN = timedelta(minutes=30)
MOST_COMBINED = 3  # transactions that together may explain a difference
MOST_SUSPECTS = 10
MOST_LOOKED_AT = 60  # of a line, when pairs and triples are tried


class DifferenceKind(StrEnum):
    COUNT = "count"  # the same money in another number of transactions
    AMOUNT = "amount"  # the same number, other money
    MISSING_RECORD = "missing_record"  # the terminal counted what it never uploaded
    DUPLICATE = "duplicate"  # one is recorded twice
    NOT_COUNTED = "not_counted"  # recorded, but not among what the terminal settled
    LATE = "late"  # it happened after its batch was closed
    FOREIGN_CURRENCY = "foreign_currency"  # money in a currency that was not settled
    HOST = "host"  # the host did not accept the batch
    HOST_TOTALS = "host_totals"  # the host counted other than the terminal
    INCOMPLETE = "incomplete"  # the terminal says that its upload is not complete
    UNCLOSED_BATCH = "unclosed_batch"  # money in a batch that a newer one has followed
    NOT_SETTLED = "not_settled"  # its settlement failed in the end
    UNKNOWN_TERMINAL = "unknown_terminal"  # credited for a terminal that nobody knows
    CREDITED_SHORT = "credited_short"
    CREDITED_OVER = "credited_over"
    CREDITED_TWICE = "credited_twice"
    OTHER_ACCOUNT = "other_account"  # credited to an account that is not on file
    NOT_CREDITED = "not_credited"  # not by its value date
    VELOCITY = "velocity"  # many sales within minutes
    REFUND_SHARE = "refund_share"
    OFF_HOURS = "off_hours"
    UNUSUAL_AMOUNT = "unusual_amount"
    REPEATED_CARD = "repeated_card"
    ROUND_AMOUNTS = "round_amounts"
    MOVED = "moved"  # closed where the terminal never was


class Line(NamedTuple):
    """One line of a batch, in both of its sides; amounts in minor units."""

    currency: str
    method: str
    scheme: str
    kind: str
    reported_count: int = 0
    reported_minor: int = 0
    recorded_count: int = 0
    recorded_minor: int = 0

    @property
    def differs(self) -> bool:
        return (self.reported_count, self.reported_minor) != (self.recorded_count, self.recorded_minor)

    @property
    def reported_net(self) -> int:
        return SIGNS[self.kind] * self.reported_minor

    @property
    def recorded_net(self) -> int:
        return SIGNS[self.kind] * self.recorded_minor

    @property
    def difference_net(self) -> int:
        """Reported less recorded, as it changes the net amount."""
        return self.reported_net - self.recorded_net


class Net(NamedTuple):
    """What the lines of one currency add up to: sales less refunds, voids and reversals, in minor units."""

    currency: str
    reported_minor: int
    recorded_minor: int

    @property
    def difference_minor(self) -> int:
        return self.reported_minor - self.recorded_minor


def nets_of(lines: Iterable[Line]) -> list[Net]:
    """Return what a batch's lines add up to, a currency each."""
    sums: dict[str, Net] = {}
    for line in lines:
        _currency, reported, recorded = sums.get(line.currency, Net(line.currency, 0, 0))
        sums[line.currency] = Net(line.currency, reported + line.reported_net, recorded + line.recorded_net)
    return [sums[currency] for currency in sorted(sums)]


def differing(lines: Iterable[Line]) -> list[Line]:
    """Return the lines that do not agree, in a steady order. A difference of zero is one, too, where counts differ."""
    return sorted(line for line in lines if line.differs)


class Recorded(NamedTuple):
    """A recorded transaction, as far as it may be suspected."""

    id: int
    amount_minor: int
    occurred_at: datetime
    card: str = ""  # its token or last four digits
    reference: str = ""  # RRN, else STAN, else approval code
    sequence: int = 0


class Finding(NamedTuple):
    """What is wrong with a line: its kind, how many transactions and how much (reported less recorded), the ids of the recorded
    transactions that are suspected, and the sequence numbers of those that never came."""

    kind: DifferenceKind
    number: int
    amount_minor: int
    suspects: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()


def judge(
    line: Line, recorded: Sequence[Recorded], missing: Sequence[int] = (), closed_at: datetime | None = None
) -> Finding:
    """Return what is wrong with a line that differs, by its recorded transactions and the numbers that never came."""
    count = line.reported_count - line.recorded_count
    amount = line.reported_minor - line.recorded_minor
    if count > 0:
        return Finding(DifferenceKind.MISSING_RECORD, count, amount, missing=tuple(missing[:MOST_SUSPECTS]))
    if count == 0:
        return Finding(DifferenceKind.AMOUNT, 0, amount)
    late = [one for one in recorded if closed_at is not None and one.occurred_at > closed_at]
    if late and _explains(late, count, amount):
        return Finding(DifferenceKind.LATE, count, amount, tuple(one.id for one in late[:MOST_SUSPECTS]))
    doubles = _doubles(recorded)
    if doubles and _explains(doubles, count, amount):
        return Finding(DifferenceKind.DUPLICATE, count, amount, tuple(one.id for one in doubles[:MOST_SUSPECTS]))
    if amount == 0:
        return Finding(DifferenceKind.COUNT, count, 0, tuple(one.id for one in doubles[:MOST_SUSPECTS]))
    together = adding_up(recorded, -count, -amount)
    return Finding(DifferenceKind.NOT_COUNTED, count, amount, tuple(one.id for one in together[:MOST_SUSPECTS]))


def _explains(suspects: Sequence[Recorded], count: int, amount: int) -> bool:
    return len(suspects) == -count and sum(one.amount_minor for one in suspects) == -amount


def _doubles(recorded: Iterable[Recorded]) -> list[Recorded]:
    """Return those that repeat an earlier one: the same amount, card and reference within a while."""
    seen: dict[tuple[int, str, str], datetime] = {}
    found = []
    for one in sorted(recorded, key=lambda r: (r.occurred_at, r.id)):
        key = (one.amount_minor, one.card, one.reference)
        if key in seen and one.occurred_at - seen[key] <= DOUBLE_WITHIN:
            found.append(one)
        seen[key] = one.occurred_at
    return found


def adding_up(recorded: Sequence[Recorded], count: int, amount: int) -> list[Recorded]:
    """Return transactions, just so many, that together make an amount; the first such. Nothing where it would be a guess among
    too many."""
    if not 0 < count <= MOST_COMBINED or len(recorded) > MOST_LOOKED_AT * (1 if count > 1 else 100):
        return []
    for some in combinations(recorded, count):
        if sum(one.amount_minor for one in some) == amount:
            return list(some)
    return []
