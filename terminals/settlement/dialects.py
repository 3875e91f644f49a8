"""What hosts count of a batch, in their answers' data elements: each acquirer lays them out in its own way. Pure.

A layout is `48: debit_amount 12, debit_count 3, ...`: the data element of ISO 8583, then names and numbers of digits in their
order. What is named twice (domestic and foreign, say) adds up; what is called `skip` is passed over.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from terminals.common.errors import Refusal

NAMES = ("debit_count", "debit_amount", "credit_count", "credit_amount")
_UNIONPAY = "debit_amount 12, debit_count 3, credit_amount 12, credit_count 3, skip 1"
# Layouts that several acquirers share, by name.
KNOWN = {
    "de63": "63: debit_count 3, debit_amount 12, credit_count 3, credit_amount 12",
    "unionpay": f"48: {_UNIONPAY}, {_UNIONPAY}",
}
MOST_DIGITS = 200


class HostTotals(NamedTuple):
    """What was sold and what was given or taken back: numbers, and amounts in minor units."""

    debit_count: int = 0
    debit_minor: int = 0
    credit_count: int = 0
    credit_minor: int = 0

    @property
    def net_minor(self) -> int:
        return self.debit_minor - self.credit_minor


class Layout(NamedTuple):
    element: str
    parts: tuple[tuple[str, int], ...]

    @property
    def digits(self) -> int:
        return sum(width for _name, width in self.parts)


@lru_cache(maxsize=256)
def layout_of(text: str) -> Layout:
    """Return a layout that is named or written out; raise Refusal for what describes none."""
    element, _colon, rest = KNOWN.get(text, text).partition(":")
    parts = []
    for part in rest.split(","):
        found = re.fullmatch(r"\s*([a-z_]+)\s+([0-9]{1,2})\s*", part)
        if found is None or found[1] not in (*NAMES, "skip") or not 0 < int(found[2]) <= 18:
            raise _bad(text)
        parts.append((found[1], int(found[2])))
    layout = Layout(element.strip(), tuple(parts))
    named = {name for name, _width in parts}
    if not re.fullmatch(r"[0-9]{1,3}", layout.element) or layout.digits > MOST_DIGITS or not named >= set(NAMES):
        raise _bad(text)
    return layout


def _bad(text: str) -> Refusal:
    return Refusal(
        "bad_setting",
        "%(text)s describes no totals; write %(known)s, or for example %(example)s",
        text=repr(text[:100]),
        known=tuple(KNOWN),
        example=KNOWN["de63"],
    )


def read_totals(fields: Mapping[str, str], layout: str) -> HostTotals | None:
    """Return what a host counted; nothing where its answer has no such element, or one that is laid out otherwise."""
    described = layout_of(layout)
    content = fields.get(described.element, "")
    if not re.fullmatch(rf"[0-9]{{{described.digits}}}", content):
        return None
    sums = dict.fromkeys((*NAMES, "skip"), 0)
    start = 0
    for name, width in described.parts:
        sums[name] += int(content[start : start + width])
        start += width
    return HostTotals(*(sums[name] for name in NAMES))
