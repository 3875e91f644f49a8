"""MQTT packets in bulk: what is built can be cut again wherever the network divides it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.link.protocol.frames import Malformed, Publish, cut, puback_frames, publish_frames

publishes = st.lists(
    st.builds(Publish, st.integers(1, 65_535), st.binary(max_size=40), st.binary(max_size=20_000)), max_size=8
)


@given(publishes, st.lists(st.integers(1, 65_535), max_size=5), st.integers(0, 200_000))
def test_packets_survive_any_division(messages: list[Publish], acknowledged: list[int], at: int) -> None:
    stream = publish_frames(messages) + puback_frames(acknowledged) + b"\xd0\x00"
    first = cut(stream[:at])
    second = cut(first.rest + stream[at:])
    assert first.publishes + second.publishes == messages
    assert first.acknowledged + second.acknowledged == acknowledged
    assert first.others + second.others == [(0xD0, b"")]
    assert second.rest == b""


def test_a_publish_is_laid_out_as_in_the_standard() -> None:
    assert publish_frames([Publish(10, b"a/b", b"hi")]) == b"\x32\x09\x00\x03a/b\x00\x0ahi"  # MQTT 3.1.1 section 3.3


def test_at_qos_0_there_is_nothing_to_acknowledge() -> None:
    assert cut(b"\x30\x07\x00\x03a/bhi").publishes == [Publish(0, b"a/b", b"hi")]


@pytest.mark.parametrize(
    "chunk", [b"\x32\xff\xff\xff\xff\x01", b"\x32\x01\x00", b"\x32\x03\x00\x09a", b"\x32\x04\x00\x01a\x00"]
)
def test_what_cannot_be_mqtt_is_refused(chunk: bytes) -> None:
    with pytest.raises(Malformed):
        cut(chunk)


@given(st.binary(max_size=300))
def test_no_bytes_lead_astray(chunk: bytes) -> None:
    try:
        found = cut(chunk)
    except Malformed:
        return
    assert len(found.rest) <= len(chunk)
