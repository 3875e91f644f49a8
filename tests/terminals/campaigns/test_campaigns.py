"""A campaign from proposal to end: two persons, waves, guards, windows, tries, and what is left when it is stopped."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from firmware.models import Installation, Release
from terminals.campaigns import planning, services
from terminals.campaigns.models import Campaign, Member
from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.common.words import sentence
from terminals.estate.models import Store, Terminal, TerminalModel
from terminals.estate.targets.choosing import matching
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.link.services import send_plain_command
from terminals.simulator.device import Device
from tests.conftest import deliver, obey
from tests.terminals.campaigns.conftest import asked, install, proposed, publish, run, started, states

Devices = dict[int, Device]


def test_two_persons_release_and_every_terminal_runs_it(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = proposed(release, ann)
    with pytest.raises(Refusal, match="somebody else must agree"):
        services.start(campaign=campaign, user=ann)
    with pytest.raises(Refusal, match="whoever proposed a campaign does not agree"):
        services.approve(campaign=campaign, digest=campaign.digest, user=ann)
    with pytest.raises(Refusal, match="that is not what is proposed"):
        services.approve(campaign=campaign, digest="0" * 64, user=bob)
    services.approve(campaign=campaign, digest=campaign.digest, user=bob)
    services.start(campaign=campaign, user=ann)
    run(campaign)
    assert (states(campaign), len(asked(devices))) == ({"ordered": 10}, 10)
    for device in asked(devices):
        install(device)
    assert states(campaign) == {"succeeded": 10}
    run(campaign)
    assert (campaign.state, campaign.waves.get().state) == ("done", "held")
    told = Fact.objects.filter(kind="campaign.ended").first()
    assert told is not None
    assert text_of(told.kind, told.body) == "campaign Release two: succeeded"
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert actions >= {"campaign.propose", "campaign.approve", "campaign.start", "campaign.install"}
    assert AuditEntry.objects.filter(action="campaign.install").count() == 10


def test_the_database_refuses_a_start_that_one_person_wants(devices: Devices, release: Release, ann: User) -> None:
    campaign = proposed(release, ann)
    alone: list[dict[str, Any]] = [
        {},
        {"approved_by": ann, "approved_digest": campaign.digest},
        {"approved_by": User.objects.create(username="eve"), "approved_digest": "x"},
    ]
    for columns in alone:
        with pytest.raises(IntegrityError, match="campaign_started_by_two"), transaction.atomic():
            Campaign.objects.filter(pk=campaign.pk).update(state="running", **columns)


def test_a_wave_waits_for_the_guard_of_the_one_before(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, waves=[10, 50, 100], soak_minutes=30)
    run(campaign)
    assert states(campaign) == {"ordered": 1, "planned": 9}
    run(campaign, after=timedelta(minutes=20))
    assert states(campaign) == {"ordered": 1, "planned": 9}, "nobody has an outcome"
    install(asked(devices)[0])
    run(campaign)
    assert campaign.waves.get(number=1).state == "soaking"
    run(campaign, after=timedelta(minutes=29))
    assert states(campaign) == {"succeeded": 1, "planned": 9}, "it soaks"
    run(campaign, after=timedelta(minutes=32))
    assert states(campaign) == {"succeeded": 1, "ordered": 4, "planned": 5}


def test_failures_stop_the_wave_and_nobody_else_is_asked(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[40, 100], retries=0)
    run(campaign)
    first, *others = asked(devices)
    install(first, "no space left")
    run(campaign)
    wave = campaign.waves.get(number=1)
    assert (campaign.state, wave.state) == ("paused", "stopped")
    assert wave.unmet == [{"why": "failures", "found": 25, "limit": 5, "about": ""}]
    for device in others:
        install(device)
    run(campaign, after=timedelta(hours=1))
    assert states(campaign) == {"failed": 1, "succeeded": 3, "planned": 6}, "paused: those who were asked go on"
    services.resume(campaign=campaign, user=ann)
    run(campaign)
    assert (campaign.state, states(campaign)["planned"]) == ("paused", 6), "it is looked at again, and does not hold"
    with pytest.raises(Refusal, match="write why"):
        services.force(campaign=campaign, reason=" ", user=bob)
    with pytest.raises(Refusal, match="whoever proposed a campaign does not go on against its guard"):
        services.force(campaign=campaign, reason="it is mine", user=ann)
    services.force(campaign=campaign, reason="one broken unit", user=bob)
    run(campaign)
    assert (campaign.state, states(campaign).get("planned")) == ("running", None)
    assert AuditEntry.objects.get(action="campaign.force").detail["reason"] == "one broken unit"


def test_what_it_does_to_terminals_shows_while_it_soaks(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[40, 100], soak_minutes=10)
    run(campaign)
    for device in asked(devices):
        device.faults = device.faults._replace(of_releases=frozenset({"kills_printer@2.0.0"}))
        install(device)
        deliver(device.health())
    run(campaign)
    run(campaign, after=timedelta(minutes=12))
    wave = campaign.waves.get(number=1)
    assert (campaign.state, wave.state) == ("paused", "stopped")
    assert [(one["why"], one["about"], one["found"]) for one in wave.unmet] == [("worse", "printer", 100)]
    measured = {one["name"]: one for one in wave.measured}
    assert (measured["printer"]["before"], measured["printer"]["after"], measured["printer"]["peers"]) == (0, 4, 0)


def test_a_roll_back_brings_what_was_there_before_and_needs_two_persons_too(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, waves=[40, 100])
    run(campaign)
    for device in asked(devices):
        install(device)
    services.pause(campaign=campaign, user=ann)
    (back,) = services.roll_back(campaign=campaign, user=ann)
    assert (back.total, back.rolls_back, back.needs_approval) == (4, campaign, True)
    assert Release.objects.get(pk=back.arguments["release"]).version == "1.0.0"
    services.approve(campaign=back, digest=back.digest, user=bob)
    services.start(campaign=back, user=ann)
    run(back)
    for device in asked(devices):
        install(device)
    assert states(back) == {"succeeded": 4}
    with pytest.raises(Refusal, match="nobody knows what its terminals had before"):
        services.roll_back(campaign=proposed(release, ann, "serial = SN-9"), user=ann)


def test_a_terminal_that_fails_is_tried_again_later_and_one_that_refuses_is_not(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, text="serial = SN-1", retries=1, retry_minutes=30, success_percent=0)
    run(campaign)
    (device,) = asked(devices)
    install(device, "download failed")
    member = Member.objects.get()
    assert (member.state, member.attempt, member.code) == ("waiting", 1, "download")
    run(campaign)
    assert states(campaign) == {"waiting": 1}, "not before its time"
    run(campaign, after=timedelta(minutes=31))
    assert states(campaign) == {"ordered": 1}
    install(device, "download failed")
    assert states(campaign) == {"failed": 1}
    device.faults = device.faults._replace(rejected_install=True)
    assert services.retry_failed(campaign=campaign, user=ann) == 1
    run(campaign, after=timedelta(minutes=32))
    obey(device, "install")
    member.refresh_from_db()
    assert (member.state, member.attempt) == ("failed", 1), "what it refuses is not sent again"


def test_one_that_does_not_come_back_in_time_has_failed(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, text="serial = SN-1", retries=0, timeout_minutes=60, success_percent=0)
    run(campaign)
    (device,) = asked(devices)
    obey(device, "install")
    deliver(device.finish_install())
    assert states(campaign) == {"ordered": 1}, "installed; whether it runs, its hello must say"
    run(campaign, after=timedelta(minutes=62))
    member = Member.objects.get()
    assert (member.state, member.code, member.reason) == (
        "failed",
        "not_back",
        "it did not come back within 60 minutes",
    )
    deliver(device.hello())
    assert states(campaign) == {"failed": 1}, "one outcome each"


def test_a_terminal_that_is_switched_off_gets_it_later(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, text="serial = SN-1", retries=3, retry_minutes=60)
    run(campaign)
    Command.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    expire_commands()
    assert states(campaign) == {"waiting": 1}
    run(campaign, after=timedelta(minutes=61))
    (device,) = asked(devices)
    install(device)
    assert states(campaign) == {"succeeded": 1}


def test_whom_nobody_reached_by_the_deadline_is_left_out(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(
        release,
        ann,
        bob,
        text="serial = SN-1",
        deadline_days=1,
        success_percent=0,
        window={"days": [1, 2, 3, 4, 5, 6, 7], "opens": "01:00", "closes": "01:01"},
    )
    run(campaign)
    assert Member.objects.get().code == "window"
    run(campaign, after=timedelta(days=2))
    assert (Member.objects.get().state, Member.objects.get().code) == ("left_out", "deadline")
    run(campaign, after=timedelta(days=2))
    assert campaign.state == "done"


def test_each_terminal_is_touched_by_its_own_clock(devices: Devices, release: Release, ann: User, bob: User) -> None:
    now = timezone.now()
    local = {"opens": f"{(now + timedelta(hours=9)):%H:%M}", "closes": f"{(now + timedelta(hours=11)):%H:%M}"}
    Store.objects.update(time_zone="Asia/Tokyo")  # UTC+9, no daylight saving: open now
    elsewhere = Store.objects.create(name="Away", merchant=Store.objects.get().merchant, time_zone="Etc/UTC")
    away = sorted(devices)[:4]
    Terminal.objects.filter(pk__in=away).update(store=elsewhere)
    campaign = started(release, ann, bob, window={"days": [1, 2, 3, 4, 5, 6, 7], **local}, timeout_minutes=1440)
    run(campaign)
    assert states(campaign) == {"ordered": 6, "waiting": 4}
    assert set(Member.objects.filter(state="waiting", code="window").values_list("terminal_id", flat=True)) == set(away)
    run(campaign, after=timedelta(hours=9, minutes=30))
    assert states(campaign) == {"ordered": 10}


def test_no_more_are_asked_than_the_rate_and_the_limit_allow(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, per_minute=4)
    run(campaign)
    assert states(campaign) == {"ordered": 4, "waiting": 6}
    run(campaign, after=timedelta(minutes=2))
    assert states(campaign) == {"ordered": 8, "waiting": 2}
    services.cancel(campaign=campaign, user=ann)
    other = started(publish("3.0.0"), ann, bob, at_once=3)
    run(other)
    assert states(other) == {"ordered": 3, "waiting": 7}
    install(asked(devices)[0])
    run(other, after=timedelta(minutes=2))
    assert states(other) == {"succeeded": 1, "ordered": 3, "waiting": 6}


def test_a_newer_campaign_takes_waiting_terminals_and_leaves_those_under_way(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    older = started(release, ann, bob, per_minute=4)
    run(older)
    newer_release = publish("3.0.0")
    preview = planning.preview(
        kind="install", arguments={"release": newer_release.pk}, text="state = active", settings={}, user=ann
    )
    assert (preview.total, preview.superseded) == (10, 6)
    newer = started(newer_release, ann, bob)
    run(newer)
    assert states(older) == {"ordered": 4, "superseded": 6}
    assert states(newer) == {"ordered": 6, "planned": 4}, "what is under way has its outcome first"
    for device in asked(devices):
        install(device)
    run(newer, after=timedelta(minutes=1))
    for device in asked(devices):
        install(device)
    assert states(newer) == {"succeeded": 10}
    why = {one.reason for one in Member.objects.filter(state="superseded")}
    assert why == {"campaign Release two moves the same there"}


def test_a_cancelled_campaign_takes_back_what_nobody_has_seen(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, per_minute=4)
    run(campaign)
    seen = asked(devices)[0]
    Command.objects.filter(pk=Command.objects.filter(state="queued", type="install").earliest("pk").pk).update(
        state="sent", attempts=1
    )
    done = services.cancel(campaign=campaign, user=ann)
    assert (done.taken_back, done.under_way) == (9, 1)
    campaign.refresh_from_db()
    assert (campaign.state, states(campaign)) == ("cancelled", {"cancelled": 9, "ordered": 1})
    install(seen)
    assert states(campaign) == {"cancelled": 9, "succeeded": 1}
    with pytest.raises(Refusal, match="the campaign is cancelled by now"):
        services.start(campaign=campaign, user=ann)


def test_who_cannot_have_it_is_left_out_with_the_reason(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    first = min(devices)
    Installation.objects.create(terminal_id=first, release=release, assigned_by="ops")
    campaign = started(release, ann, bob)
    run(campaign)
    member = Member.objects.get(state="waiting")
    assert (member.terminal_id, member.reason) == (first, "an installation is under way"), "that passes"
    assert states(campaign) == {"waiting": 1, "ordered": 9}
    Installation.objects.filter(terminal=first).update(state="installed")
    Terminal.objects.filter(pk=first).update(model=TerminalModel.objects.create(vendor="X", name="Y", platform="other"))
    run(campaign, after=timedelta(minutes=12))
    member.refresh_from_db()
    assert (member.state, member.code) == ("left_out", "wrong_platform")
    assert member.reason == "its platform is not linux-arm64"


def test_canaries_come_first(devices: Devices, release: Release, ann: User, bob: User) -> None:
    canaries = sorted(devices)[3:5]
    Terminal.objects.filter(pk__in=canaries).update(tags=["canary"])
    campaign = proposed(release, ann, canary="tag = canary", waves=[50, 100])
    numbers = dict(Member.objects.filter(wave__campaign=campaign).values_list("terminal_id", "wave__number"))
    assert {pk for pk, number in numbers.items() if number == 1} == set(canaries)
    assert sorted(numbers.values()) == [1] * 2 + [2] * 4 + [3] * 4
    assert [wave.total for wave in campaign.waves.all()] == [2, 4, 4]


def test_waves_by_a_filter_each_come_first_in_their_order(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    first, second, third = sorted(devices)[:3]
    Terminal.objects.filter(pk__in=(first, second)).update(tags=["lab"])
    Terminal.objects.filter(pk__in=(second, third)).update(tags=["lab", "pilot"])
    waves = [{"filter": "tag = pilot", "success_percent": 100}, {"filter": "tag = lab"}, {"percent": 50}, 100]
    campaign = proposed(release, ann, waves=waves)
    numbers = dict(Member.objects.filter(wave__campaign=campaign).values_list("terminal_id", "wave__number"))
    assert [numbers[pk] for pk in (first, second, third)] == [2, 1, 1], "who passes several is in the first of them"
    assert [wave.total for wave in campaign.waves.all()] == [2, 1, 4, 3]
    assert [wave.guard["success_percent"] for wave in campaign.waves.all()] == [100, 95, 95, 95]


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"settings": {"waves": [{"filter": "tag = nobody"}, 100]}},
        "no terminal passes the filter of a wave: tag = nobody",
    ),
    ({"text": " "}, "say which terminals"),
    ({"text": "serial = NOBODY"}, "no terminal passes"),
    ({"name": ""}, "a name has 1 to 80"),
    ({"kind": "bread"}, "no campaign moves 'bread'"),
    ({"arguments": {"release": 0}}, "release: choose one by its id"),
    ({"settings": {"waves": [7]}}, "the last is 100"),
]


def test_a_campaign_that_cannot_be_is_refused_and_nothing_is_kept(
    devices: Devices, release: Release, ann: User
) -> None:
    usual = {"name": "x", "kind": "install", "text": "state = active", "settings": {}}
    for change, told in REFUSED:
        said: dict[str, Any] = {**usual, "arguments": {"release": release.pk}, **change}
        with pytest.raises(Refusal, match=told):
            planning.propose(user=ann, **said)
    assert not Campaign.objects.exists()


def test_statements_do_not_grow_with_the_terminals(devices: Devices, release: Release, ann: User, bob: User) -> None:
    numbers = []
    for text, version in (("serial in (SN-1, SN-2)", "4.0.0"), ("not serial in (SN-1, SN-2)", "5.0.0")):
        campaign = started(publish(version), ann, bob, text=text)
        counted = []
        for _ in range(2):  # it begins, and asks
            with CaptureQueriesContext(connection) as queries:
                run(campaign, steps=1)
            counted.append(len(queries))
        numbers.append(counted)
    assert numbers[0] == numbers[1]


def test_a_filter_asks_for_a_campaigns_terminals(devices: Devices, release: Release, ann: User, bob: User) -> None:
    campaign = started(release, ann, bob, text="serial in (SN-1, SN-2)", per_minute=1)
    run(campaign)
    found = {
        text: sorted(matching(Terminal.objects.all(), text, ann).values_list("serial", flat=True))
        for text in (
            f"campaign = {campaign.pk}",
            "campaign_state = ordered",
            "campaign != 0 and campaign_state = waiting",
        )
    }
    assert [len(serials) for serials in found.values()] == [2, 1, 1]
    assert found[f"campaign = {campaign.pk}"] == ["SN-1", "SN-2"]


def test_a_terminal_that_says_later_is_asked_again_then_and_has_used_up_no_attempt(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    campaign = started(
        release, ann, bob, text="serial = SN-1", retries=0, conditions={"no_open_batch": True, "battery_percent": 1}
    )
    run(campaign)
    (device,) = asked(devices)
    assert device.sell()
    obey(device, "install")
    member = Member.objects.get()
    assert (member.state, member.attempt, member.code) == ("waiting", 0, "later")
    assert "a batch is open" in member.reason
    assert member.due_at is not None
    assert timedelta(minutes=14) < member.due_at - timezone.now() < timedelta(minutes=16)
    device.memory.batch.clear()
    run(campaign, after=timedelta(minutes=16))
    install(device)
    assert states(campaign) == {"succeeded": 1}


def test_a_terminals_page_and_bulk_work_lead_to_campaigns(
    devices: Devices, release: Release, ann: User, bob: User, client: Client
) -> None:
    campaign = started(release, ann, bob)
    client.force_login(ann)
    page = client.get(reverse("terminal-page", args=[min(devices)]), {"tab": "software"}).content.decode()
    assert f'id="campaign-{campaign.pk}"' in page
    wanted = {"filter": "state = active", "verb": "install", "release": release.pk, "preview": "1"}
    bulk = client.post(reverse("bulk"), wanted).content.decode()
    address = bulk.partition(f'href="{reverse("campaign-new")}?')[2].partition('"')[0].replace("&amp;", "&")
    form = client.get(f"{reverse('campaign-new')}?{address}").context["form"]
    assert (form["filter"].value(), int(form["release"].value())) == ("state = active", release.pk)


def test_a_command_goes_in_waves_too_and_one_by_hand_does_not_count(devices: Devices, ann: User, bob: User) -> None:
    said: dict[str, Any] = {"name": "Restart", "kind": "command", "text": "state = active", "user": ann}
    said |= {
        "arguments": {"command": "reboot"},
        "settings": {"waves": [20, 100], "soak_minutes": 0, "per_minute": 1000},
    }
    with pytest.raises(Refusal, match="terminals hold no conditions against command"):
        planning.propose(**{**said, "settings": {"conditions": {"idle": True}}})
    with pytest.raises(Refusal, match="cannot be sent as it is"):
        planning.propose(**{**said, "arguments": {"command": "settle"}})
    assert not planning.propose(**{**said, "arguments": {"command": "ping"}}).needs_approval
    campaign = planning.propose(**said)
    services.approve(campaign=campaign, digest=campaign.digest, user=bob)
    services.start(campaign=campaign, user=ann)
    run(campaign)
    ordered = set(Member.objects.filter(state="ordered").values_list("terminal_id", flat=True))
    assert len(ordered) == 2
    first = Terminal.objects.get(pk=min(ordered))
    theirs = Command.objects.get(terminal=first, type="reboot")
    send_plain_command(terminal=first, command_type="reboot", actor="ann")
    obey(devices[first.pk], "reboot")
    assert states(campaign) == {"ordered": 2, "planned": 8}, "the one by hand is another"
    deliver(*devices[first.pk].receive("", bytes(theirs.payload)))
    assert states(campaign) == {"ordered": 1, "planned": 8, "succeeded": 1}
    obey(devices[max(ordered)], "reboot")
    run(campaign)
    assert states(campaign) == {"succeeded": 2, "ordered": 8}


def test_a_release_is_downloaded_ahead_and_changed_within_the_window(
    devices: Devices, release: Release, ann: User, bob: User
) -> None:
    opens = timezone.now() + timedelta(hours=5)
    window = {"days": [1, 2, 3, 4, 5, 6, 7], "opens": f"{opens:%H:%M}", "closes": f"{opens + timedelta(hours=2):%H:%M}"}
    Store.objects.update(time_zone="UTC")
    campaign = started(release, ann, bob, text="serial = SN-1", window=window, download_ahead=True)
    run(campaign)
    assert states(campaign) == {"ordered": 1}, "it is asked before its window"
    [device] = asked(devices)
    obey(device, "install")
    assert device.pending_install is not None
    told = device.pending_install.body.activate_at
    assert told is not None
    assert told.replace(second=0, microsecond=0) == opens.replace(second=0, microsecond=0)
    command = Command.objects.get(type="install")
    assert abs(command.expires_at - (told + timedelta(hours=2))) < timedelta(minutes=2), "the window's end is its own"
    run(campaign, after=timedelta(hours=4))
    assert states(campaign) == {"ordered": 1}, "nobody is late before the window opened"
    deliver(device.finish_install(), device.hello())
    run(campaign)
    assert campaign.state == "done"
    for settings in ({"download_ahead": True}, {"download_ahead": "yes", "window": window}):
        with pytest.raises(Refusal, match=r"downloaded ahead|true or false"):
            proposed(release, ann, **settings)


def test_what_is_wrong_with_a_setting_is_said_in_the_readers_language(release: Release, ann: User) -> None:
    with pytest.raises(Refusal) as refused:
        proposed(release, ann, retries=99)
    assert sentence(refused.value) == "retries: a whole number from 0 to 20"
    with translation.override("zh-hans"):
        told = sentence(refused.value)
    assert told.startswith("retries")
    assert "whole number" not in told
