"""When a cycle comes due: on ordinary days, on both days of daylight saving, at the year's end, on holidays, by cut-offs."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.common.errors import Refusal
from terminals.settlement.plans.calendars import Days
from terminals.settlement.plans.cycles import (
    Cycle,
    Skipped,
    business_day,
    check_crontab,
    next_instants,
    occurrences,
    share_of,
)

NO_SHIFT = [timedelta()]
BAVARIA = Days("DE", "BY", (6, 7))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(crontab: str, zone: str, after: str) -> datetime | None:
    return next_instants(Cycle(crontab, zone), NO_SHIFT, now=utc(after))[0]


@pytest.mark.parametrize(
    ("cycle", "zone", "after", "expected"),
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
        # Half an hour: Lord Howe skips 02:00-02:30 on 2026-10-04 and repeats 01:30-02:00 on 2026-04-05.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", "2026-10-03T15:30"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", "2026-04-04T14:45"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:45", "2026-04-05T15:15"),
        # Midnight: Cairo skips 00:00-01:00 on 2026-04-24, Santiago skips it on 2026-09-06 and repeats 23:00 on 2026-04-04.
        ("30 0 * * *", "Africa/Cairo", "2026-04-23T12:00", "2026-04-23T22:00"),
        ("30 0 * * *", "America/Santiago", "2026-09-05T12:00", "2026-09-06T04:00"),
        ("30 23 * * *", "America/Santiago", "2026-04-04T12:00", "2026-04-05T02:30"),
        ("30 23 * * *", "America/Santiago", "2026-04-05T02:30", "2026-04-06T03:30"),
        # Quarters of an hour, and zones without daylight saving.
        ("30 22 * * *", "Asia/Kathmandu", "2026-06-01T00:00", "2026-06-01T16:45"),
        ("30 22 * * *", "Asia/Shanghai", "2026-06-01T00:00", "2026-06-01T14:30"),
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00", "2026-03-08T07:00"),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00", "2026-11-01T05:30"),
        ("30 1 * * *", "America/New_York", "2026-11-01T05:30", "2026-11-02T06:30"),
        # The year's end and the leap day.
        ("59 23 31 12 *", "Pacific/Auckland", "2026-06-01T00:00", "2026-12-31T10:59"),
        ("0 0 1 1 *", "Europe/Madrid", "2026-12-31T22:59", "2026-12-31T23:00"),
        ("0 12 29 2 *", "UTC", "2026-01-01T00:00", "2028-02-29T12:00"),
    ],
)
def test_a_cycle_comes_due_in_its_own_zone(cycle: str, zone: str, after: str, expected: str) -> None:
    assert due(cycle, zone, after) == utc(expected)


def test_without_a_cycle_nothing_comes_due() -> None:
    assert due("", "UTC", "2026-01-01T00:00") is None


@given(
    st.integers(0, 24 * 60),
    st.sampled_from(["30 2 * * *", "59 2 * * *", "0 3 * * *", "*/7 * * * *", "15 1,2 * * *"]),
    st.sampled_from(["2026-03-28T12:00", "2026-10-24T12:00"]),
)
def test_on_the_days_of_the_change_a_due_time_is_always_later(minutes: int, cycle: str, start: str) -> None:
    after = utc(start) + timedelta(minutes=minutes)
    [found] = next_instants(Cycle(cycle, "Europe/Berlin"), NO_SHIFT, now=after)
    assert found is not None
    assert after < found


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(1, 2**40),
    st.integers(0, 3600),
)
def test_a_terminal_is_due_later_once_a_day_and_within_its_jitter(
    when: datetime, terminal_id: int, jitter: int
) -> None:
    cycle, now = Cycle("30 2 * * *", "Europe/Berlin"), when.replace(tzinfo=UTC)
    shift = timedelta(seconds=share_of(terminal_id) * jitter)
    [at] = next_instants(cycle, [shift], now=now)
    assert at is not None
    assert now < at + shift <= now + timedelta(hours=25)
    [following] = next_instants(cycle, [shift], now=at + shift)
    assert following is not None
    assert timedelta(hours=22) <= following - at <= timedelta(hours=26)


@given(st.lists(st.integers(0, 3599), max_size=20), st.integers(0, 7200))
def test_one_walk_for_many_gives_what_a_walk_for_each_would(seconds: list[int], ago: int) -> None:
    now, cycle = utc("2026-06-01T02:00") + timedelta(seconds=ago), Cycle("*/10 * * * *", "Europe/Berlin")
    shifts = [timedelta(seconds=one) for one in seconds]
    each = [next_instants(cycle, [shift], now=now)[0] for shift in shifts]
    assert next_instants(cycle, shifts, now=now) == each
    assert all(at is not None and at + shift > now for at, shift in zip(each, shifts, strict=True))


def test_jitter_spreads_a_fleet_and_keeps_each_terminals_place() -> None:
    shares = [share_of(n) for n in range(1, 201)]
    assert 0 <= min(shares) < 0.1
    assert 0.9 < max(shares) < 1
    assert shares == [share_of(n) for n in range(1, 201)]


@pytest.mark.parametrize("cycle", ["30 22 * *", "61 * * * *", "* * 30 2 *", "@daily", "30 2 * * * *"])
def test_an_unusable_crontab_is_refused(cycle: str) -> None:
    with pytest.raises(Refusal, match="no crontab that comes due"):
        check_crontab(cycle)


def test_days_on_which_banks_do_not_work_are_skipped_and_named() -> None:
    nightly = Cycle("30 22 * * *", "Europe/Berlin", BAVARIA)
    christmas = list(islice(occurrences(nightly, utc("2026-12-24T12:00")), 2))
    assert [one.at for one in christmas] == [utc("2026-12-24T21:30"), utc("2026-12-28T21:30")]
    assert christmas[1].skipped == (
        Skipped(date(2026, 12, 25), "Christmas Day"),
        Skipped(date(2026, 12, 26), "Second Day of Christmas"),
        Skipped(date(2026, 12, 27), "weekend"),
    )


@pytest.mark.parametrize(
    ("country", "subdivision", "day", "closed"),
    [
        ("DE", "BY", "2026-01-06", True),  # Epiphany is one in Bavaria
        ("DE", "BE", "2026-01-06", False),
        ("ES", "", "2026-10-12", True),
        ("PT", "", "2026-04-25", True),
        ("IE", "", "2026-03-17", True),
        ("GR", "", "2026-03-25", True),
        ("US", "", "2026-07-03", True),  # the fourth is a Saturday
        ("CN", "", "2026-10-01", True),
    ],
)
def test_holidays_are_those_of_the_country_and_its_part(country: str, subdivision: str, day: str, closed: bool) -> None:
    cycle = Cycle("0 12 * * *", "UTC", Days(country, subdivision))
    at = utc(f"{day}T12:00")
    [found] = next_instants(cycle, NO_SHIFT, now=at - timedelta(hours=1))
    assert (found != at) is closed


def test_days_of_ones_own_are_closed_or_open_before_all_else() -> None:
    own = Days("DE", "", (6, 7), (("2026-06-10", "stocktaking"),), (("2026-12-26", "fair"),))
    nightly = Cycle("0 20 * * *", "UTC", own)
    [closed] = next_instants(nightly, NO_SHIFT, now=utc("2026-06-09T21:00"))
    [opened] = next_instants(nightly, NO_SHIFT, now=utc("2026-12-24T21:00"))
    assert (closed, opened) == (utc("2026-06-11T20:00"), utc("2026-12-26T20:00"))


def test_a_calendar_that_is_never_open_comes_due_never_and_ends() -> None:
    closed = Days(weekend=(1, 2, 3, 4, 5, 6, 7))
    assert next_instants(Cycle("0 20 * * *", "UTC", closed), NO_SHIFT, now=utc("2026-06-09T21:00")) == [None]


@pytest.mark.parametrize(
    ("at", "cut_off", "day"),
    [
        ("2026-06-12T20:59", time(23), "2026-06-12"),  # 22:59 in Berlin
        ("2026-06-12T21:00", time(23), "2026-06-15"),  # after Friday's cut-off it is Monday's
        ("2026-06-12T21:00", None, "2026-06-12"),
        ("2026-06-12T23:30", None, "2026-06-15"),  # 01:30 on Saturday
        ("2026-12-24T22:30", time(23), "2026-12-28"),
        ("2026-12-31T23:30", time(23, 30), "2027-01-04"),  # New Year, then a weekend
    ],
)
def test_a_settlement_belongs_to_the_business_day_of_its_cut_off(at: str, cut_off: time | None, day: str) -> None:
    cycle = Cycle("* * * * *", "Europe/Berlin", BAVARIA, cut_off)
    assert business_day(cycle, utc(at)) == date.fromisoformat(day)
