"""Finding terminals: by a part of the serial or the store's name, by the TID's beginning; through indexes, not the fleet."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from terminals.estate.models import Store, Terminal
from terminals.estate.selectors import containing, find_terminals

Register = Callable[[str], Terminal]


@pytest.fixture
def fleet(register: Register) -> None:
    """AB-100, AB-200 in Corner; XY-100 in Harbour, whose TID is 00420001."""
    for serial in ("AB-100", "AB-200", "XY-100"):
        register(serial)
    harbour = Store.objects.create(merchant=Store.objects.get().merchant, name="Harbour 50%_")
    Terminal.objects.filter(serial="XY-100").update(store=harbour, tid="00420001")


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("100", {"AB-100", "XY-100"}),
        ("b-1", {"AB-100"}),
        ("AB-200", {"AB-200"}),
        ("a", {"AB-100", "AB-200"}),
        ("00", {"XY-100"}),
        ("0042", {"XY-100"}),
        ("420001", set()),
        ("ARBOU", {"XY-100"}),
        ("50%_", {"XY-100"}),
        ("0%_", {"XY-100"}),
        ("corner", {"AB-100", "AB-200"}),
        ("nosuch", set()),
        ("100 ", set()),
        ("'\"\\", set()),
    ],
)
def test_a_terminal_is_found_by_what_people_know_of_it(text: str, found: set[str]) -> None:
    assert set(find_terminals(Terminal.objects.all(), text).values_list("serial", flat=True)) == found


@pytest.mark.usefixtures("fleet")
def test_the_list_and_what_belongs_to_terminals_are_searched_alike(staff: Client) -> None:
    page = staff.get(reverse("admin:terminals_terminal_changelist"), {"q": "harbour"}).content.decode()
    assert ("XY-100" in page, "AB-100" in page) == (True, False)
    for name in ("link_command", "settlement_settlementrun", "keys_terminalkey", "firmware_installation"):
        assert staff.get(reverse(f"admin:{name}_changelist"), {"q": "b-1"}).status_code == 200


@pytest.mark.django_db
def test_a_part_is_looked_up_in_its_index() -> None:
    call_command("seed_estate", terminals=4_000, stdout=StringIO())
    plan: Any = containing(Terminal.objects.order_by(), "serial", "0012345").explain()
    assert "terminal_serial_parts" in plan
