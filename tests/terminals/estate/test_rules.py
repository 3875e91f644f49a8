"""The estate's rules: how a terminal's state moves, and which serials can be on a topic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.common.errors import Refusal
from terminals.common.states import Transition
from terminals.estate.rules import DEVICE_ID, TerminalState, TerminalTransition, check_time_zone, device_id_for


@pytest.mark.parametrize(
    ("transition", "sources"),
    [
        (TerminalTransition.enrol, ["registered", "enrolled", "active"]),
        (TerminalTransition.activate, ["enrolled"]),
        (TerminalTransition.suspend, ["enrolled", "active"]),
        (TerminalTransition.resume, ["suspended"]),
        (TerminalTransition.retire, ["registered", "enrolled", "active", "suspended"]),
    ],
)
def test_a_transition_leaves_only_its_own_states(transition: Transition[TerminalState], sources: list[str]) -> None:
    assert list(transition.sources) == sources


def test_nothing_leaves_retirement() -> None:
    assert TerminalTransition.leaving("retired") == []


@pytest.mark.parametrize(
    ("serial", "device_id"), [("SN-1", "SN-1"), ("ab.c_9", "AB-C-9"), ("A" * 32, "A" * 32), ("0123", "0123")]
)
def test_a_serial_gives_the_device_id(serial: str, device_id: str) -> None:
    assert device_id_for(serial) == device_id


@pytest.mark.parametrize(
    "serial", ["", "abc", "A" * 33, "a/b/c/d", "a+b+c", "a#bcd", "-abcd", "ÄÖÜß", "ab\0cd", "a bcd"]
)
def test_a_serial_that_cannot_stand_in_a_topic_is_refused(serial: str) -> None:
    with pytest.raises(Refusal, match="is no serial"):
        device_id_for(serial)


@given(st.text(max_size=40))
def test_whatever_is_accepted_is_a_device_id(serial: str) -> None:
    try:
        device_id = device_id_for(serial)
    except Refusal:
        return
    assert DEVICE_ID.fullmatch(device_id)


@pytest.mark.parametrize("name", ["", "Berlin", "../etc/passwd", "Europe/Berlin\0", "/"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="not an IANA time zone"):
        check_time_zone(name)
