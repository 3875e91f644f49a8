"""Leases of lanes in the database: by its clock, one holder each."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from terminals.link import leases
from terminals.link.models import Lane, LinkProcess


def silence(name: str) -> None:
    """Let a process's lease run out."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE link_linkprocess SET until = clock_timestamp() WHERE name = %s", [name])


@pytest.fixture(autouse=True)
def four_lanes(db: None, settings: object) -> None:
    settings.LINK_LANES = 4  # type: ignore[attr-defined]


def test_a_process_keeps_what_it_holds_until_another_comes() -> None:
    assert leases.renew("a") == ({0, 1, 2, 3}, [], [])
    assert leases.renew("a") == ({0, 1, 2, 3}, [], [])
    assert leases.renew("b") == (set(), [], [])
    assert leases.renew("a") == ({0, 1, 2, 3}, [2, 3], []), "still its own until it has disconnected them"
    assert leases.renew("b").lanes == set()
    leases.give_up("a", [2, 3])
    assert leases.renew("b") == ({2, 3}, [], [])


def test_the_lanes_of_a_silent_one_go_to_the_others_and_it_learns_so() -> None:
    leases.renew("a")
    silence("a")
    assert leases.renew("b").lanes == {0, 1, 2, 3}
    assert leases.renew("a") == (set(), [], [])
    leases.give_up("a", [0])
    assert Lane.objects.get(number=0).holder == "b", "what another has by now is not given up"


def test_who_leaves_lets_the_others_have_its_lanes_at_once() -> None:
    leases.renew("a")
    leases.leave("a")
    assert not LinkProcess.objects.exists()
    assert leases.renew("b").lanes == {0, 1, 2, 3}


def test_lanes_of_another_division_are_forgotten_when_nobody_holds_them(settings: object) -> None:
    leases.renew("a")
    settings.LINK_LANES = 2  # type: ignore[attr-defined]
    assert leases.renew("b").outdated == []
    silence("a")
    assert leases.renew("b") == ({0, 1}, [], [(4, 0), (4, 1), (4, 2), (4, 3)])
    leases.forget([(4, 0), (4, 1), (4, 2), (4, 3)])
    assert set(Lane.objects.values_list("lanes", "number")) == {(2, 0), (2, 1)}


def test_a_renewal_costs_the_same_for_any_number_of_lanes(settings: object) -> None:
    leases.renew("a")
    with CaptureQueriesContext(connection) as few:
        leases.renew("a")
    settings.LINK_LANES = 64  # type: ignore[attr-defined]
    leases.renew("a")
    with CaptureQueriesContext(connection) as many:
        leases.renew("a")
    assert len(few) == len(many)


def test_after_the_database_was_away_the_first_one_back_leaves_the_others_theirs() -> None:
    leases.renew("a")
    leases.renew("b")
    leases.give_up("a", leases.renew("a").give)
    assert leases.renew("b").lanes == {2, 3}
    silence("a")
    silence("b")
    assert leases.renew("b") == ({2, 3}, [], [])
    assert leases.renew("a") == ({0, 1}, [], [])
    assert leases.renew("b").lanes == {2, 3}
