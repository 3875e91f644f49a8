"""Messages: what fits the protocol is parsed, everything else is refused with the reason."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import uuid_utils.compat
from hypothesis import given
from hypothesis import strategies as st

from terminals.common.errors import Refusal
from terminals.link.protocol.documents import BODIES
from terminals.link.protocol.messages import parse
from terminals.link.protocol.messages.health import Health
from terminals.link.protocol.topics import parse_inbound

BODY: dict[str, Any] = {
    "network": {"kind": "wifi", "rssi_dbm": -60, "latency_ms": 12},
    "printer": "ok",
    "screen": "ok",
    "keypad": "ok",
    "card_reader": "ok",
    "storage_free_mb": 100,
    "tamper": False,
    "software": {"payment": "1.0"},
    "unsettled": {"currency": "EUR", "amount_minor": 5, "count": 1},
}


def payload(*, body: dict[str, Any] | None = None, **changes: Any) -> bytes:
    envelope = {
        "id": str(uuid_utils.compat.uuid7()),
        "type": "health",
        "sent_at": "2026-01-01T00:00:00Z",
        "boot_id": "b",
        "seq": 1,
        "body": BODY | (body or {}),
    }
    return json.dumps(envelope | changes).encode()


def test_a_report_is_parsed_into_its_type() -> None:
    envelope, body = parse(payload(), "health")
    assert (envelope.type, envelope.seq) == ("health", 1)
    assert isinstance(body, Health)
    assert (body.network.rssi_dbm, body.unsettled.amount_minor) == (-60, 5)


def test_members_of_a_newer_protocol_are_ignored() -> None:
    envelope, _ = parse(payload(body={"fan": "ok"}, colour="blue"), "health")
    assert envelope.type == "health"


@pytest.mark.parametrize(
    ("bad", "channel", "reason", "detail"),
    [
        (b"", "health", "malformed", "envelope"),
        (b"\xff\xfe", "health", "malformed", "envelope"),
        (b"[]", "health", "malformed", "envelope"),
        (b"null", "event", "malformed", "envelope"),
        (b"[" * 60_000, "health", "malformed", "envelope"),
        (b" " * 70_000, "health", "oversize", "the limit is 65536"),
        (payload(type="weather"), "health", "unknown_type", "is not one of hello, result"),
        (payload(type="hello"), "health", "wrong_channel", "belongs on hello"),
        (payload(), "event", "wrong_channel", "belongs on health"),
        (payload(id="6f2b0c2e-7e7f-4d0b-9d5e-0b1c2d3e4f50"), "health", "malformed", "UUIDv7"),
        (payload(id="7"), "health", "malformed", "id"),
        (payload(sent_at="2026-01-01T00:00:00"), "health", "malformed", "sent_at"),
        (payload(sent_at="yesterday"), "health", "malformed", "sent_at"),
        (payload(seq=-1), "health", "malformed", "seq"),
        (payload(seq=2**60), "health", "malformed", "seq"),
        (payload(boot_id=""), "health", "malformed", "boot_id"),
        (payload(boot_id="a\0b"), "health", "malformed", "U+0000"),
        (payload(body={"printer": "on fire"}), "health", "malformed", "printer"),
        (payload(body={"network": None}), "health", "malformed", "network"),
        (payload(body={"battery": {"percent": 101, "charging": False}}), "health", "malformed", "percent"),
        (
            payload(body={"unsettled": {"currency": "eur", "amount_minor": 5, "count": 1}}),
            "health",
            "malformed",
            "currency",
        ),
        (
            payload(body={"unsettled": {"currency": "EUR", "amount_minor": 5.5, "count": 1}}),
            "health",
            "malformed",
            "amount",
        ),
        (payload(body={"software": {str(n): "1" for n in range(33)}}), "health", "malformed", "software"),
        (payload(body={"storage_free_mb": 10**40}), "health", "malformed", ""),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(bad: bytes, channel: str, reason: str, detail: str) -> None:
    with pytest.raises(Refusal) as refusal:
        parse(bad, channel)
    assert refusal.value.reason == reason
    assert detail in refusal.value.detail


@given(st.binary(max_size=200), st.sampled_from(["hello", "health", "result", "event", "presence"]))
def test_no_bytes_lead_to_anything_but_a_refusal(junk: bytes, channel: str) -> None:
    with pytest.raises(Refusal):
        parse(junk, channel)


@pytest.mark.parametrize(
    ("topic", "device_id", "channel"),
    [
        ("tw/v1/13/SN-1/up/health", "SN-1", "health"),
        ("tw/v1/13/SN-1/presence", "SN-1", "presence"),
        ("tw/v1/13/SN-1/up/gossip", None, None),
        ("tw/v1/13/SN-1/dn/command", None, None),
        ("tw/v1/13/sn-1/up/health", None, None),
        ("tw/v1/13/SN-1/up/health\n", None, None),
        ("tw/v1/00//up/health", None, None),
        ("tw/v1/14/SN-1/up/health", None, None),  # not its shard
        ("tw/v1/SN-1/up/health", None, None),
        ("tw/v2/13/SN-1/up/health", None, None),
        ("x/tw/v1/13/SN-1/up/health", None, None),
    ],
)
def test_a_topic_names_the_device_and_the_channel(topic: str, device_id: str | None, channel: str | None) -> None:
    inbound = parse_inbound(topic)
    assert (inbound and inbound.device_id, inbound and inbound.channel) == (device_id, channel)


def patterned(schema: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield (where, pattern) of every member that has one."""
    for name, member in (
        schema.items() if isinstance(schema, dict) else enumerate(schema if isinstance(schema, list) else ())
    ):
        if name == "pattern" and isinstance(member, str):
            yield where, member
        yield from patterned(member, f"{where}/{name}")


def test_no_pattern_lets_a_newline_pass_at_the_end() -> None:
    found = [one for name in BODIES for one in patterned(msgspec.json.schema(BODIES[name]), name)]
    assert len(found) > 8
    accepted = {
        (where, text)
        for where, pattern in found
        for text in ("EUR", "0A1B2C", "00", "4242", "de", "a" * 64)
        if re.search(pattern, text) and re.search(pattern, text + "\n")
    }
    assert accepted == set()


def test_a_currency_with_a_newline_is_malformed() -> None:
    with pytest.raises(Refusal, match=r"unsettled\.currency"):
        parse(payload(body={"unsettled": {"currency": "EUR\n", "amount_minor": 5, "count": 1}}), "health")
