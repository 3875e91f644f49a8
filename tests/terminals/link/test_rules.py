"""Lanes are shared out evenly, none has two holders, and nobody waits for ever."""

import random

from hypothesis import given
from hypothesis import strategies as st

from terminals.link.rules import Share, share

LANES = 16


def test_the_first_takes_all_and_gives_half_to_the_second() -> None:
    assert share([""] * 4, {"a"}, "a") == Share([0, 1, 2, 3], [])
    assert share(["a"] * 4, {"a", "b"}, "b") == Share([], []), "from who is alive nobody takes"
    assert share(["a"] * 4, {"a", "b"}, "a") == Share([], [2, 3])
    assert share(["a", "a", "", ""], {"a", "b"}, "b") == Share([2, 3], [])


def test_what_a_dead_one_held_goes_to_the_others() -> None:
    holders = ["a", "b", "c", "a", "b", "c"]
    assert share(holders, {"a", "b"}, "a") == Share([2], [])
    assert share(["a", "b", "a", "a", "b", "c"], {"a", "b"}, "b") == Share([5], [])


def test_more_processes_than_lanes_leave_some_without() -> None:
    assert share(["a", "b"], {"a", "b", "c"}, "c") == Share([], [])
    assert share(["", ""], {"c", "d", "e"}, "e") == Share([], [])


@given(st.lists(st.sampled_from("abcdef"), max_size=40), st.randoms(use_true_random=False))
def test_whoever_comes_and_goes_all_lanes_are_held_by_as_many_as_can_be(
    toggles: list[str], dice: random.Random
) -> None:
    alive, holders = {"z"}, [""] * LANES
    for name in [*toggles, "settle"]:
        if name != "settle":
            alive ^= {name}
        for me in dice.sample(sorted(alive), len(alive)) * (3 if name == "settle" else 1):
            wanted = share(holders, alive, me)
            assert all(holders[lane] not in alive for lane in wanted.take)
            assert all(holders[lane] == me for lane in wanted.give)
            for lane in wanted.take:
                holders[lane] = me
            for lane in wanted.give:
                holders[lane] = ""
    counts = [holders.count(name) for name in alive]
    assert sum(counts) == LANES
    assert max(counts) - min(counts) <= 1
