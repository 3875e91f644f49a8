"""Bulk work's rules: many ids in few words."""

from hypothesis import given
from hypothesis import strategies as st

from terminals.bulk.rules import ranges


def test_numbers_in_a_row_are_one_range() -> None:
    assert ranges([3, 1, 2, 7, 9, 10]) == "1-3,7,9-10"
    assert ranges([]) == ""
    assert len(ranges(range(100_000))) < 10


@given(st.sets(st.integers(0, 10_000)))
def test_ranges_lose_no_number(numbers: set[int]) -> None:
    said = [part.split("-") for part in ranges(numbers).split(",") if part]
    assert {n for first, *last in said for n in range(int(first), int(last[0] if last else first) + 1)} == numbers
