"""Campaigns that follow: who comes later is included, in its wave, by those who may do it, and at no cost of the fleet."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from firmware.models import Release
from terminals.campaigns import engine, planning, services
from terminals.campaigns.following import join_newcomers, nobody_joins, note_newcomers
from terminals.campaigns.models import Campaign, Member, Newcomer, Tally
from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.estate.models import Membership, Merchant, Store, Terminal
from terminals.keys import moving as key_moving
from terminals.keys.models import TerminalKey
from terminals.simulator.device import Device
from tests.conftest import deliver, enrolled_device, working_device
from tests.releases import campaigns_go_on
from tests.terminals.campaigns.conftest import install, proposed, publish, run, started, states

Register = Callable[[str], Terminal]


def arrive(terminal: Terminal) -> Device:
    """Let a terminal enrol and say hello, and campaigns go on."""
    device = enrolled_device(terminal)
    deliver(device.hello())
    campaigns_go_on()
    return device


def test_who_comes_later_is_included_and_a_frozen_campaign_takes_nobody(
    devices: dict[int, Device], release: Release, ann: User, bob: User, register: Register
) -> None:
    frozen = started(release, ann, bob)
    campaign = started(release, ann, bob, follows=True)
    late = arrive(register("SN-LATE"))
    for one in (frozen, campaign):
        one.refresh_from_db()
    assert (frozen.total, campaign.total, campaign.ends_at) == (10, 11, None)
    install(late)
    assert Member.objects.get(terminal__serial="SN-LATE").state == "succeeded"
    assert sum(states(campaign).values()) == 11
    run(campaign)
    assert campaign.state == "running"


def test_who_comes_between_proposing_and_starting_is_included(
    devices: dict[int, Device], release: Release, ann: User, bob: User, register: Register
) -> None:
    campaign = proposed(release, ann, follows=True)
    arrive(register("SN-LATE"))
    services.approve(campaign=campaign, digest=campaign.digest, user=bob)
    services.start(campaign=campaign, user=ann)
    assert Member.objects.filter(terminal__serial="SN-LATE").exists()


def test_who_comes_later_waits_for_the_guards_of_the_waves_before(
    devices: dict[int, Device], release: Release, ann: User, bob: User, register: Register
) -> None:
    campaign = started(release, ann, bob, follows=True, waves=[10, 100], soak_minutes=60)
    arrive(register("SN-LATE"))
    member = Member.objects.get(terminal__serial="SN-LATE")
    assert (member.wave.number, member.state) == (2, "planned")
    assert states(campaign)["planned"] == 10


def test_a_filter_that_nobody_passes_yet_may_be_followed(
    release: Release, ann: User, bob: User, register: Register
) -> None:
    for waves in ({"canary": "tag = pilot"}, {"waves": [{"filter": "tag = pilot"}, 100]}):
        with pytest.raises(Refusal, match="nobody can come first"):
            proposed(release, ann, "tag = new or state = active", follows=True, **waves)
    campaign = started(release, ann, bob, "tag = new or state = active", follows=True, waves=[1, 100])
    assert (campaign.total, campaign.path, campaign.waves.count()) == (0, "", 1)
    device = arrive(register("SN-1"))
    install(device)
    assert states(campaign) == {"succeeded": 1}


def test_one_that_took_over_ends_the_one_before(
    devices: dict[int, Device], release: Release, ann: User, bob: User
) -> None:
    first = started(release, ann, bob, follows=True)
    second = started(publish("2.1.0"), ann, bob, follows=True)
    other = started(publish("2.2.0"), ann, bob, "state = active and serial != SN-1", follows=True)
    run(second)
    first.refresh_from_db()
    assert first.state == "running", "its waves do not hold yet"
    second.waves.update(state="held")
    run(second)
    for one in (first, other):
        one.refresh_from_db()
    assert (first.state, second.state, other.state) == ("cancelled", "running", "running")
    assert AuditEntry.objects.get(action="campaign.take_over").detail == {"by": second.pk}


def test_where_nobody_follows_nothing_is_noted(
    devices: dict[int, Device], release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob)
    deliver(*(device.hello() for device in devices.values()))
    assert not Newcomer.objects.exists()
    following = started(release, ann, bob, follows=True)
    deliver(*(device.hello() for device in devices.values()))
    assert Newcomer.objects.count() == 10
    services.cancel(campaign=following, user=ann)
    services.cancel(campaign=campaign, user=ann)
    assert join_newcomers() == 10
    assert not Newcomer.objects.exists()


def test_what_a_round_costs_does_not_grow_with_those_who_join(
    release: Release, ann: User, bob: User, register: Register
) -> None:
    started(release, ann, bob, "state != retired", follows=True)

    def statements(serials: list[str]) -> int:
        note_newcomers([register(serial).pk for serial in serials])
        Terminal.objects.filter(serial__in=serials).update(state="active")
        with CaptureQueriesContext(connection) as captured:
            assert join_newcomers() == len(serials)
        return len(captured)

    one = statements(["SN-1"])
    assert statements([f"SN-{n}" for n in range(2, 22)]) <= one
    assert Member.objects.count() == 21


def test_only_those_join_to_whom_its_proposer_may_do_it(release: Release, bob: User, register: Register) -> None:
    store = register("SN-0").store
    clerk = User.objects.create_user("clerk")
    role = Group.objects.create(name="shop's releases")
    names = ("view_terminal", "add_campaign", "add_installation", "view_release")
    role.permissions.set(Permission.objects.filter(codename__in=names))
    Membership.objects.create(user=clerk, role=role, store=store)
    elsewhere = Store.objects.create(merchant=Merchant.objects.get(), name="Other", time_zone="Europe/Berlin")
    campaign = started(release, clerk, bob, "serial != SN-0", follows=True)
    assert campaign.path == store.path
    mine, theirs = register("SN-1"), register("SN-2")
    Terminal.objects.filter(pk=theirs.pk).update(store=elsewhere)
    for terminal in (mine, theirs):
        arrive(Terminal.objects.get(pk=terminal.pk))
    assert list(Member.objects.values_list("terminal__serial", flat=True)) == ["SN-1"]
    assert nobody_joins(campaign) is None
    User.objects.filter(pk=clerk.pk).update(is_active=False)
    refusal = nobody_joins(Campaign.objects.get())
    assert refusal is not None
    assert refusal.reason == "not_permitted"
    arrive(register("SN-3"))
    assert Member.objects.count() == 1


def test_what_cannot_be_followed_is_refused(devices: dict[int, Device], ann: User) -> None:
    said: dict[str, Any] = {"name": "x", "kind": "command", "text": "state = active", "settings": {"follows": True}}
    with pytest.raises(Refusal, match="nobody knows who lacks it"):
        planning.propose(arguments={"command": "reboot"}, user=ann, **said)


def test_a_key_is_brought_to_those_who_come_without_one(
    release: Release, ann: User, bob: User, register: Register
) -> None:
    campaign = planning.propose(
        name="a PIN key everywhere",
        kind="deliver_key",
        arguments={"usage": "P0"},
        text="state != retired",
        settings={"follows": True, "waves": [100], "per_minute": 100_000},
        user=ann,
    )
    services.approve(campaign=campaign, digest=campaign.digest, user=bob)
    services.start(campaign=campaign, user=ann)
    device = working_device(register("SN-1"))
    campaigns_go_on()
    assert TerminalKey.objects.filter(usage="P0").count() == 1
    deliver(device.hello())
    campaigns_go_on()
    assert TerminalKey.objects.filter(usage="P0").count() == 1


def test_a_campaign_that_follows_has_no_deadline_and_waits_for_its_windows(
    devices: dict[int, Device], release: Release, ann: User, bob: User
) -> None:
    opens = timezone.now().astimezone(ZoneInfo(Store.objects.get().time_zone)) + timedelta(hours=6)
    later = {
        "days": [1, 2, 3, 4, 5, 6, 7],
        "opens": f"{opens:%H:%M}",
        "closes": f"{opens + timedelta(minutes=1):%H:%M}",
    }
    campaign = started(release, ann, bob, follows=True, window=later)
    run(campaign)
    due = set(Member.objects.values_list("due_at", flat=True))
    assert all(at is not None and at > timezone.now() for at in due)
    engine.run_campaigns(time.monotonic() + 2)
    assert states(campaign) == {"waiting": 10}
    run(campaign, after=timedelta(days=400), steps=1)
    assert campaign.state == "running"


def test_a_campaign_that_nobody_can_join_pauses_and_holds_up_no_other(
    release: Release, ann: User, bob: User, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = started(release, ann, bob, "serial != SN-9", follows=True)
    bad = started(release, ann, bob, "state != retired", follows=True)
    asked_of = planning.asked_of

    def fails(campaign: Campaign, *among: Any) -> planning.Asked:
        if campaign.pk == bad.pk:
            raise KeyError("release")
        return asked_of(campaign, *among)

    monkeypatch.setattr(planning, "asked_of", fails)
    arrive(register("SN-1"))
    for one in (good, bad):
        one.refresh_from_db()
    assert (good.total, good.state, bad.total, bad.state) == (1, "running", 0, "paused")
    assert AuditEntry.objects.filter(action="campaign.error", subject=f"campaign:{bad.pk}").count() == 1
    assert not Newcomer.objects.exists()


def test_who_was_superseded_is_brought_it_after_all_where_the_newer_campaign_was_given_up(
    devices: dict[int, Device], release: Release, ann: User, bob: User
) -> None:
    first = started(release, ann, bob, follows=True, per_minute=1)
    run(first)
    newer = started(publish("2.1.0"), ann, bob, waves=[100], per_minute=1)
    run(newer)
    assert states(first)["superseded"] > 5
    deliver(*(device.hello() for device in devices.values()))
    assert join_newcomers() == 10
    assert states(first)["superseded"] > 5, "the newer one goes before"
    services.cancel(campaign=newer, user=ann)
    deliver(*(device.hello() for device in devices.values()))
    assert join_newcomers() == 10
    assert "superseded" not in states(first)


def test_failures_of_today_stop_one_that_went_well_for_a_year(
    devices: dict[int, Device], release: Release, ann: User, bob: User
) -> None:
    campaign = started(release, ann, bob, follows=True)
    run(campaign)
    wave = campaign.waves.get()
    long_ago = timezone.now() - timedelta(days=300)
    members = list(Member.objects.order_by("pk"))
    Member.objects.filter(wave=wave).update(state="succeeded", finished_at=long_ago)
    Tally.objects.filter(wave=wave).delete()
    Tally.objects.create(wave=wave, state="succeeded", number=1000)  # of the year
    campaign.waves.update(state="held", judged_at=long_ago)
    assert engine.step(campaign.pk, timezone.now()) == 0
    now = timezone.now()
    Member.objects.filter(pk__in=[one.pk for one in members]).update(state="failed", code="storage", finished_at=now)
    run(campaign)
    assert (campaign.state, campaign.waves.get().state) == ("paused", "stopped")
    services.force(campaign=campaign, reason="a broken batch of hardware", user=bob)
    run(campaign)
    assert campaign.state == "running", "what was forced past is judged no more"


def test_a_key_that_somebody_must_look_at_is_not_replaced_by_itself(
    release: Release, ann: User, register: Register
) -> None:
    terminal = register("SN-1")
    for state in ("pending", "confirmed", "mismatch", "failed", "expired", "replaced"):
        TerminalKey.objects.all().delete()
        TerminalKey.objects.create(id=uuid4(), terminal=terminal, usage="P0", state=state, kcv="000000", sealed_key=b"")
        has_it = Terminal.objects.filter(key_moving.has_it({"usage": "P0"})).exists()
        assert has_it == (state not in ("expired", "replaced")), state
