"""Transactions, and how a batch is settled."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

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


MOST_CURRENCIES = 4  # of one upload: a shop takes one or two


class TransactionRecord(Struct):
    """One approved transaction. Never a card number: at most its last four digits."""

    id: UUID
    kind: Literal["sale", "refund"]
    method: Method
    amount_minor: Annotated[int, Meta(ge=1, le=10**12)]
    currency: Currency
    occurred_at: Instant
    approval_code: Annotated[str, Meta(max_length=12, pattern=whole("[A-Z0-9]*"))] = ""
    card_last4: Annotated[str, Meta(max_length=4, pattern=whole("[0-9]*"))] = ""

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


class MethodTotal(Struct):
    """A batch's totals for one payment method."""

    method: Method
    sale_count: Count
    sale_minor: Minor
    refund_count: Count
    refund_minor: Minor


class Settlement(Struct):
    """Critical event: a batch was closed with the host; `host_response` is its DE39 (`00` balanced, `95` not)."""

    batch_number: BatchNumber
    closed_at: Instant
    currency: Currency
    totals: Annotated[list[MethodTotal], Meta(max_length=10)]
    host_response: Annotated[str, Meta(pattern=whole("[0-9A-Z]{2}"))] = "00"
    command_id: UUID | None = None

    def __post_init__(self) -> None:
        plausible(self.closed_at)


class Settle(Struct):
    """Upload what is not yet uploaded, close the open batch with the host and send a `settlement` event."""

    reason: Literal["cycle", "threshold", "operator"]


_TOTAL = MethodTotal("card", sale_count=2, sale_minor=4890, refund_count=1, refund_minor=500)
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
            totals=[_TOTAL],
            host_response="00",
            command_id=COMMAND_ID,
        ),
    ),
)
COMMANDS = (CommandType("settle", Settle("cycle")),)
