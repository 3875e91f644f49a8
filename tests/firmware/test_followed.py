"""Software at which a campaign keeps terminals: brought to those that come or lose it, and not for ever to one that fails."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from firmware.models import Installation, InstalledSoftware, Package
from firmware.services import assign_release
from terminals.campaigns.models import Member, Tally
from terminals.campaigns.waves import counts_of
from terminals.estate.models import Terminal
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.simulator.device import Device
from terminals.simulator.faults import Faults
from tests.conftest import deliver, enrolled_device, obey, working_device
from tests.releases import campaigns_go_on, keep_at, ready


@pytest.fixture
def terminal(register: Callable[[str], Terminal]) -> Terminal:
    made = register("SN-1")
    keep_at(ready("2.0.0"), retries=1, retry_minutes=1)
    return made


def hello_and_install(device: Device) -> None:
    deliver(device.hello())
    campaigns_go_on()
    obey(device, "install")
    deliver(device.finish_install())
    deliver(device.hello())


def outcome() -> tuple[str, str]:
    member = Member.objects.get()
    return member.state, member.code


def due_now() -> None:
    """Let those that wait for another attempt have it now."""
    Member.objects.filter(state="waiting").update(due_at=timezone.now())
    campaigns_go_on()


def test_a_terminal_that_runs_it_is_left_alone(terminal: Terminal) -> None:
    device = enrolled_device(terminal)
    hello_and_install(device)
    assert outcome() == ("succeeded", "")
    for _ in range(3):
        deliver(device.hello())
        campaigns_go_on()
    assert Installation.objects.get().state == "installed"


def test_one_that_does_not_keep_it_is_brought_it_again_but_not_for_ever(terminal: Terminal) -> None:
    device = enrolled_device(terminal)
    for attempt in range(2):
        hello_and_install(device)
        assert outcome()[0] == "succeeded"
        device.memory.software = {"payment": "1.0.0"}
        deliver(device.hello())
        campaigns_go_on()
        assert Installation.objects.filter(state="assigned").count() == 0, "it may still be restarting"
        Installation.objects.update(finished_at=timezone.now() - timedelta(hours=1))
        deliver(device.hello())
        assert outcome()[0] == ("planned", "failed")[attempt]
    campaigns_go_on()
    assert outcome() == ("failed", "not_running")
    assert list(Installation.objects.values_list("state", flat=True)) == ["failed", "failed"]


def test_one_that_refuses_it_is_not_asked_again_by_itself(terminal: Terminal) -> None:
    device = enrolled_device(terminal, Faults(rejected_install=True))
    for _ in range(4):
        deliver(device.hello())
        due_now()
        obey(device, "install")
    assert outcome()[0] == "failed"
    assert Installation.objects.get().state == "rejected"


def test_one_that_was_switched_off_too_long_is_offered_it_again(terminal: Terminal) -> None:
    device = working_device(terminal)
    campaigns_go_on()
    Command.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expire_commands()
    campaigns_go_on()
    assert outcome() == ("waiting", "away"), "it is not asked again and again while it is off"
    assert not Tally.objects.filter(state="failed").exists()
    assert [counts.open for counts in counts_of([Member.objects.get().wave_id]).values()] == [0], "nor waited for"
    deliver(device.hello())
    campaigns_go_on()
    assert list(Installation.objects.order_by("id").values_list("state", flat=True)) == ["expired", "assigned"]


def test_another_version_by_hand_is_mended_where_it_is_older_and_left_where_it_is_newer(terminal: Terminal) -> None:
    device = enrolled_device(terminal)
    hello_and_install(device)
    for version, brought in (("1.5.0", 1), ("3.0.0", 0)):
        before = Installation.objects.count()
        assign_release(release=ready(version), terminals=[terminal], actor="ops", downgrade=True)
        obey(device, "install")
        deliver(device.finish_install())
        deliver(device.hello())
        campaigns_go_on()
        assert Installation.objects.count() == before + 1 + brought
        if brought:
            obey(device, "install")
            deliver(device.finish_install())
            deliver(device.hello())
    assert device.memory.software["payment"] == "3.0.0"


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


@pytest.mark.parametrize("failure", ["", "no space"])
def test_a_device_that_takes_anothers_place_is_brought_it_like_any_other(terminal: Terminal, failure: str) -> None:
    first = enrolled_device(terminal)
    deliver(first.hello())
    for _ in range(2 if failure else 1):
        due_now()
        obey(first, "install")
        deliver(first.finish_install(failure))
    deliver(first.hello())
    assert outcome()[0] == ("failed" if failure else "succeeded")
    successor = enrolled_device(terminal)
    assert not InstalledSoftware.objects.exists(), "what the other one ran says nothing of this one"
    [counts] = counts_of([Member.objects.get().wave_id]).values()
    assert (counts.open, counts.in_doubt) == (1, 1 if failure else 0), (
        "one that failed stays in doubt until another succeeds"
    )
    hello_and_install(successor)
    assert outcome() == ("succeeded", "")
    assert successor.memory.software["payment"] == "2.0.0"


def test_what_a_newer_campaign_brought_to_the_device_before_keeps_nothing_from_its_successor(
    terminal: Terminal,
) -> None:
    first = enrolled_device(terminal)
    hello_and_install(first)
    newer = keep_at(ready("2.1.0"), "serial = SN-1", follows=False)
    obey(first, "install")
    deliver(first.finish_install())
    deliver(first.hello())
    assert Member.objects.get(wave__campaign=newer).state == "succeeded"
    campaigns_go_on()
    assert Installation.objects.count() == 2, "the newer one goes before"
    successor = enrolled_device(terminal)
    hello_and_install(successor)
    assert successor.memory.software["payment"] == "2.0.0"
