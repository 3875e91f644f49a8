"""Transactions, and how a batch is settled. The words follow ISO 20022 (catm.003, caaa.009/010) and ISO 8583."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from terminals.common.patterns import whole
from terminals.link.protocol.messages.base import (
    COMMAND_ID,
    NOW,
    BatchNumber,
    CommandType,
    Count,
    Currency,
    Inbound,
    Instant,
    Minor,
    plausible,
)

Method = Literal["card", "qr"]
# ISO 20022's totals: sale DEBT, refund and credit CRDT, void and reversal DBTR, declined DECL.
Kind = Literal["sale", "refund", "credit", "void", "reversal", "declined"]
Scheme = Annotated[
    str,
    Meta(
        max_length=20,
        pattern=whole("[a-z0-9_]*"),
        description="card scheme or wallet, e.g. visa, unionpay, alipay, wechat_pay; empty where it is not known",
    ),
]
Sequence = Annotated[
    int, Meta(ge=0, le=999_999, description="number in its batch, from 1; 0 where the terminal does not number")
]

MOST_CURRENCIES = 4  # of one upload: a shop takes one or two
MOST_ASKED = 500  # sequence numbers in one command


class TransactionRecord(Struct):
    """One transaction. Never a card number: at most its last four digits, and a token that stands for it."""

    id: UUID
    kind: Kind
    method: Method
    amount_minor: Annotated[int, Meta(ge=1, le=10**12)]
    currency: Currency
    occurred_at: Instant
    approval_code: Annotated[str, Meta(max_length=12, pattern=whole("[A-Z0-9]*"))] = ""
    card_last4: Annotated[str, Meta(max_length=4, pattern=whole("[0-9]*"))] = ""
    scheme: Scheme = ""
    sequence: Sequence = 0
    stan: Annotated[str, Meta(pattern=whole("([0-9]{6})?"), description="ISO 8583 DE11")] = ""
    rrn: Annotated[str, Meta(pattern=whole("([A-Z0-9]{12})?"), description="ISO 8583 DE37")] = ""
    card_token: Annotated[
        str,
        Meta(max_length=64, pattern=whole("[A-Za-z0-9_-]*"), description="the same for the same card; no card number"),
    ] = ""

    def __post_init__(self) -> None:
        plausible(self.occurred_at)


class Transactions(Struct):
    """Critical event: transactions of one batch, in the order in which they happened."""

    batch_number: BatchNumber
    records: Annotated[list[TransactionRecord], Meta(min_length=1, max_length=150)]

    def __post_init__(self) -> None:
        """Each currency is a sum of its own for ever after."""
        if len({record.currency for record in self.records}) > MOST_CURRENCIES:
            raise ValueError(f"more than {MOST_CURRENCIES} currencies in one message")


class Total(Struct):
    """What a batch holds of one method, scheme, kind and currency."""

    method: Method
    kind: Kind
    currency: Currency
    count: Count
    amount_minor: Minor
    scheme: Scheme = ""

    @property
    def line(self) -> tuple[str, str, str, str]:
        return self.currency, self.method, self.scheme, self.kind


class Settlement(Struct):
    """Critical event: a batch was closed with the host; `host_response` is its DE39 (`00` balanced, `95` not).

    `currency` is the batch's main one. `host_fields` are data elements of the host's answer that the acquirer's dialect
    reads (DE48, DE63). `transaction_count` counts whatever bears a sequence number; with `upload_complete` all of it was sent.
    `place` is the serving cell (MCC-MNC-LAC-CI) or the access point at which it was closed.
    """

    batch_number: BatchNumber
    closed_at: Instant
    currency: Currency
    totals: Annotated[list[Total], Meta(max_length=100)]
    host_response: Annotated[str, Meta(pattern=whole("[0-9A-Z]{2}"))] = "00"
    command_id: UUID | None = None
    opened_at: Instant | None = None
    transaction_count: Count | None = None
    upload_complete: bool = True
    place: Annotated[str, Meta(max_length=64)] = ""
    host_fields: Annotated[
        dict[Annotated[str, Meta(pattern=whole("[0-9]{1,3}"))], Annotated[str, Meta(max_length=200)]],
        Meta(max_length=8),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plausible(self.closed_at)
        if self.opened_at is not None:
            plausible(self.opened_at)
        if len({total.line for total in self.totals}) < len(self.totals):
            raise ValueError("a method, scheme, kind and currency is told twice")
        if len({total.currency for total in self.totals} | {self.currency}) > MOST_CURRENCIES:
            raise ValueError(f"more than {MOST_CURRENCIES} currencies in one message")


class Settle(Struct):
    """Upload what is not yet uploaded, close the open batch with the host and send a `settlement` event."""

    reason: Literal["cycle", "threshold", "count", "operator"]


class UploadTransactions(Struct):
    """Send these transactions of a batch again: the server lacks them. The terminal keeps them until its batch is settled and
    three more are; no sequences: all of the batch."""

    batch_number: BatchNumber
    sequences: Annotated[list[Sequence], Meta(max_length=MOST_ASKED)]


_TOTALS = [
    Total("card", "sale", "EUR", count=2, amount_minor=4890, scheme="visa"),
    Total("card", "refund", "EUR", count=1, amount_minor=500, scheme="visa"),
    Total("qr", "sale", "EUR", count=1, amount_minor=1234, scheme="alipay"),
]
INBOUND = (
    Inbound(
        "transactions",
        "event",
        True,
        Transactions(
            batch_number=118,
            records=[
                TransactionRecord(
                    id=UUID("0195531b-9c40-7d66-8e7f-90a1b2c3d4e5"),
                    kind="sale",
                    method="card",
                    amount_minor=2390,
                    currency="EUR",
                    occurred_at=NOW,
                    approval_code="048213",
                    card_last4="4242",
                    scheme="visa",
                    sequence=1,
                    stan="000731",
                    rrn="606120000731",
                )
            ],
        ),
    ),
    Inbound(
        "settlement",
        "event",
        True,
        Settlement(
            batch_number=118,
            closed_at=NOW,
            currency="EUR",
            totals=_TOTALS,
            host_response="00",
            command_id=COMMAND_ID,
            transaction_count=4,
        ),
    ),
)
COMMANDS = (
    CommandType("settle", Settle("cycle")),
    CommandType("upload_transactions", UploadTransactions(118, sequences=[3])),
)
