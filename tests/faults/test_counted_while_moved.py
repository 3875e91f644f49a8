"""What is noted of a terminal while it moves is counted where it stands afterwards."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.db import transaction

from fleet.pages.models import Tally
from fleet.pages.tasks import fold_tallies
from terminals.estate.models import Merchant, Organisation, Store, Terminal
from terminals.link.models import DeviceSession
from tests.conftest import in_thread, working_device

pytestmark = pytest.mark.django_db(transaction=True)


def counted() -> set[tuple[str, str, str, int]]:
    fold_tallies()
    rows = Tally.objects.exclude(amount=0).values_list("place", "measure", "label", "amount")
    return {(place, measure, label, amount) for place, measure, label, amount in rows}


def test_what_is_noted_of_a_terminal_that_moves_is_counted_where_it_stands(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    working_device(terminal)
    there = Merchant.objects.create(name="There", mid="77", organisation=Organisation.objects.create(name="O"))
    store = Store.objects.create(merchant=there, name="New")

    def move() -> None:
        Terminal.objects.filter(pk=terminal.pk).update(store=store)

    def lock() -> None:
        DeviceSession.objects.filter(terminal=terminal).update(locked=True)

    with ThreadPoolExecutor(1) as pool:
        for first, second in ((lock, move), (move, lock)):
            Terminal.objects.filter(pk=terminal.pk).update(store=terminal.store)
            DeviceSession.objects.update(locked=False)
            with transaction.atomic():
                first()
                other = pool.submit(in_thread, second)
                with pytest.raises(TimeoutError):
                    other.result(0.5)
            other.result(20)
            noted = counted()
            call_command("count_tallies")
            assert noted == counted()
            assert {place for place, measure, label, _ in noted if (measure, label) == ("locked", "true")} >= {
                store.path
            }
