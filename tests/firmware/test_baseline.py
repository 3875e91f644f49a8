"""The baseline: given once, and never again and again to a terminal that has had it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from firmware.models import Installation, InstalledSoftware, Package
from firmware.services import set_baseline
from terminals.estate.models import Terminal
from terminals.link.models import Command
from terminals.link.services import expire_commands
from terminals.simulator.device import Device
from terminals.simulator.faults import Faults
from tests.conftest import deliver, enrolled_device, obey, working_device
from tests.releases import ready


@pytest.fixture
def terminal(register: Callable[[str], Terminal]) -> Terminal:
    made = register("SN-1")
    set_baseline(model=made.model, release=ready("2.0.0"), actor="ops")
    return made


def hello_and_install(device: Device) -> None:
    deliver(device.hello())
    obey(device, "install")
    deliver(device.finish_install())


def test_a_terminal_that_runs_its_baseline_is_left_alone(terminal: Terminal) -> None:
    device = enrolled_device(terminal)
    hello_and_install(device)
    for _ in range(3):
        deliver(device.hello())
    assert Installation.objects.get().state == "installed"


def test_one_that_installed_it_and_does_not_report_it_is_shown_and_not_sent_it_for_ever(terminal: Terminal) -> None:
    device = enrolled_device(terminal)
    hello_and_install(device)
    device.memory.software = {"payment": "1.0.0"}
    for _ in range(3):
        deliver(device.hello())
    assert Installation.objects.get().state == "installed"  # it may still be restarting
    Installation.objects.update(finished_at=timezone.now() - timedelta(hours=1))
    deliver(device.hello())
    installation = Installation.objects.get()
    assert (installation.state, installation.reason) == (
        "failed",
        "the terminal does not report this version as running",
    )


def test_one_that_refused_it_is_not_asked_again(terminal: Terminal) -> None:
    device = enrolled_device(terminal, Faults(rejected_install=True))
    for _ in range(3):
        deliver(device.hello())
        obey(device, "install")
    assert Installation.objects.get().state == "rejected"


def test_one_that_was_switched_off_too_long_is_offered_it_again(terminal: Terminal) -> None:
    device = working_device(terminal)
    Command.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expire_commands()
    deliver(device.hello())
    assert list(Installation.objects.order_by("id").values_list("state", flat=True)) == ["expired", "assigned"]


def test_a_package_with_releases_keeps_the_name_under_which_they_are_signed(
    terminal: Terminal, admin_client: Client
) -> None:
    package = Package.objects.get()
    url = f"/api/v1/packages/{package.pk}/"
    answer = admin_client.patch(url, {"name": "other"}, content_type="application/json")
    assert answer.status_code == 400
    assert "signed under the old one" in answer.content.decode()
    assert admin_client.patch(url, {"description": "tills"}, content_type="application/json").status_code == 200
    assert 'name="name"' not in admin_client.get(f"/admin/firmware/package/{package.pk}/change/").content.decode()
    package.refresh_from_db()
    assert (package.name, package.description) == ("pay", "tills")


def test_a_hello_replaces_what_a_terminal_runs(register: Callable[[str], Terminal]) -> None:
    device = enrolled_device(register("SN-1"))
    for n in range(5):
        device.memory.software = {f"component-{n}-{i}": "1" for i in range(32)}
        deliver(device.hello())
    assert InstalledSoftware.objects.count() == 32
    assert set(InstalledSoftware.objects.values_list("component", flat=True)) == set(device.memory.software)
    device.memory.software = {f"component-{i}": "1" for i in range(33)}
    assert deliver(device.hello()).dead == 1


def test_a_device_that_takes_anothers_place_gets_the_baseline_like_any_other(terminal: Terminal) -> None:
    hello_and_install(enrolled_device(terminal))
    assert Installation.objects.get().state == "installed"
    successor = enrolled_device(terminal)
    assert not InstalledSoftware.objects.exists(), "what the other one ran says nothing of this one"
    hello_and_install(successor)
    assert list(Installation.objects.order_by("pk").values_list("state", flat=True)) == ["replaced", "installed"]
