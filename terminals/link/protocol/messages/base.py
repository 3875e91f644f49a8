"""What every message shares: the envelopes, the words' types, and how a feature declares its messages.

A declaration says everything about a message once; types, validation, documents (JSON Schema, AsyncAPI, the page for
makers) and what may be routed are made from it.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from terminals.common.money import CURRENCIES
from terminals.common.patterns import whole

MAX_BYTES = 64 * 1024
WIDEST_OFFSET = timedelta(hours=15)  # PostgreSQL refuses 16 and more; the widest zone has 14

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset")]
# No other codes: each would be a sum of its own on the pages.
Currency = Annotated[str, Meta(pattern=whole(f"({'|'.join(sorted(CURRENCIES))})"), description="ISO 4217 code")]
Minor = Annotated[int, Meta(ge=0, le=10**15, description="amount in the currency's minor unit")]
Count = Annotated[int, Meta(ge=0, le=10**9)]
BatchNumber = Annotated[int, Meta(ge=1, le=999_999, description="six digits, ISO 8583 DE60")]
Percent = Annotated[int, Meta(ge=0, le=100)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=300)]
Kcv = Annotated[str, Meta(pattern=whole("[0-9A-F]{6,10}"), description="key check value, 3 to 5 bytes in hex")]

# What examples share, so that the documents tell one story.
NOW = datetime(2026, 3, 1, 20, 30, tzinfo=UTC)
EVENT_ID = UUID("0195531e-4a00-7b3c-8d5e-2f60718293a4")
COMMAND_ID = UUID("0195531d-11c8-7e44-9a0b-6c5d4e3f2a1b")
KEY_ID = UUID("0195531c-0a10-7c55-b1d2-3e4f5a6b7c8d")
SOFTWARE = {"payment": "2.1.0", "os": "12.4"}

Channel = Literal["hello", "health", "result", "event", "presence"]


class Inbound(NamedTuple):
    """A message from the terminal: its type's name, the channel it comes on, whether it must be signed, an example."""

    name: str
    channel: Channel
    signed: bool
    example: Struct

    @property
    def body(self) -> type[Struct]:
        return type(self.example)


class CommandType(NamedTuple):
    """A command: its name and an example of its body."""

    name: str
    example: Struct

    @property
    def body(self) -> type[Struct]:
        return type(self.example)


def plausible(instant: datetime) -> None:
    """Raise ValueError for an instant that a database or a page could not show."""
    if not 1970 <= instant.year <= 2100:
        raise ValueError(f"the year {instant.year} is not one from 1970 to 2100")
    if abs(instant.utcoffset() or timedelta()) > WIDEST_OFFSET:
        raise ValueError("an offset of more than 15 hours is no time zone's")


class Envelope(Struct, kw_only=True):
    """What wraps every message from a terminal."""

    id: UUID
    type: Word
    sent_at: Instant
    boot_id: Word
    seq: Annotated[int, Meta(ge=0, le=2**53, description="grows by one with each message of a boot")]
    body: Raw
    sig: Annotated[str, Meta(max_length=1024, description="detached JWS over the envelope without `sig`")] | None = None

    def __post_init__(self) -> None:
        plausible(self.sent_at)


class CommandEnvelope(Struct, kw_only=True, omit_defaults=True):
    """What wraps every message to a terminal. `device_id` is signed: a command for another terminal must be refused."""

    id: UUID
    type: Word
    device_id: Word
    sent_at: Instant
    body: Raw
    not_before: Instant | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET
    traceparent: Annotated[
        str, Meta(max_length=55, description="W3C trace context, for terminals that collect traces")
    ] = ""
    sig: str | UnsetType = UNSET


class Empty(Struct):
    """No members: the command's type says it all."""
