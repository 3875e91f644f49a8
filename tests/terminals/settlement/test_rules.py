"""When a terminal settles, on ordinary days and on both days of daylight saving, and what balances."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.common.errors import Refusal
from terminals.settlement.rules import Effective, Totals, check_cycle, compare, next_due


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cycle", "zone", "after", "due"),
    [
        ("30 22 * * *", "Europe/Berlin", "2026-01-10T12:00", "2026-01-10T21:30"),
        ("30 22 * * *", "Europe/Berlin", "2026-07-10T12:00", "2026-07-10T20:30"),
        ("30 22 * * *", "UTC", "2026-07-10T22:30", "2026-07-11T22:30"),  # later than, not at
        ("0 6 * * 1", "America/New_York", "2026-11-23T12:00", "2026-11-30T11:00"),
        # The clock skips 02:00-03:00 on 2026-03-29 in Berlin: 02:30 comes due when it would have been, at 03:00.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-30T00:30"),
        # It repeats 02:00-03:00 on 2026-10-25: 02:30 comes due once.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:05", "2026-10-26T01:30"),  # in the second pass of the hour
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:35", "2026-10-26T01:30"),
        # A cycle of every hour goes on through both.
        ("0 * * * *", "Europe/Berlin", "2026-03-29T00:00", "2026-03-29T01:00"),
        ("0 * * * *", "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("*/15 * * * *", "Asia/Kolkata", "2026-05-05T05:01", "2026-05-05T05:15"),
    ],
)
def test_a_cycle_comes_due_in_its_own_zone(cycle: str, zone: str, after: str, due: str) -> None:
    assert next_due(Effective(cycle, zone, 0), after=utc(after), terminal_id=1) == utc(due)


def test_without_a_cycle_nothing_comes_due() -> None:
    assert next_due(Effective("", "UTC", 0), after=utc("2026-01-01T00:00"), terminal_id=1) is None


@given(
    st.integers(0, 24 * 60),
    st.sampled_from(["30 2 * * *", "59 2 * * *", "0 3 * * *", "*/7 * * * *", "15 1,2 * * *"]),
    st.sampled_from(["2026-03-28T12:00", "2026-10-24T12:00"]),
)
def test_on_the_days_of_the_change_a_due_time_is_always_later(minutes: int, cycle: str, start: str) -> None:
    after = utc(start) + timedelta(minutes=minutes)
    due = next_due(Effective(cycle, "Europe/Berlin", 0), after=after, terminal_id=1)
    assert due is not None
    assert after < due


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(1, 2**40),
    st.integers(0, 3600),
)
def test_a_terminal_is_due_later_once_a_day_and_within_its_jitter(
    when: datetime, terminal_id: int, jitter: int
) -> None:
    effective, after = Effective("30 2 * * *", "Europe/Berlin", jitter), when.replace(tzinfo=UTC)
    first = next_due(effective, after=after, terminal_id=terminal_id)
    assert first is not None
    assert after < first <= after + timedelta(hours=25)
    second = next_due(effective, after=first, terminal_id=terminal_id)
    assert second is not None
    assert timedelta(hours=22) <= second - first <= timedelta(hours=26)


def test_jitter_spreads_a_fleet_and_keeps_each_terminals_place() -> None:
    effective = Effective("0 3 * * *", "UTC", 600)
    dues = [next_due(effective, after=utc("2026-01-01T12:00"), terminal_id=n) for n in range(1, 201)]
    seconds = [(due - utc("2026-01-02T03:00")).total_seconds() for due in dues if due]
    assert 0 <= min(seconds) < 60
    assert 540 < max(seconds) < 600
    assert dues == [next_due(effective, after=utc("2026-01-01T12:00"), terminal_id=n) for n in range(1, 201)]


@pytest.mark.parametrize(
    ("cycle", "zone", "message"),
    [
        ("30 22 * *", "UTC", "no crontab"),
        ("61 * * * *", "UTC", "no crontab"),
        ("* * 30 2 *", "UTC", "no crontab that comes due"),
        ("@daily", "UTC", "no crontab"),
        ("30 2 * * * *", "UTC", "no crontab"),  # six fields would mean seconds
        ("30 22 * * *", "Berlin", "not an IANA time zone"),
        ("", "", "not an IANA time zone"),
    ],
)
def test_an_unusable_cycle_is_refused(cycle: str, zone: str, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        check_cycle(cycle, zone)


CARD = Totals(sale_count=2, sale_minor=3000, refund_count=1, refund_minor=500)


@pytest.mark.parametrize(
    ("reported", "recorded", "balanced", "difference"),
    [
        ({}, {}, True, 0),
        ({"card": CARD}, {"card": CARD}, True, 0),
        ({"card": CARD, "qr": Totals()}, {"card": CARD}, True, 0),
        ({"card": CARD}, {}, False, 2500),
        ({}, {"card": CARD}, False, -2500),
        ({"card": CARD._replace(sale_minor=3001)}, {"card": CARD}, False, 1),
        ({"card": CARD._replace(sale_count=3)}, {"card": CARD}, False, 0),  # the same money in another count
        ({"card": CARD}, {"qr": CARD}, False, 0),  # the same money by another method
        ({"card": CARD._replace(sale_minor=2900, refund_minor=400)}, {"card": CARD}, False, 0),
    ],
)
def test_a_settlement_balances_only_if_every_count_and_amount_agrees(
    reported: dict[str, Totals], recorded: dict[str, Totals], balanced: bool, difference: int
) -> None:
    comparison = compare(reported, recorded)
    assert (comparison.balanced, comparison.difference_minor) == (balanced, difference)
