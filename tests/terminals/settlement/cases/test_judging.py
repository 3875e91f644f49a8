"""What is wrong with a batch's line, and which transactions are suspected of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.settlement.cases.rules import Severity, needs_four_eyes, urgency
from terminals.settlement.reconciliation.rules import DifferenceKind, Finding, Line, Recorded, differing, judge

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLOSED = AT + timedelta(hours=10)
K = DifferenceKind


def sold(number: int, amount: int, minutes: int = 0, reference: str = "") -> Recorded:
    return Recorded(number, amount, AT + timedelta(minutes=minutes), "4242", reference or f"rrn{number}", number)


def line(reported: tuple[int, int], recorded: list[Recorded]) -> Line:
    return Line("EUR", "card", "visa", "sale", *reported, len(recorded), sum(one.amount_minor for one in recorded))


THREE = [sold(1, 1000), sold(2, 1234, 5), sold(3, 500, 9)]


@pytest.mark.parametrize(
    ("reported", "recorded", "missing", "expected"),
    [
        ((4, 3968), THREE, [], Finding(K.MISSING_RECORD, 1, 1234)),
        ((5, 3000), THREE, [4, 5], Finding(K.MISSING_RECORD, 2, 266, missing=(4, 5))),
        ((3, 2700), THREE, [], Finding(K.AMOUNT, 0, -34)),
        ((3, 2734), [*THREE, sold(4, 1234, 6, "rrn2")], [], Finding(K.DUPLICATE, -1, -1234, (4,))),
        ((3, 2734), [*THREE, sold(4, 77, 6)], [], Finding(K.NOT_COUNTED, -1, -77, (4,))),
        ((2, 1500), THREE, [], Finding(K.NOT_COUNTED, -1, -1234, (2,))),
        ((1, 500), THREE, [], Finding(K.NOT_COUNTED, -2, -2234, (1, 2))),
        ((2, 1), THREE, [], Finding(K.NOT_COUNTED, -1, -2733)),  # nobody is suspected where nothing adds up
        ((2, 2734), THREE, [], Finding(K.COUNT, -1, 0)),
        ((3, 2734), [*THREE, sold(4, 88, 60 * 11)], [], Finding(K.LATE, -1, -88, (4,))),
    ],
)
def test_what_is_wrong_is_named_with_its_suspects(
    reported: tuple[int, int], recorded: list[Recorded], missing: list[int], expected: Finding
) -> None:
    assert judge(line(reported, recorded), recorded, missing, CLOSED) == expected


def test_the_same_amount_by_another_card_or_much_later_is_no_double() -> None:
    other = Recorded(4, 1234, AT + timedelta(minutes=6), "1111", "rrn2", 4)
    later = sold(5, 1234, 60 * 2, "rrn2")
    for one in (other, later):
        recorded = [*THREE, one]
        assert judge(line((3, 2734), recorded), recorded).kind is K.NOT_COUNTED


SALES = st.lists(st.integers(1, 10**6), min_size=1, max_size=30)
KINDS = st.sampled_from(["sale", "refund", "credit", "void", "reversal", "declined"])


@given(st.lists(st.tuples(KINDS, st.sampled_from(["card", "qr"]), st.integers(1, 10**6)), max_size=40))
def test_totals_of_any_day_reconcile_to_zero(day: list[tuple[str, str, int]]) -> None:
    sums: dict[tuple[str, str], list[int]] = {}
    for kind, method, amount in day:
        entry = sums.setdefault((kind, method), [0, 0])
        entry[0], entry[1] = entry[0] + 1, entry[1] + amount
    lines = [Line("EUR", method, "", kind, n, m, n, m) for (kind, method), (n, m) in sums.items()]
    assert differing(lines) == []
    assert sum(one.difference_net for one in lines) == 0


@given(SALES, st.data())
def test_any_planted_loss_or_double_is_found_with_its_amount(amounts: list[int], data: Any) -> None:
    recorded = [sold(n, amount, n) for n, amount in enumerate(amounts, 1)]
    total = (len(amounts), sum(amounts))
    chosen = data.draw(st.sampled_from(recorded))
    rest = [one for one in recorded if one is not chosen]
    lost = judge(line(total, rest), rest, [chosen.sequence])
    assert (lost.kind, lost.number, lost.amount_minor, lost.missing) == (
        K.MISSING_RECORD,
        1,
        chosen.amount_minor,
        (chosen.sequence,),
    )
    twice = [*recorded, chosen._replace(id=999, occurred_at=chosen.occurred_at + timedelta(seconds=30))]
    double = judge(line(total, twice), twice)
    assert (double.kind, double.amount_minor, double.suspects) == (K.DUPLICATE, -chosen.amount_minor, (999,))


@pytest.mark.parametrize(
    ("amount", "currency", "severity", "two"),
    [
        (99_99, "EUR", Severity.LOW, False),
        (100_00, "EUR", Severity.MEDIUM, False),
        (500_00, "EUR", Severity.MEDIUM, True),
        (1000_00, "EUR", Severity.HIGH, True),
        (999, "JPY", Severity.MEDIUM, True),
        (499_999, "KWD", Severity.MEDIUM, False),
    ],
)
def test_how_urgent_a_case_is_goes_by_its_money(amount: int, currency: str, severity: Severity, two: bool) -> None:
    assert (urgency(amount, currency)[0], needs_four_eyes(amount, currency)) == (severity, two)
