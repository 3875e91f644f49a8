"""The estate's rules, pure: which state a terminal may move to, and what an identifier looks like."""

import re
from collections.abc import Sequence
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition

DEVICE_ID = re.compile(r"[A-Z0-9-]{4,32}")
SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,31}")


ORGANISATION_KINDS = ("processor", "acquirer", "reseller")


class TerminalState(StrEnum):
    REGISTERED = "registered"
    ENROLLED = "enrolled"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"


_T = TerminalState


class TerminalTransition(Machine):
    enrol = Transition((_T.REGISTERED, _T.ENROLLED, _T.ACTIVE), _T.ENROLLED)
    activate = Transition((_T.ENROLLED,), _T.ACTIVE)
    suspend = Transition((_T.ENROLLED, _T.ACTIVE), _T.SUSPENDED)
    resume = Transition((_T.SUSPENDED,), _T.ACTIVE)
    retire = Transition((_T.REGISTERED, _T.ENROLLED, _T.ACTIVE, _T.SUSPENDED), _T.RETIRED)


# States in which a terminal's messages are heard and commands may be made for it.
LINKED_STATES = (_T.ENROLLED.value, _T.ACTIVE.value, _T.SUSPENDED.value)
COMMANDED_STATES = (_T.ENROLLED.value, _T.ACTIVE.value)


class ImpossibleTransition(Refusal):
    """The object is not in a state that the named transition leaves."""


def device_id_for(serial: str) -> str:
    """Derive the protocol's device id (`[A-Z0-9-]{4,32}`) from a serial number; raise Refusal where none fits."""
    device_id = re.sub(r"[^A-Z0-9-]", "-", serial.upper())
    if not SERIAL.fullmatch(serial) or not DEVICE_ID.fullmatch(device_id):
        raise Refusal(
            "bad_serial",
            "%(serial)s is no serial: use 4 to 32 letters, digits, '-', '.' or '_', a letter or digit first",
            serial=repr(serial),
        )
    return device_id


def check_identifier(value: str) -> str:
    """Return a TID or MID as it is; raise Refusal for what no acquirer's message could hold (ISO 8583 DE41, DE42)."""
    if not re.fullmatch(r"[A-Za-z0-9]*", value):
        raise Refusal("bad_identifier", "%(value)s: a TID or MID has only letters and digits", value=repr(value))
    return value


def check_terminal(serial: str, tid: str, mid: str) -> None:
    """Raise Refusal where a terminal could not have these."""
    device_id_for(serial)
    check_tid(tid)
    check_mid(mid)


def check_tid(tid: str) -> None:
    check_identifier(tid)
    if len(tid) > 8:
        raise Refusal("bad_identifier", "a TID has at most 8 characters, a MID 15")


def check_mid(mid: str) -> None:
    check_identifier(mid)
    if len(mid) > 15:
        raise Refusal("bad_identifier", "a TID has at most 8 characters, a MID 15")


def check_tags(tags: Sequence[str]) -> None:
    """Raise Refusal where a terminal could not bear these tags."""
    if len(tags) > 50 or not all(0 < len(tag) <= 40 and tag.isprintable() for tag in tags):
        raise Refusal("bad_tag", "at most 50 tags of 1 to 40 printable characters")
    if len(set(tags)) < len(tags):
        raise Refusal("bad_tag", "a tag stands twice")


def check_time_zone(name: str) -> str:
    """Return an IANA zone name as it is; raise Refusal where there is no such zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refusal(
            "unknown_time_zone", "%(name)s is not an IANA time zone; write for example Europe/Berlin", name=repr(name)
        ) from None
    return name
