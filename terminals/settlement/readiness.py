"""Whether terminals are ready to settle: checks that the rooms bring (fleet/joints.py fills them in), judged by each plan.

A check is asked for many terminals at once and names those that are not ready, with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from terminals.common.errors import Refusal
from terminals.common.facts.kinds import Reason
from terminals.settlement.plans.rules import CHECKS

# Terminal ids -> those that are not ready, and why.
Finder = Callable[[Sequence[int]], Mapping[int, Reason]]


@dataclass
class Readiness:
    """The checks by their names; filled once, at start."""

    finders: dict[str, Finder] = field(default_factory=dict)

    def fill(self, finders: Mapping[str, Finder]) -> None:
        """Take the rooms' checks; raise Refusal unless they are just those that a plan can speak of."""
        if set(finders) != set(CHECKS):
            raise Refusal("bad_checks", "readiness checks are %(known)s", known=", ".join(CHECKS))
        self.finders = dict(finders)


readiness = Readiness()


class Found(NamedTuple):
    """What readiness found at one terminal: reasons as they are stored, each with its `check` and `severity`."""

    is_blocked: bool
    problems: list[dict[str, Any]]


READY = Found(False, [])


def look_at(settings_of: Mapping[int, Mapping[str, Any]]) -> dict[int, Found]:
    """Return what stands in the way of terminals (id -> their settings), of those where anything does: a few statements for any
    number of them."""
    problems: dict[int, list[dict[str, Any]]] = {}
    for name in CHECKS:
        finder = readiness.finders.get(name)
        severity = {pk: settings[f"check_{name}"] for pk, settings in settings_of.items()}
        asked = [pk for pk, how in severity.items() if how != "ignore"]
        for pk, reason in (finder(asked) if finder and asked else {}).items():
            problems.setdefault(pk, []).append({**reason.stored(), "check": name, "severity": severity[pk]})
    return {pk: Found(any(one["severity"] == "block" for one in found), found) for pk, found in problems.items()}
