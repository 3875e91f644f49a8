"""Several releases as one campaign: each terminal gets them one after the other, what comes next only where the first runs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from firmware.models import Installation, Package, Release
from terminals.campaigns import planning, services
from terminals.campaigns.models import Campaign, Member
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.simulator.device import Device
from tests.conftest import deliver, enrolled_device, obey
from tests.releases import APPROVER, BUILDER, campaigns_go_on, draft, keep_at, ready

Register = Callable[[str], Terminal]


def part(component: str, version: str, **told: Any) -> Release:
    package = Package.objects.get_or_create(name=component, defaults={"component": component})[0]
    return ready(version, f"{component} {version}".encode(), package=package, **told)


@pytest.fixture
def device(register: Register) -> Device:
    device = enrolled_device(register("SN-1"))
    device.memory.software = {"payment": "1.0.0", "os": "4.0.0"}
    deliver(device.hello())
    return device


@pytest.fixture
def parts(device: Device) -> list[Release]:
    return [part("os", "5.0.0"), part("payment", "2.0.0", requires={"os": "5.0.0"})]


def move(parts: list[Release], **settings: object) -> Campaign:
    one, other = (User.objects.get_or_create(username=name, is_superuser=True)[0] for name in (BUILDER, APPROVER))
    campaign = planning.propose(
        name="till 2026.11",
        kind="install",
        arguments={"release": parts[0].pk, "then": [one.pk for one in parts[1:]]},
        text="state = active",
        settings={"waves": [100], "soak_minutes": 0, "per_minute": 100_000, **settings},
        user=one,
    )
    services.approve(campaign=campaign, digest=campaign.digest, user=other)
    services.start(campaign=campaign, user=one)
    campaigns_go_on()
    return campaign


def install(device: Device, failure: str = "") -> None:
    obey(device, "install")
    deliver(device.finish_install(failure))
    deliver(device.hello())
    campaigns_go_on()


def sent() -> list[str]:
    rows = Installation.objects.order_by("pk").select_related("release__package")
    return [f"{one.release.package} {one.state}" for one in rows]


def test_the_next_is_sent_when_the_one_before_runs(device: Device, parts: list[Release]) -> None:
    campaign = move(parts)
    assert campaign.thing == "software:os+payment"
    assert sent() == ["os assigned"]
    install(device)
    assert sent() == ["os installed", "payment assigned"]
    assert Member.objects.get().state == "ordered"
    deliver(device.hello())
    campaigns_go_on()
    assert sent() == ["os installed", "payment assigned"], "it is sent once"
    install(device)
    assert Member.objects.get().state == "succeeded"
    assert device.memory.software == {"payment": "2.0.0", "os": "5.0.0"}
    assert Campaign.objects.get().state == "done"


def test_a_terminal_that_runs_the_first_gets_the_rest_and_one_that_runs_all_is_left_out(
    device: Device, parts: list[Release], register: Register
) -> None:
    other = enrolled_device(register("SN-2"))
    for one, software in ((device, {"os": "5.0.0", "payment": "1.0.0"}), (other, {"os": "5.0.0", "payment": "2.0.0"})):
        one.memory.software = software
        deliver(one.hello())
    move(parts)
    assert sent() == ["payment assigned"]
    assert Member.objects.get(terminal__serial="SN-2").code == "runs_it_already"


def test_a_part_that_fails_keeps_the_next_back(device: Device, parts: list[Release]) -> None:
    move(parts, retries=0)
    install(device, "no space")
    assert sent() == ["os failed"]
    assert Member.objects.get().state == "failed"


def test_it_is_rolled_back_in_the_other_order(device: Device, parts: list[Release]) -> None:
    part("os", "4.0.0")
    part("payment", "1.0.0")
    campaign = move(parts)
    install(device)
    install(device)
    [back] = services.roll_back(campaign=campaign, user=campaign.proposed_by)
    versions = {pk: str(release) for pk, release in Release.objects.in_bulk().items()}
    assert [versions[pk].partition(" (")[0] for pk in (back.arguments["release"], *back.arguments["then"])] == [
        "payment 1.0.0",
        "os 4.0.0",
    ]
    services.approve(campaign=back, digest=back.digest, user=User.objects.get(username=APPROVER))
    services.start(campaign=back, user=campaign.proposed_by)
    campaigns_go_on()
    install(device)
    install(device)
    assert device.memory.software == {"payment": "1.0.0", "os": "4.0.0"}


def test_one_that_loses_a_part_later_has_lost_it(device: Device, parts: list[Release]) -> None:

    move(parts, follows=True, retries=0)
    install(device)
    install(device)
    assert Member.objects.get().state == "succeeded"
    device.memory.software["os"] = "4.0.0"
    Installation.objects.update(finished_at=timezone.now() - timedelta(hours=1))
    deliver(device.hello())
    assert (Member.objects.get().state, Member.objects.get().code) == ("failed", "not_running")


def test_what_cannot_be_moved_as_one_is_refused(device: Device, parts: list[Release]) -> None:
    same, elsewhere, unfinished = part("os", "6.0.0"), part("kernel", "1.0.0", platform="other"), draft("7.0.0")
    for then, told in (
        ([same], "each release is of another component"),
        ([elsewhere], "all releases are for one platform"),
        ([unfinished], "it must be approved"),
    ):
        with pytest.raises(Refusal, match=told):
            move([parts[0], *then])
    with pytest.raises(Refusal, match="then: a list"):
        planning.preview(
            kind="install",
            arguments={"release": parts[0].pk, "then": parts[1].pk},
            text="state = active",
            settings={},
            user=User.objects.create_superuser("ann"),
        )


def test_one_that_has_a_part_in_common_with_another_is_not_started(device: Device, parts: list[Release]) -> None:
    kept = keep_at(parts[1], "serial = SN-1")
    with pytest.raises(Refusal, match="moves a part of this on the same terminals"):
        move(parts)
    services.cancel(campaign=kept, user=kept.proposed_by)
    services.start(campaign=Campaign.objects.latest("pk"), user=kept.proposed_by)


def test_one_that_was_cancelled_between_two_parts_is_sent_no_more_and_holds_nobody(
    device: Device, parts: list[Release]
) -> None:
    campaign = move(parts)
    obey(device, "install")
    services.cancel(campaign=campaign, user=campaign.proposed_by)
    deliver(device.finish_install())
    deliver(device.hello())
    campaigns_go_on()
    assert sent() == ["os installed"]
    assert (Member.objects.get().state, Member.objects.get().code) == ("failed", "in_part")
