"""The estate's rules, pure: which state a terminal may move to, and what an identifier looks like."""

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from terminals.common.errors import Refusal

DEVICE_ID = re.compile(r"[A-Z0-9-]{4,32}")
SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,31}")

# state -> the named transitions that leave it
TRANSITIONS: dict[str, dict[str, str]] = {
    "registered": {"enrol": "enrolled", "retire": "retired"},
    "enrolled": {"activate": "active", "enrol": "enrolled", "suspend": "suspended", "retire": "retired"},
    "active": {"enrol": "enrolled", "suspend": "suspended", "retire": "retired"},
    "suspended": {"resume": "active", "retire": "retired"},
    "retired": {},
}
# States in which a terminal's messages are heard and commands may be made for it.
LINKED_STATES = ("enrolled", "active", "suspended")
COMMANDED_STATES = ("enrolled", "active")


class ImpossibleTransition(Refusal):
    """The object is not in a state that the named transition leaves."""


def source_states(transition: str) -> list[str]:
    """Return the states from which `transition` may start."""
    return [state for state, leaving in TRANSITIONS.items() if transition in leaving]


def target_state(transition: str) -> str:
    return next(leaving[transition] for leaving in TRANSITIONS.values() if transition in leaving)


def device_id_for(serial: str) -> str:
    """Derive the protocol's device id (`[A-Z0-9-]{4,32}`) from a serial number; raise Refusal where none fits."""
    device_id = re.sub(r"[^A-Z0-9-]", "-", serial.upper())
    if not SERIAL.fullmatch(serial) or not DEVICE_ID.fullmatch(device_id):
        raise Refusal(
            "bad_serial",
            f"serial {serial!r} cannot be a device id: use 4 to 32 letters, digits, '-', '.' or '_', letters first",
        )
    return device_id


def check_time_zone(name: str) -> str:
    """Return an IANA zone name as it is; raise Refusal where there is no such zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refusal("unknown_time_zone", f"{name!r} is no IANA time zone; write for example Europe/Berlin") from None
    return name
