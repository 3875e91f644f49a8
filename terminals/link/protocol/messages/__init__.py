"""Messages of the device protocol v1: bytes -> typed structs, and nothing else.

Every message is an envelope of UTF-8 JSON, at most 64 KiB. Amounts are integers in the currency's minor unit, instants
are RFC 3339 with an offset, ids are UUIDv7. Unknown members are ignored, so that a newer terminal can speak to an
older server; unknown types are refused. Each feature declares its messages in a module of its own.
"""

from typing import Any, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from terminals.common.card_data import has_card_data, strings_with_card_data
from terminals.common.errors import Refusal
from terminals.link.protocol.messages import enrolment, health, keys, link, parameters, settlement, software
from terminals.link.protocol.messages.base import MAX_BYTES, CommandType, Envelope, Inbound

INBOUND: dict[str, Inbound] = {
    declared.name: declared for module in (link, health, settlement, enrolment) for declared in module.INBOUND
}
COMMANDS: dict[str, CommandType] = {
    declared.name: declared
    for module in (software, keys, settlement, parameters, enrolment, link)
    for declared in module.COMMANDS
}

_decode_envelope = msgspec.json.Decoder(Envelope).decode
_body_decoders = {name: msgspec.json.Decoder(declared.body).decode for name, declared in INBOUND.items()}
# A channel with one type is decoded in one go; the envelope alone comes first only where it must tell the type.
_by_channel = {
    declared.channel: (
        name,
        msgspec.json.Decoder(
            msgspec.defstruct(f"{name}Envelope", [("body", declared.body)], bases=(Envelope,), kw_only=True)
        ).decode,
    )
    for name, declared in INBOUND.items()
    if declared.channel != "event"
}
encode = msgspec.json.encode
# What hostile JSON can raise in a decoder: no UTF-8, no JSON, 5,000 digits, a depth of 20,000.
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
# What tells of payments or has room for words; a hello tells a serial, and an IMEI passes the check of card numbers.
FREE_TEXT = ("event", "result")
CARD_DATA = Refusal("card_data", "it holds what looks like a full card number or a track; nothing of it was kept")


def parse(payload: bytes, channel: str) -> tuple[Envelope, Struct]:
    """Decode a message that arrived on `channel`; raise Refusal with the reason where it does not fit the protocol."""
    if len(payload) > MAX_BYTES:
        raise Refusal("oversize", "%(size)s bytes; the limit is %(limit)s", size=len(payload), limit=MAX_BYTES)
    if b"\\u0000" in payload:
        raise Refusal("malformed", "the character U+0000 is not allowed")  # PostgreSQL's text cannot hold it
    if channel in FREE_TEXT and has_card_data(payload) and _tells_card_data(payload):
        raise CARD_DATA.again()
    if channel in _by_channel:
        name, decode = _by_channel[channel]
        try:
            message = cast(Any, decode(payload))
        except UNREADABLE:
            pass  # the long way below finds out what is wrong
        else:
            if message.type == name and _is_uuid7(message.id):
                return message, message.body
    envelope = _checked_envelope(payload, channel)
    try:
        return envelope, _body_decoders[envelope.type](envelope.body)
    except UNREADABLE as error:
        raise Refusal("malformed", "body: %(error)s", error=error) from None


def _tells_card_data(payload: bytes) -> bool:
    """Whether a text in its body has card data; what is no JSON is refused for that, and not kept either (dead_letters). The
    envelope passes: a boot id may be an instant, which looks like a card number now and then."""
    try:
        message = msgspec.json.decode(payload)
        return isinstance(message, dict) and strings_with_card_data(message.get("body"))
    except UNREADABLE:
        return False


def _checked_envelope(payload: bytes, channel: str) -> Envelope:
    try:
        envelope = _decode_envelope(payload)
    except UNREADABLE as error:
        raise Refusal("malformed", "envelope: %(error)s", error=error) from None
    kind, expected = repr(envelope.type), INBOUND.get(envelope.type)
    if expected is None:
        raise Refusal("unknown_type", "type %(type)s is not one of %(known)s", type=kind, known=", ".join(INBOUND))
    if (right := expected.channel) != channel:
        told = "type %(type)s belongs on %(right)s, not on %(wrong)s"
        raise Refusal("wrong_channel", told, type=kind, right=right, wrong=channel)
    if not _is_uuid7(envelope.id):
        raise Refusal("malformed", "envelope: id must be a UUIDv7")
    return envelope


def _is_uuid7(value: UUID) -> bool:
    return value.int >> 76 & 0xF == 7
