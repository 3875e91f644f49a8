"""Two devices with one identity, and certificates that nobody renewed: told on the timeline, in filters and on the overview."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from fleet.pages.identities import troubled
from fleet.pages.selectors import VIEW
from terminals.common.facts.models import Fact
from terminals.enrolment.models import Certificate, DeviceCA
from terminals.estate.models import Terminal
from terminals.estate.targets.choosing import matching
from terminals.link.models import DeviceSession
from terminals.simulator.device import Device
from terminals.simulator.faults import Faults
from tests.conftest import SteadyDice, deliver, enrolled_device, working_device


def test_two_devices_with_one_identity_are_noticed_by_their_boots(register: Callable[[str], Terminal]) -> None:
    device = enrolled_device(register("SN-1"))
    copy = Device(device.memory, faults=Faults(), dice=SteadyDice(8), now=lambda: datetime.now(UTC))
    deliver(device.hello())
    device.boot()
    deliver(device.hello())
    deliver(copy.hello())
    assert not Fact.objects.filter(kind="link.identity_shared").exists(), "each might be one that restarts"
    for _ in range(3):
        deliver(device.hello())
        deliver(copy.hello())
    assert Fact.objects.filter(kind="link.identity_shared").count() == 1, "told once an hour"
    root = get_user_model().objects.create_superuser("root")
    assert [t.serial for t in matching(Terminal.objects.all(), "shared_identity", root)] == ["SN-1"]


def test_two_devices_are_noticed_though_their_hellos_come_together(register: Callable[[str], Terminal]) -> None:
    owner = working_device(register("SN-1"))
    copy = Device(owner.memory, faults=Faults(), dice=owner.dice, now=owner.now)
    deliver(owner.hello())
    neighbour = working_device(register("SN-2"))
    deliver(copy.hello(), neighbour.hello(), owner.hello())
    session = DeviceSession.objects.get(terminal__serial="SN-1")
    assert session.shared_at is not None
    assert session.boot_id == owner.boot_id
    assert DeviceSession.objects.get(terminal__serial="SN-2").shared_at is None


def test_a_hundred_boots_at_once_cost_as_much_as_three(register: Callable[[str], Terminal]) -> None:
    device = working_device(register("SN-1"))

    def statements(boots: int) -> int:
        said = []
        for _ in range(boots):
            device.boot()
            said.append(device.hello())
        with CaptureQueriesContext(connection) as queries:
            deliver(*said)
        return len(queries)

    assert statements(100) == statements(3)


def test_a_terminal_that_restarts_and_repeats_itself_is_one(register: Callable[[str], Terminal]) -> None:
    device = enrolled_device(register("SN-1"))
    for _ in range(6):
        hello = device.hello()
        deliver(hello, hello)
        deliver(device.hello())
        device.boot()
        deliver(hello)
    assert not Fact.objects.filter(kind="link.identity_shared").exists()


def overview(staff: Client) -> str:
    return staff.get("/admin/").content.decode()


def test_the_overview_tells_of_both_and_of_nobody_else(register: Callable[[str], Terminal], staff: Client) -> None:
    device = working_device(register("SN-1"))
    working_device(register("SN-2"))
    assert "two devices speak as this terminal" not in overview(staff)
    assert "were not renewed" not in overview(staff)
    copy = Device(device.memory, faults=Faults(), dice=SteadyDice(8), now=lambda: datetime.now(UTC))
    deliver(copy.hello())
    deliver(device.hello())
    assert "SN-1</a>:</b> two devices speak as this terminal" in overview(staff)
    Certificate.objects.filter(terminal__serial="SN-2").update(not_after=datetime.now(UTC) + timedelta(days=20))
    page = overview(staff)
    assert "Certificates end and were not renewed:" in page
    root = get_user_model().objects.get()
    assert [t.serial for t in matching(Terminal.objects.all(), "certificate_late", root)] == ["SN-2"]
    with time_machine.travel(datetime.now(UTC) + timedelta(days=2)):
        assert troubled(root, VIEW, datetime.now(UTC)).shared == []


def test_the_overview_tells_when_the_device_ca_ends_soon(staff: Client) -> None:
    assert "The device CA ends at" not in overview(staff)
    DeviceCA.objects.filter(issues=True).update(not_after=datetime.now(UTC) + timedelta(days=89))
    assert "The device CA ends at" in overview(staff)


def test_a_hundred_of_them_cost_as_much_as_one(register: Callable[[str], Terminal], operator: Any) -> None:
    for number in range(7):
        working_device(register(f"SN-{number}"))
    Certificate.objects.update(not_after=datetime.now(UTC) + timedelta(days=20))
    with CaptureQueriesContext(connection) as captured:
        found = troubled(operator, VIEW, datetime.now(UTC))
    assert (len(found.late), found.ca, len(captured)) == (5, None, 3)


def test_a_terminals_page_tells_of_its_certificate(register: Callable[[str], Terminal], staff: Client) -> None:
    device = enrolled_device(register("SN-1"))
    certificate = Certificate.objects.get()
    address = reverse("terminal-page", args=[certificate.terminal_id])
    shown = staff.get(f"{address}?tab=keys").content.decode()
    assert certificate.serial_number in shown
    assert "issued, not used yet" in shown
    deliver(device.hello())
    assert "in use" in staff.get(f"{address}?tab=keys").content.decode()
