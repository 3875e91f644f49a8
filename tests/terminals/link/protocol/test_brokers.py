"""Addresses of brokers: one node or a cluster's."""

import pytest

from terminals.link.protocol.brokers import Brokers, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://127.0.0.1", Brokers("mqtt", (("127.0.0.1", 1883),))),
        ("mqtts://one", Brokers("mqtts", (("one", 8883),))),
        ("mqtts://a:1,b,[::1]:3/", Brokers("mqtts", (("a", 1), ("b", 8883), ("::1", 3)))),
        ("mqtt://u%40x:p%2Fw@one:1884", Brokers("mqtt", (("one", 1884),), "u@x", "p/w")),
    ],
)
def test_an_address_is_read(url: str, expected: Brokers) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    "url", ["one:1883", "http://one", "mqtt://", "mqtt://a,,b", "mqtt://a:x", "mqtt://a/topic", "mqtt://a:70000"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(url)


def test_what_terminals_are_told_holds_no_password() -> None:
    assert parse("mqtts://u:secret@a,[::1]:3").urls == ["mqtts://a:8883", "mqtts://[::1]:3"]
