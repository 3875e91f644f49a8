"""Messages of the device protocol v1: bytes -> typed structs, and nothing else.

Every message is an envelope of UTF-8 JSON, at most 64 KiB. Amounts are integers in the currency's minor unit, instants
are RFC 3339 with an offset, ids are UUIDv7. Unknown members are ignored, so that a newer terminal can speak to an
older server; unknown types are refused.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from terminals.common.errors import Refusal

MAX_BYTES = 64 * 1024

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217 code")]
Minor = Annotated[int, Meta(ge=0, le=10**15, description="amount in the currency's minor unit")]
Count = Annotated[int, Meta(ge=0, le=10**9)]
BatchNumber = Annotated[int, Meta(ge=1, le=999_999, description="six digits, ISO 8583 DE60")]
Percent = Annotated[int, Meta(ge=0, le=100)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=300)]
Kcv = Annotated[str, Meta(pattern="^[0-9A-F]{6,10}$", description="key check value, 3 to 5 bytes in hex")]
Method = Literal["card", "qr"]
Part = Literal["ok", "warning", "fault", "absent"]
PrinterState = Literal["ok", "paper_low", "out_of_paper", "fault", "absent"]


def _plausible(instant: datetime) -> None:
    """Raise ValueError for an instant that a database or a page could not show."""
    if not 1970 <= instant.year <= 2100:
        raise ValueError(f"the year {instant.year} is not one from 1970 to 2100")


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
        _plausible(self.sent_at)


# --- from the terminal -----------------------------------------------------------------------------------------------
class Money(Struct):
    """Sales less refunds of the open batch, not yet settled."""

    currency: Currency
    amount_minor: Annotated[int, Meta(ge=-(10**15), le=10**15)]
    count: Count


class HeldKey(Struct):
    """A working key that the terminal holds, by id and check value; never the key."""

    key_id: UUID
    usage: Word
    kcv: Kcv


class Hello(Struct):
    """Sent on every connect, signed: what the terminal is and has."""

    serial: Word
    software: Annotated[dict[Word, Word], Meta(max_length=32, description="component -> version")]
    parameters_version: Count = 0
    keys: Annotated[list[HeldKey], Meta(max_length=50)] = []
    batch_number: BatchNumber | None = None


class Network(Struct):
    kind: Literal["ethernet", "wifi", "cellular"]
    rssi_dbm: Annotated[int, Meta(ge=-150, le=0)] | None = None
    latency_ms: Annotated[int, Meta(ge=0, le=600_000)] | None = None


class Battery(Struct):
    percent: Percent
    charging: bool


class Health(Struct):
    """Telemetry, every `health_interval_seconds`; not signed, not acknowledged by the server."""

    network: Network
    printer: PrinterState
    screen: Part
    keypad: Part
    card_reader: Part
    storage_free_mb: Count
    tamper: bool
    software: Annotated[dict[Word, Word], Meta(max_length=32)]
    unsettled: Money
    battery: Battery | None = None


class Result(Struct):
    """Progress and outcome of a command, signed. `accepted` and `running` may be lost; the last word is repeated."""

    command_id: UUID
    state: Literal["accepted", "running", "succeeded", "failed", "rejected"]
    percent: Percent | None = None
    code: Word | None = None
    detail: Text | None = None
    retryable: bool = False
    kcv: Kcv | None = None
    version: Word | None = None
    batch_number: BatchNumber | None = None


class TransactionRecord(Struct):
    """One approved transaction. Never a card number: at most its last four digits."""

    id: UUID
    kind: Literal["sale", "refund"]
    method: Method
    amount_minor: Annotated[int, Meta(ge=1, le=10**12)]
    currency: Currency
    occurred_at: Instant
    approval_code: Annotated[str, Meta(max_length=12, pattern="^[A-Z0-9]*$")] = ""
    card_last4: Annotated[str, Meta(max_length=4, pattern="^[0-9]*$")] = ""

    def __post_init__(self) -> None:
        _plausible(self.occurred_at)


class Transactions(Struct):
    """Critical event: transactions of one batch, in the order in which they happened."""

    batch_number: BatchNumber
    records: Annotated[list[TransactionRecord], Meta(min_length=1, max_length=150)]


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
    host_response: Annotated[str, Meta(pattern="^[0-9A-Z]{2}$")] = "00"
    command_id: UUID | None = None

    def __post_init__(self) -> None:
        _plausible(self.closed_at)


class Tamper(Struct):
    """Critical event: a tamper switch or sensor fired, or was cleared by the maker's service."""

    active: bool
    occurred_at: Instant
    detail: Text = ""

    def __post_init__(self) -> None:
        _plausible(self.occurred_at)


class Presence(Struct):
    """Retained, and the last will: `offline` counts only for the boot that the terminal is in."""

    state: Literal["online", "offline"]


# --- to the terminal -------------------------------------------------------------------------------------------------
class Install(Struct):
    """Download, verify and install a release. `manifest` is a compact JWS over {package, version, platform, size, sha256}."""

    release_id: int
    package: Word
    version: Word
    url: Annotated[str, Meta(max_length=500)]
    size_bytes: Count
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    manifest: Annotated[str, Meta(max_length=4096)]


class DeliverKey(Struct):
    """Load a working key: a TR-31 version D key block under the key that enrolment established. Answer with its KCV."""

    key_id: UUID
    usage: Word
    key_block: Annotated[str, Meta(max_length=1024, pattern="^[0-9A-Z]+$")]


class Settle(Struct):
    """Upload what is not yet uploaded, close the open batch with the host and send a `settlement` event."""

    reason: Literal["cycle", "threshold", "operator"]


class Configure(Struct):
    """Replace the terminal's parameters by this document."""

    name: Word
    version: Count
    parameters: dict[str, Any]


class Empty(Struct):
    """No members: the command's type says it all."""


class CommandEnvelope(Struct, kw_only=True, omit_defaults=True):
    """What wraps every message to a terminal. `device_id` is signed: a command for another terminal must be refused."""

    id: UUID
    type: Word
    device_id: Word
    sent_at: Instant
    body: Raw
    not_before: Instant | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET
    sig: str | UnsetType = UNSET


class Ack(Struct):
    """The server has committed these critical events; the terminal may forget them."""

    ids: Annotated[list[UUID], Meta(min_length=1, max_length=1000)]


Body = Hello | Health | Result | Transactions | Settlement | Tamper | Presence

# type -> (channel it arrives on, its body, whether it must be signed)
INBOUND: dict[str, tuple[str, type[Struct], bool]] = {
    "hello": ("hello", Hello, True),
    "health": ("health", Health, False),
    "result": ("result", Result, True),
    "transactions": ("event", Transactions, True),
    "settlement": ("event", Settlement, True),
    "tamper": ("event", Tamper, True),
    "presence": ("presence", Presence, False),
}
COMMANDS: dict[str, type[Struct]] = {
    "install": Install,
    "deliver_key": DeliverKey,
    "settle": Settle,
    "configure": Configure,
    "reboot": Empty,
    "lock": Empty,
    "unlock": Empty,
    "ping": Empty,
}

_decode_envelope = msgspec.json.Decoder(Envelope).decode
_body_decoders = {name: msgspec.json.Decoder(body).decode for name, (_, body, _) in INBOUND.items()}
# A channel with one type is decoded in one go; the envelope alone comes first only where it must tell the type.
_by_channel = {
    channel: (
        name,
        msgspec.json.Decoder(
            msgspec.defstruct(f"{name}Envelope", [("body", body)], bases=(Envelope,), kw_only=True)
        ).decode,
    )
    for name, (channel, body, _) in INBOUND.items()
    if channel != "event"
}
encode = msgspec.json.encode
# What hostile JSON can raise in a decoder: no UTF-8, no JSON, 5,000 digits, a depth of 20,000.
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


def parse(payload: bytes, channel: str) -> tuple[Envelope, Body]:
    """Decode a message that arrived on `channel`; raise Refusal with the reason where it does not fit the protocol."""
    if len(payload) > MAX_BYTES:
        raise Refusal("oversize", f"{len(payload)} bytes; the limit is {MAX_BYTES}")
    if b"\\u0000" in payload:
        raise Refusal("malformed", "the character U+0000 is not allowed")  # PostgreSQL's text cannot hold it
    if channel in _by_channel:
        name, decode = _by_channel[channel]
        try:
            message = cast(Any, decode(payload))
        except UNREADABLE:
            pass  # the long way below finds out what is wrong
        else:
            if message.type == name and _is_uuid7(message.id):
                return message, message.body
    try:
        envelope = _decode_envelope(payload)
    except UNREADABLE as error:
        raise Refusal("malformed", f"envelope: {error}") from None
    expected = INBOUND.get(envelope.type)
    if expected is None:
        raise Refusal("unknown_type", f"type {envelope.type!r} is not one of {', '.join(INBOUND)}")
    if expected[0] != channel:
        raise Refusal("wrong_channel", f"type {envelope.type!r} belongs on {expected[0]}, not on {channel}")
    if not _is_uuid7(envelope.id):
        raise Refusal("malformed", "envelope: id must be a UUIDv7")
    try:
        return envelope, cast(Body, _body_decoders[envelope.type](envelope.body))
    except UNREADABLE as error:
        raise Refusal("malformed", f"body: {error}") from None


def _is_uuid7(value: UUID) -> bool:
    return value.int >> 76 & 0xF == 7
