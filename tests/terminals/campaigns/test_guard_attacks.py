"""Ways around a guard that were tried: the next wave begins against the evidence of the one before, or never."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from time import monotonic
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from psycopg.errors import QueryCanceled

from firmware.models import Installation, Release
from firmware.services import assign_release
from terminals.campaigns import engine, members, planning, rules, services
from terminals.campaigns.models import Campaign, Member, Tally
from terminals.campaigns.reports import Came, report
from terminals.campaigns.rules import Window
from terminals.common.errors import Refusal
from terminals.estate.models import Merchant, Organisation, Store, Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.estate.targets.choosing import matching
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.link.services import send_plain_command
from terminals.simulator.device import Device
from tests.conftest import deliver, in_thread, obey
from tests.terminals.campaigns.conftest import asked, install, proposed, publish, run, started, states

Devices = dict[int, Device]


def waves(campaign: Campaign) -> list[str]:
    return list(campaign.waves.order_by("number").values_list("state", flat=True))


def expire() -> None:
    Command.objects.filter(finished_at=None).update(expires_at=timezone.now() - timedelta(minutes=1))
    expire_commands()


def terminal_of(device: Device) -> Terminal:
    return Terminal.objects.get(serial=device.memory.serial)


def test_trying_the_failed_again_leaves_them_in_doubt(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, waves=[50, 100], retries=0)
    run(campaign)
    first, *others = asked(devices)
    install(first, "no space")
    for device in others:
        install(device)
    run(campaign)
    assert (campaign.state, waves(campaign)) == ("paused", ["stopped", "planned"])
    services.retry_failed(campaign=campaign, user=ann)
    services.resume(campaign=campaign, user=ann)
    run(campaign)
    assert waves(campaign) == ["running", "planned"], "it waits for the one that is tried again"
    install(asked(devices)[0])
    run(campaign)
    assert waves(campaign) == ["held", "running"]


def test_failures_do_not_hide_behind_their_retries(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, waves=[50, 100], soak_minutes=60)
    run(campaign)
    bad, *others = asked(devices)
    for device in others:
        install(device)
    install(bad, "no space")
    run(campaign)
    run(campaign, after=timedelta(minutes=31))
    install(bad, "no space")
    run(campaign, after=timedelta(minutes=92))
    assert waves(campaign)[1] == "planned"


@pytest.mark.parametrize("transition", [TerminalTransition.suspend, TerminalTransition.retire])
def test_who_leaves_service_after_it_was_asked_counts_against_the_guard(
    devices: Devices, release: Release, ann: User, bob: User, transition: Any
) -> None:
    campaign = started(release, ann, bob, waves=[50, 100], retries=0, sample_percent=100)
    run(campaign)
    one, two, *bricked = asked(devices)
    install(one)
    install(two)
    for device in bricked:
        obey(device, "install")
        deliver(device.finish_install())
        change_state(terminal=terminal_of(device), transition=transition, actor="ann")
    run(campaign, after=timedelta(hours=3))
    assert waves(campaign) == ["stopped", "planned"]
    assert states(campaign) == {"succeeded": 2, "left_out": 3, "planned": 5}


def test_something_else_that_was_installed_is_no_success(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[50, 100])
    run(campaign)
    mine = asked(devices)
    for device in mine:
        install(device, "no space")
    assign_release(release=publish("3.0.0"), terminals=[terminal_of(device) for device in mine], actor="ops")
    for device in mine:
        install(device)
    run(campaign)
    assert "succeeded" not in states(campaign)


def test_who_falls_back_while_it_soaks_has_failed(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, waves=[50, 100], soak_minutes=60)
    run(campaign)
    mine = asked(devices)
    for device in mine:
        install(device)
    run(campaign)
    Installation.objects.update(finished_at=timezone.now() - timedelta(minutes=20))
    for device in mine:
        device.memory.software = {"payment": "1.0.0"}
    deliver(*(device.hello() for device in mine))
    assert states(campaign) == {"failed": 5, "planned": 5}
    run(campaign, after=timedelta(minutes=62))
    assert (campaign.state, waves(campaign)) == ("paused", ["stopped", "planned"])


def test_a_retired_canary_does_not_hold_up_its_campaign(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    Terminal.objects.filter(serial="SN-1").update(tags=["canary"])
    campaign = started(release, ann, bob, canary="tag = canary", deadline_days=180)
    change_state(terminal=Terminal.objects.get(serial="SN-1"), transition=TerminalTransition.retire, actor="ann")
    run(campaign)
    assert Member.objects.get(wave__number=1, wave__campaign=campaign).state == "left_out"
    assert campaign.state == "paused", "nobody tried it"


def test_one_that_was_too_slow_for_its_answer_has_it_all_the_same(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[50, 100], retries=0, soak_minutes=60)
    run(campaign)
    for device in asked(devices):
        obey(device, "install")
    mine = [device for device in devices.values() if device.pending_install]
    deliver(*(device.installing(90) for device in mine))
    expire()  # the window closes at 90 per cent
    assert states(campaign) == {"failed": 5, "planned": 5}
    for device in mine:
        deliver(device.finish_install(), device.hello())
    assert states(campaign) == {"succeeded": 5, "planned": 5}
    run(campaign)
    assert campaign.state == "running"


def test_who_is_switched_off_is_waited_for_and_uses_up_no_attempt(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[50, 100])
    run(campaign)
    _off, *others = asked(devices)
    for device in others[:2]:
        install(device)
    for hours in (1, 2, 3, 4, 5):
        expire()
        run(campaign, after=timedelta(hours=hours))
    assert campaign.state == "running"
    assert "failed" not in states(campaign)
    assert set(Member.objects.filter(state="ordered").values_list("attempt", "failures")) == {(1, 0)}


# --- others ----------------------------------------------------------------------------------------------------------
def test_an_earlier_campaigns_command_does_not_speak_for_a_later_one(devices: Devices, ann: User, bob: User) -> None:
    def send(name: str) -> Campaign:
        campaign = planning.propose(
            name=name,
            kind="command",
            arguments={"command": "ping"},
            text="serial = SN-1",
            settings={"waves": [100], "soak_minutes": 0, "per_minute": 1000, "retries": 0},
            user=ann,
        )
        services.start(campaign=campaign, user=ann)
        run(campaign)
        return campaign

    earlier = send("earlier")
    old = Command.objects.get(type="ping")
    Command.objects.filter(pk=old.pk).update(state="sent", attempts=1)
    services.cancel(campaign=earlier, user=ann)
    run(earlier, after=timedelta(minutes=121))
    later = send("later")
    assert states(later) == {"ordered": 1}
    Command.objects.filter(pk=old.pk).update(
        expires_at=timezone.now() - timedelta(minutes=1), answered_at=timezone.now()
    )
    expire_commands()
    assert states(later) == {"ordered": 1}


def test_an_unlock_by_hand_is_not_undone(devices: Devices, ann: User, bob: User) -> None:
    campaign = planning.propose(
        name="Lock",
        kind="command",
        arguments={"command": "lock"},
        text="serial = SN-1",
        settings={"waves": [100], "soak_minutes": 0, "per_minute": 1000},
        user=ann,
    )
    services.approve(campaign=campaign, digest=campaign.digest, user=bob)
    services.start(campaign=campaign, user=ann)
    run(campaign)
    send_plain_command(terminal=Terminal.objects.get(serial="SN-1"), command_type="unlock", actor="ann")
    run(campaign, after=timedelta(hours=5))
    assert states(campaign) == {"left_out": 1}
    assert Command.objects.filter(type="lock").count() == 1


def test_a_statement_that_is_too_slow_holds_up_no_other_campaign(
    devices: Devices, release: Release, ann: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = started(release, ann, bob, text="serial = SN-1")
    other = started(publish("3.0.0"), ann, bob, text="serial = SN-2")
    real = engine.step

    def step(campaign_id: int, now: datetime) -> int:
        if campaign_id == slow.pk:
            raise OperationalError("canceling statement due to statement timeout") from QueryCanceled()
        return real(campaign_id, now)

    monkeypatch.setattr(engine, "step", step)
    engine.run_campaigns(until=monotonic() + 5)
    assert waves(other) == ["running"]


def test_a_roll_back_leaves_alone_what_a_newer_campaign_brought(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    first = started(release, ann, bob)
    run(first)
    for device in asked(devices):
        install(device)
    newer = started(publish("3.0.0"), ann, bob, text="serial = SN-1")
    run(newer)
    install(asked(devices)[0])
    [back] = services.roll_back(campaign=first, user=ann)
    assert back.total == 9
    with pytest.raises(Refusal, match="being rolled back already"):
        services.roll_back(campaign=first, user=ann)
    Campaign.objects.filter(pk=first.pk).update(state="paused", finished_at=None)
    with pytest.raises(Refusal, match="cancel the roll back first"):
        services.resume(campaign=first, user=ann)
    services.cancel(campaign=back, user=ann)
    services.resume(campaign=first, user=ann)


def test_what_a_cancelled_campaign_sent_is_followed_however_long_the_worker_was_away(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, text="serial = SN-1")
    run(campaign)
    Command.objects.filter(type="install").update(state="sent", attempts=1)
    services.cancel(campaign=campaign, user=ann)
    Campaign.objects.update(finished_at=timezone.now() - timedelta(days=30))
    Member.objects.update(due_at=timezone.now() - timedelta(days=29))
    engine.run_campaigns(until=monotonic() + 5)
    assert states(campaign) == {"failed": 1}


def test_a_campaign_moves_with_its_part_of_the_tree(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = proposed(release, ann)
    organisation = Organisation.objects.create(name="Elsewhere")
    merchant = Merchant.objects.get()
    merchant.organisation = organisation
    merchant.save()
    campaign.refresh_from_db()
    store = Store.objects.get()
    assert campaign.path == store.path
    assert campaign.path.startswith(organisation.path)


def test_a_window_in_the_gap_of_spring_does_not_open(db: None) -> None:
    window = Window((1, 2, 3, 4, 5, 6, 7), time(2, 15), time(2, 45))
    before = datetime(2027, 3, 28, 0, 30, tzinfo=UTC)
    opens = rules.opens_at(window, "Europe/Berlin", before)
    assert opens == datetime(2027, 3, 29, 0, 15, tzinfo=UTC)
    assert rules.closes_at(window, "Europe/Berlin", datetime(2027, 3, 28, 1, 20, tzinfo=UTC)) == datetime(
        2027, 3, 28, 1, 20, tzinfo=UTC
    )
    wide = Window((7,), time(2, 15), time(4, 0))
    assert rules.opens_at(wide, "Europe/Berlin", before) == datetime(2027, 3, 28, 1, 0, tzinfo=UTC)


def test_who_says_later_for_ever_is_asked_four_times_an_hour_at_most(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, text="serial = SN-1")
    run(campaign)
    member = Member.objects.get()
    report({(member.terminal_id, campaign.pk): Came(False, "later", later=timezone.now() - timedelta(days=900))})
    member.refresh_from_db()
    assert member.state == "waiting"
    assert member.due_at is not None
    assert member.due_at > timezone.now() + timedelta(minutes=14)


def test_two_who_report_on_a_wave_do_not_wait_for_each_other(
    transactional_db: None, devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob)
    run(campaign)
    one, two, three, four = Member.objects.order_by("pk").values_list("terminal_id", flat=True)[:4]
    bad = Came(False, "storage", final=True)

    def say(came: dict[tuple[int, int], Came]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            report(came)

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        report({(one, campaign.pk): Came(True), (two, campaign.pk): bad})  # and is not committed yet
        pool.submit(in_thread, lambda: say({(three, campaign.pk): bad, (four, campaign.pk): Came(True)})).result(30)
    assert states(campaign) == {"succeeded": 2, "failed": 2, "ordered": 6}


def test_tallies_are_summed_up_before_they_are_many(
    devices: Devices, release: Release, ann: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "MOST_ROWS", 4)
    campaign = started(release, ann, bob)
    run(campaign)
    for device in asked(devices):
        install(device)
    before = states(campaign)
    assert Tally.objects.count() > 4
    engine.step(campaign.pk, timezone.now())
    assert Tally.objects.count() == 1
    assert states(campaign) == before == {"succeeded": 10}


def test_a_release_that_makes_terminals_restart_again_and_again_is_stopped(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[50, 100], soak_minutes=10)
    run(campaign)
    mine = asked(devices)
    for device in mine:
        install(device)
    run(campaign)
    for _ in range(4):
        for device in mine[:3]:
            device.boot()
            deliver(device.hello())
    run(campaign, after=timedelta(minutes=12))
    assert (campaign.state, waves(campaign)) == ("paused", ["stopped", "planned"])
    [wave, _rest] = campaign.waves.order_by("number")
    assert [one["about"] for one in wave.unmet] == ["restarts"]
    assert matching(Terminal.objects.all(), "restarts >= 4", ann).count() == 3


def test_failures_that_are_retired_meanwhile_stay_in_the_count(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[50, 100], worse_percent=100)
    run(campaign)
    first, second, *others = asked(devices)
    for device in others:
        install(device)
    for device in (first, second):
        install(device, "no space")
        change_state(terminal=terminal_of(device), transition=TerminalTransition.retire, actor="ann")
    run(campaign, after=timedelta(hours=2))
    assert (campaign.state, waves(campaign)) == ("paused", ["stopped", "planned"])
    services.retry_failed(campaign=campaign, user=ann)
    services.resume(campaign=campaign, user=ann)
    run(campaign, after=timedelta(hours=3))
    assert (campaign.state, waves(campaign)) == ("paused", ["stopped", "planned"])


def test_one_that_says_what_came_of_it_after_it_was_given_another_turn_has_it(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[50, 100], retries=0)
    run(campaign)
    mine = asked(devices)
    for device in mine:
        obey(device, "install")
    run(campaign, after=timedelta(hours=3))
    assert states(campaign) == {"failed": 5, "planned": 5}
    services.retry_failed(campaign=campaign, user=ann)
    for device in mine:
        deliver(device.finish_install(), device.hello())
    assert states(campaign) == {"succeeded": 5, "planned": 5}


def test_what_another_campaign_brought_is_no_success_of_the_one_that_failed(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, retries=0, success_percent=0)
    run(campaign)
    for device in asked(devices):
        install(device, "no space")
    run(campaign)
    assert states(campaign) == {"failed": 10}
    newer = started(publish("2.1.0"), ann, bob)
    run(newer)
    for device in asked(devices):
        install(device)
    assert (states(campaign), states(newer)) == ({"failed": 10}, {"succeeded": 10})
