"""Campaigns' rules: what may be said, how waves are cut, when windows open, when a guard holds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.campaigns.rules import (
    Counts,
    Course,
    Guard,
    Measured,
    Verdict,
    WaveState,
    expected_end,
    judge_lately,
    judge_measures,
    judge_outcomes,
    next_attempt,
    opens_at,
    overlap,
)
from terminals.campaigns.settings import checked, cut, window_of
from terminals.common.errors import Refusal

NIGHT = {"days": [1, 2, 3, 4, 5], "opens": "22:00", "closes": "05:00"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"waves": []}, "waves: a list of 1 to 20"),
        ({"waves": [10, 5, 100]}, "each is more than the one before"),
        ({"waves": [10, 50]}, "the last is 100"),
        ({"waves": [{"percent": 100, "sleep": 1}]}, "a wave has a percent"),
        ({"waves": [{"percent": 100, "soak_minutes": -1}]}, "a whole number from 0"),
        ({"waves": [True, 100]}, "a whole number"),
        ({"window": {"days": [0], "opens": "01:00", "closes": "02:00"}}, "name days from 1"),
        ({"window": {"days": [1], "opens": "01:00", "closes": "01:00"}}, "two different times"),
        ({"window": {"days": [1], "opens": "1"}}, "a window is"),
        ({"retries": "many"}, "retries: a whole number from 0 to 20"),
        ({"canary": 5}, "a filter"),
        ({"waves": [10, {"filter": "tag = pilot"}, 100]}, "waves by a filter come first"),
        ({"waves": [{"filter": " "}, 100]}, "a filter, for example"),
        ({"waves": [{"filter": "tag = pilot", "percent": 1}, 100]}, "one of them"),
        ({"waves": [{"filter": "tag = pilot"}]}, "the last is 100"),
        ({"follows": 1}, "write true or false"),
        ({"conditions": {"weather": True}}, "conditions are idle"),
        ({"conditions": {"idle": 1}}, "true or false"),
        ({"conditions": {"networks": ["pigeon"]}}, "name some of cellular"),
        ({"speed": 9}, "'speed' is none of"),
        ([], "is none of"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(said: Any, told: str) -> None:
    with pytest.raises(Refusal, match=told):
        checked(said)


def test_what_is_not_said_is_usual() -> None:
    kept = checked({"waves": [5, {"percent": 100, "soak_minutes": 5}]})
    assert kept["waves"] == [{"percent": 5}, {"percent": 100, "soak_minutes": 5}]
    assert (kept["retries"], kept["soak_minutes"], kept["window"]) == (2, 60, None)
    assert checked(kept) == kept


@pytest.mark.parametrize(
    ("waves", "canaries", "total", "lasts"),
    [
        ([1, 10, 100], 0, 1000, [10, 100, 1000]),
        ([1, 10, 100], 7, 1000, [7, 17, 107, 1000]),
        ([1, 10, 100], 0, 3, [1, 3]),
        ([1, 2, 100], 0, 1, [1]),
        ([50, 100], 4, 4, [4]),
    ],
)
def test_waves_are_cut_with_one_terminal_at_least(
    waves: list[int], canaries: int, total: int, lasts: list[int]
) -> None:
    said = {"waves": waves, "canary": "tag = canary" if canaries else ""}
    assert [one.last for one in cut(checked(said), [canaries] if canaries else [], total)] == lasts


@given(st.lists(st.integers(1, 99), max_size=18, unique=True), st.integers(0, 500), st.integers(1, 5000))
def test_every_terminal_has_just_one_wave(percentages: list[int], canaries: int, more: int) -> None:
    total = canaries + more
    said = {"waves": [{"filter": "tag = pilot"}, *sorted(percentages), 100], "canary": "tag = canary"}
    lasts = [one.last for one in cut(checked(said), [canaries, more // 2], total)]
    assert lasts == sorted(set(lasts))
    assert lasts[-1] == total


@pytest.mark.parametrize(
    ("zone", "now", "opens"),
    [
        ("Europe/Madrid", "2026-11-26T20:30:00", "2026-11-26T21:00:00"),  # Thursday, an hour before
        ("Europe/Madrid", "2026-11-26T22:00:00", "2026-11-26T22:00:00"),  # open
        ("Europe/Madrid", "2026-11-28T03:59:00", "2026-11-28T03:59:00"),  # Saturday, but Friday's night
        ("Europe/Madrid", "2026-11-28T04:00:00", "2026-11-30T21:00:00"),  # over: Monday
        ("Asia/Kathmandu", "2026-11-26T10:00:00", "2026-11-26T16:15:00"),
        ("Europe/Berlin", "2026-10-25T12:00:00", "2026-10-26T21:00:00"),  # the day of 25 hours, then winter's offset
        ("America/Santiago", "2026-09-06T12:00:00", "2026-09-08T01:00:00"),  # midnight shift
    ],
)
def test_a_window_opens_by_the_terminals_own_clock(zone: str, now: str, opens: str) -> None:
    window = window_of(checked({"window": NIGHT}))
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, opens)]
    assert opens_at(window, zone, instants[0]) == instants[1]


def test_attempts_wait_twice_as_long_each_time_and_end() -> None:
    assert [next_attempt(n, 3, 30) for n in (1, 2, 3, 4)] == [
        timedelta(minutes=30),
        timedelta(minutes=60),
        timedelta(minutes=120),
        None,
    ]


def counts(open_: int, succeeded: int, failed: int, **codes: int) -> Counts:
    return Counts(open_, succeeded, failed, codes)


@pytest.mark.parametrize(
    ("guard", "seen", "verdict", "why"),
    [
        (Guard(), counts(10, 0, 0), Verdict.NOT_YET, []),
        (Guard(), counts(21, 79, 0), Verdict.NOT_YET, []),
        (Guard(), counts(20, 80, 0), Verdict.ENOUGH, []),
        (Guard(sample_least=95), counts(20, 80, 0), Verdict.NOT_YET, []),
        (Guard(sample_least=500), counts(0, 100, 0), Verdict.ENOUGH, []),  # the wave is smaller than the sample
        (Guard(), counts(20, 76, 4), Verdict.ENOUGH, []),
        (Guard(), counts(90, 0, 5), Verdict.UNMET, ["failures"]),  # the rest of the sample cannot make it good
        (Guard(), counts(90, 0, 3), Verdict.NOT_YET, []),
        (Guard(success_percent=0, code_percent=2), counts(0, 97, 3, storage=3), Verdict.UNMET, ["code"]),
        (Guard(success_percent=0, code_percent=3), counts(0, 97, 3, storage=2, battery=1), Verdict.ENOUGH, []),
        (Guard(), counts(0, 0, 0), Verdict.UNMET, ["sample"]),  # everybody was left out: nobody tried it
    ],
)
def test_a_guard_is_judged_by_what_was_seen(guard: Guard, seen: Counts, verdict: Verdict, why: list[str]) -> None:
    found, unmet = judge_outcomes(guard, seen, size=max(seen.total, 1), is_last=False)
    assert (found, [one.why for one in unmet]) == (verdict, why)


@pytest.mark.parametrize(
    ("before", "after", "peers", "met"),
    [(0, 2, 0, True), (0, 3, 0, False), (10, 12, 0, True), (0, 10, 90, True), (0, 13, 90, False)],
)
def test_a_measure_is_held_against_before_and_against_who_was_not_touched(
    before: int, after: int, peers: int, met: bool
) -> None:
    unmet = judge_measures(Guard(), 100, [Measured("printer", before, after, peers, 900, 100)])
    assert (not unmet) == met


def test_a_roll_back_of_an_empty_wave_divides_by_nothing() -> None:
    assert judge_measures(Guard(), 0, [Measured("printer", 0, 0, 0, 0)]) == []


def test_when_it_is_done_follows_from_the_pace_so_far() -> None:
    start, hour = datetime(2026, 11, 26, 8, tzinfo=UTC), timedelta(hours=1)
    held = Course(WaveState.HELD, 10, 10, hour, None)
    running = Course(WaveState.RUNNING, 90, 40, hour, None)
    planned = Course(WaveState.PLANNED, 100, 0, hour, None)
    # In 5 of 6 hours 50 came: 150 take 15, and two waves are still to be watched.
    assert expected_end([held, running, planned], start, start + 6 * hour) == start + 23 * hour
    soaking = Course(WaveState.SOAKING, 90, 90, hour, start + 7 * hour)
    assert expected_end([held, soaking], start, start + 6 * hour) == start + 7 * hour
    assert expected_end([planned], start, start + hour) is None
    watched = Course(WaveState.SOAKING, 10, 10, 4 * hour, start + 5 * hour)
    ends = {expected_end([watched, planned], start, start + n * hour) for n in (2, 3, 4)}
    assert ends == {start + 16 * hour}, "while a wave is only watched, nothing changes"


@pytest.mark.parametrize(
    ("thing", "other", "is_so"),
    [
        ("software:os+payment", "software:payment", True),
        ("software:os+payment", "software:emv+os", True),
        ("software:payment", "software:payment", False),  # the newer one goes before
        ("software:os", "software:payment", False),
        ("software:os", "key:os", False),
        ("parameters", "parameters", False),
    ],
)
def test_things_that_have_a_part_in_common_overlap(thing: str, other: str, is_so: bool) -> None:
    assert overlap(thing, other) is overlap(other, thing) is is_so


def test_lately_a_few_failures_say_nothing_and_many_stop() -> None:
    guard = Guard(success_percent=90)
    assert judge_lately(guard, Counts(0, 0, 9, {"storage": 9})) == []
    assert judge_lately(guard, Counts(0, 9, 1, {"storage": 1})) == []
    [unmet] = judge_lately(guard, Counts(0, 8, 2, {"storage": 2}))
    assert (unmet.why, unmet.found, unmet.limit) == ("failures", 20, 10)
