"""What a critical reading found: ways around a guard, campaigns that never end, what an older one undoes."""

from datetime import UTC, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.utils import timezone

from firmware.models import Release
from terminals.campaigns import engine, services
from terminals.campaigns.members import Move, move_members
from terminals.campaigns.models import Campaign, Member
from terminals.campaigns.rules import MemberTransition
from terminals.campaigns.settings import checked
from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.facts.models import Fact
from terminals.estate.models import Merchant, Organisation, Store, Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.simulator.device import Device
from tests.conftest import deliver, obey
from tests.terminals.campaigns.conftest import asked, install, publish, run, started, states

Devices = dict[int, Device]


def waves(campaign: Campaign) -> list[str]:
    return list(campaign.waves.order_by("number").values_list("state", flat=True))


def expire() -> None:
    Command.objects.filter(state__in=("queued", "sent")).update(expires_at=timezone.now() - timedelta(minutes=1))
    expire_commands()


def test_trying_failed_terminals_again_is_no_way_around_the_guard(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[40, 100], retries=0)
    run(campaign)
    for device in asked(devices):
        install(device, "no space")
    run(campaign)
    assert waves(campaign) == ["stopped", "planned"]
    services.retry_failed(campaign=campaign, user=ann)
    services.resume(campaign=campaign, user=ann)
    run(campaign)
    assert (waves(campaign), states(campaign)) == (["running", "planned"], {"ordered": 4, "planned": 6})


def test_looking_again_soaks_again(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, waves=[40, 100], retries=0, soak_minutes=60, success_percent=70)
    run(campaign)
    first, second, *_others = asked(devices)
    for device in (first, second):
        install(device, "no space")
    run(campaign)
    assert waves(campaign) == ["stopped", "planned"]
    services.retry_failed(campaign=campaign, user=ann)
    services.resume(campaign=campaign, user=ann)
    run(campaign)
    for device in asked(devices):
        install(device)
    run(campaign)
    assert waves(campaign) == ["soaking", "planned"]


def test_the_step_that_stops_a_wave_asks_nobody(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, waves=[80, 100], retries=0, at_once=4)
    run(campaign)
    install(asked(devices)[0], "no space")
    run(campaign)
    assert (campaign.state, states(campaign)) == ("paused", {"failed": 1, "ordered": 3, "waiting": 4, "planned": 2})


def test_failures_that_come_after_a_wave_held_stop_it_too(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[50, 90, 100], sample_percent=60, retries=0)
    run(campaign)
    first, second, *slow = asked(devices)
    for device in (first, second, slow.pop()):
        install(device)
    run(campaign)
    assert waves(campaign)[:2] == ["held", "running"]
    for device in slow:
        install(device, "no space")
    run(campaign)
    assert (campaign.state, waves(campaign)[0]) == ("paused", "stopped")


def test_a_wave_that_nobody_tried_says_nothing_of_the_next(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    Terminal.objects.filter(pk=min(devices)).update(tags=["canary"])
    campaign = started(release, ann, bob, canary="tag = canary", deadline_days=30)
    run(campaign, steps=1)
    canary = Member.objects.get(wave__number=1)
    move_members([Move(canary.pk, "wrong_platform")], MemberTransition.leave_out, timezone.now())
    run(campaign)
    assert (campaign.state, waves(campaign)) == ("paused", ["stopped", "planned"])
    assert [one["why"] for one in campaign.waves.get(number=1).unmet] == ["sample"]


def test_what_a_cancelled_campaign_has_sent_comes_to_an_end(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, text="serial in (SN-1, SN-2)")
    run(campaign)
    one, _other = asked(devices)
    obey(one, "install")
    deliver(one.finish_install())  # and no hello
    Command.objects.filter(type="install", state="queued").update(state="sent", attempts=1)
    services.cancel(campaign=campaign, user=ann)
    expire()
    run(campaign, after=timedelta(hours=3))
    assert states(campaign) == {"failed": 2}, "nobody is asked again, nobody is waited for without an end"
    newer = started(publish("3.0.0"), ann, bob, text="serial in (SN-1, SN-2)")
    run(newer)
    assert states(newer) == {"ordered": 2}


def test_a_cancelled_campaign_spares_terminals_and_does_not_fail_them(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, retries=0)
    run(campaign)
    assert services.cancel(campaign=campaign, user=ann) == (10, 0)
    assert states(campaign) == {"cancelled": 10}
    assert not Fact.objects.filter(kind="campaign.ended").exists()


def test_cancelling_takes_back_nothing_of_others(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, text="serial = SN-1")
    run(campaign)
    Command.objects.filter(type="install").update(requested_by="ann")  # by hand
    assert services.cancel(campaign=campaign, user=ann) == (0, 1)


def test_an_older_campaign_does_not_undo_a_newer_one(devices: Devices, release: Release, ann: User, bob: User) -> None:
    older = started(release, ann, bob, waves=[10, 100])
    run(older)
    install(asked(devices)[0])
    newer = started(publish("3.0.0"), ann, bob)
    run(newer)
    for device in asked(devices):
        install(device)
    assert states(newer) == {"succeeded": 10}
    run(older)
    assert states(older) == {"succeeded": 1, "superseded": 9}


def test_a_roll_back_pauses_what_it_rolls_back_and_reaches_those_under_way(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[40, 100])
    run(campaign)
    first, *slow = asked(devices)
    install(first)
    (back,) = services.roll_back(campaign=campaign, user=ann)
    campaign.refresh_from_db()
    assert (campaign.state, back.total) == ("paused", 4)
    services.approve(campaign=back, digest=back.digest, user=bob)
    services.start(campaign=back, user=ann)
    run(back)
    for device in slow:
        install(device)
    for _ in range(2):
        run(back, after=timedelta(minutes=2))
        for device in asked(devices):
            install(device)
    assert states(back) == {"succeeded": 4}
    assert {device.memory.software["payment"] for device in devices.values()} == {"1.0.0"}


def test_one_that_came_back_after_all_has_succeeded(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, text="serial = SN-1", timeout_minutes=10, retry_minutes=600)
    run(campaign)
    (device,) = asked(devices)
    obey(device, "install")
    deliver(device.finish_install())
    run(campaign, after=timedelta(minutes=12))
    assert states(campaign) == {"waiting": 1}
    deliver(device.hello())
    assert states(campaign) == {"succeeded": 1}


def test_nothing_begins_after_the_deadline(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, waves=[40, 100], deadline_days=1, retries=0)
    run(campaign)
    install(asked(devices)[0])
    run(campaign, after=timedelta(days=2))
    assert (campaign.state, states(campaign)) == ("done", {"succeeded": 1, "failed": 3, "cancelled": 6})
    with pytest.raises(Refusal, match="the campaign is done by now"):
        services.retry_failed(campaign=campaign, user=ann)


def test_what_is_sent_is_good_no_longer_than_the_window(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    Store.objects.update(time_zone="Etc/UTC")
    now = timezone.now().astimezone(UTC)
    window = {"opens": f"{now - timedelta(hours=1):%H:%M}", "closes": f"{now + timedelta(minutes=30):%H:%M}"}
    campaign = started(
        release, ann, bob, text="serial = SN-1", window={"days": [1, 2, 3, 4, 5, 6, 7], **window}, timeout_minutes=600
    )
    run(campaign)
    command = Command.objects.get(type="install")
    assert command.expires_at - command.created_at <= timedelta(minutes=30)


def test_a_window_of_less_than_a_minute_is_none() -> None:
    with pytest.raises(Refusal, match="two different times"):
        checked({"window": {"days": [1], "opens": "02:00:10", "closes": "02:00:50"}})


def test_who_leaves_service_says_nothing_of_what_was_sent(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, text="serial = SN-1", retries=0)
    run(campaign)
    change_state(terminal=Terminal.objects.get(serial="SN-1"), transition=TerminalTransition.retire, actor="ops")
    run(campaign, after=timedelta(hours=3))
    assert states(campaign) == {"left_out": 1}


def test_a_campaign_that_cannot_go_on_says_so_and_one_that_met_another_is_tried_again(
    devices: Devices, release: Release, ann: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = started(release, ann, bob)

    def fails(error: Exception) -> Any:
        def step(*_: object) -> int:
            raise error

        return step

    monkeypatch.setattr(engine, "step", fails(IntegrityError("one_open_installation")))
    engine.run_campaigns(9e9)
    campaign.refresh_from_db()
    assert campaign.state == "running"
    monkeypatch.setattr(engine, "step", fails(ZeroDivisionError()))
    engine.run_campaigns(9e9)
    campaign.refresh_from_db()
    assert (campaign.state, AuditEntry.objects.filter(action="campaign.error").count()) == ("paused", 1)


def test_a_terminal_that_was_moved_elsewhere_is_left_alone(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob)
    far = Merchant.objects.create(name="Far", mid="77", organisation=Organisation.objects.create(name="Far away"))
    store = Store.objects.create(merchant=far, name="Away")
    Terminal.objects.filter(serial="SN-3").update(store=store)
    run(campaign)
    left = Member.objects.get(state="left_out")
    assert (left.terminal.serial, left.code) == ("SN-3", "moved_elsewhere")
    assert states(campaign) == {"left_out": 1, "ordered": 9}
