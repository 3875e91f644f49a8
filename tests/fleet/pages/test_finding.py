"""The search box over everything, and the terminals' list made for work."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from terminals.estate.models import Membership, Merchant, Store, Terminal
from terminals.link.models import DeviceSession
from terminals.link.protocol.messages.health import Tamper
from terminals.settlement.models import Batch
from tests.conftest import deliver, make_plan, sold, working_device

Register = Callable[[str], Terminal]
LIST = "/admin/terminals/terminal/"


@pytest.fixture
def lived_in(register: Register) -> Terminal:
    make_plan("nightly", cycle="30 22 * * *", time_zone="UTC", is_default=True)
    terminal = register("SN-1")
    Terminal.objects.update(tid="T0000001")
    Store.objects.update(city="Porto")
    device = working_device(terminal)
    device.memory.paper = 0
    deliver(sold(device, 4757), device.health())
    DeviceSession.objects.update(last_seen_at=timezone.now() - timedelta(hours=2))
    return terminal


def test_the_box_finds_everything_by_what_people_know(staff: Client, lived_in: Terminal) -> None:
    def found(text: str) -> str:
        return staff.get(reverse("find"), {"q": text}).content.decode().partition('role="search"')[2]

    for text in ("sn-1", "T0000", "corner", "porto", "bake", "1"):
        assert "SN-1" in found(text) or "Bakery" in found(text), text
    number = Batch.objects.get().batch_number
    assert f"batch {number:06}" in found(str(number))
    assert "Nothing of this name" in found("nowhere")
    assert "<script>x" not in found("<script>x")


def test_the_list_says_at_a_glance_what_is_the_matter(staff: Client, lived_in: Terminal) -> None:
    page = staff.get(LIST).content.decode()
    for text in ("hours ago", "printer: out of paper", "47.57 EUR", "from now", "dBm"):
        assert text in page, text
    device = working_device(lived_in)
    deliver(device.report("tamper", Tamper(True, device.now(), "case open")))
    assert "tamper" in staff.get(LIST).content.decode().partition("<tbody")[2]


def test_who_may_not_see_money_or_health_sees_no_columns_of_them(client: Client, lived_in: Terminal) -> None:
    ida = User.objects.create_user("ida", is_staff=True)
    Membership.objects.create(user=ida, role=Group.objects.get(name="installer"), merchant=Merchant.objects.get())
    client.force_login(ida)
    page = client.get(LIST).content.decode()
    assert "SN-1" in page
    for text in ("47.57", "out of paper", "ext settlement", "dBm"):
        assert text not in page


def test_the_list_costs_the_same_statements_for_any_number(
    staff: Client, register: Register, lived_in: Terminal
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(LIST).status_code == 200
        return len(captured)

    staff.get(LIST)
    few = cost()
    for n in range(2, 20):
        deliver(sold(working_device(register(f"SN-{n}")), 100))
    assert cost() == few
