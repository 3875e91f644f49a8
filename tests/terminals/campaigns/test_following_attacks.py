"""Attacks on campaigns that follow: terminals that would be sent software for ever, campaigns that undo each other, and people
who would get round a guard."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from firmware.models import Installation, Package, Release
from terminals.campaigns import engine, following, planning, services
from terminals.campaigns.following import note_newcomers
from terminals.campaigns.models import Campaign, Member, Tally
from terminals.estate.models import Terminal
from terminals.simulator.device import Device
from tests.conftest import deliver, enrolled_device, obey
from tests.releases import APPROVER, BUILDER, campaigns_go_on, keep_at, ready

Register = Callable[[str], Terminal]
ROUNDS = 12


@pytest.fixture
def builder(db: None) -> User:
    return User.objects.get_or_create(username=BUILDER, is_superuser=True)[0]


def begun(builder: User, arguments: dict[str, Any], text: str, **settings: Any) -> Campaign:
    usual = {
        "follows": True,
        "waves": [100],
        "soak_minutes": 0,
        "per_minute": 100_000,
        "retries": 1,
        "retry_minutes": 1,
    }
    campaign = planning.propose(
        name="x", kind="install", arguments=arguments, text=text, user=builder, settings=usual | settings
    )
    other = User.objects.get_or_create(username=APPROVER, is_superuser=True)[0]
    services.approve(campaign=campaign, digest=campaign.digest, user=other)
    services.start(campaign=campaign, user=campaign.proposed_by)
    campaigns_go_on()
    return campaign


def says(device: Device, **software: str) -> None:
    device.memory.software = dict(software)
    deliver(device.hello())


def do_all(device: Device, *, rounds: int = ROUNDS, afterwards: Callable[[], None] = lambda: None) -> list[str]:
    """Let a terminal install whatever it is sent, and return what that was, until nothing comes any more."""
    seen: list[str] = []
    for _ in range(rounds):
        campaigns_go_on()
        last = Installation.objects.filter(state="assigned").last()
        if last is None:
            break
        seen.append(str(last.release))
        obey(device, "install")
        deliver(device.finish_install())
        deliver(device.hello())
        afterwards()
    return seen


def parts() -> tuple[Release, Release]:
    system = Package.objects.create(name="os", component="os", kind="os")
    return ready("2.0.0", package=system), ready("2.0.0")


@pytest.mark.parametrize("rejects", [False, True])
def test_a_terminal_that_claims_the_version_and_loses_it_is_given_up(register: Register, rejects: bool) -> None:
    terminal = register("SN-1")
    keep_at(ready("2.0.0"), retries=1, retry_minutes=1)
    device = enrolled_device(terminal)
    device.faults = device.faults.__class__(rejected_install=rejects)
    says(device, payment="1.0.0")
    for _ in range(ROUNDS):
        campaigns_go_on()
        if not Installation.objects.filter(state="assigned").exists():
            break
        obey(device, "install")
        if not rejects:
            deliver(device.finish_install("no space"))
        says(device, payment="2.0.0")
        says(device, payment="1.0.0")
    assert Installation.objects.count() <= 3
    assert Member.objects.get().state == "failed"


@pytest.mark.parametrize("follows", [True, False])
def test_a_part_that_is_lost_again_and_again_ends_it(register: Register, builder: User, follows: bool) -> None:
    device = enrolled_device(register("SN-1"))
    says(device, os="1.0.0", payment="1.0.0")
    system, payment = parts()
    begun(builder, {"release": system.pk, "then": [payment.pk]}, "state != retired", follows=follows)
    do_all(device, rounds=30, afterwards=lambda: says(device, os="1.0.0", payment="1.0.0"))
    assert Installation.objects.count() <= 10
    assert (Member.objects.get().state, Member.objects.get().code) == ("failed", "not_kept")


def test_campaigns_that_overlap_do_not_both_take_a_terminal_that_comes_later(register: Register, builder: User) -> None:
    terminal = register("SN-1")
    system, newer = parts()
    begun(builder, {"release": newer.pk}, "tag = a")
    begun(builder, {"release": system.pk, "then": [ready("1.0.0").pk], "downgrade": True}, "tag = b")
    Terminal.objects.filter(pk=terminal.pk).update(tags=["a", "b"])
    device = enrolled_device(terminal)
    says(device, os="1.0.0", payment="0.9.0")
    assert do_all(device) == ["pay 2.0.0 (linux-arm64)"]


@pytest.mark.parametrize("decided", ["proposed", "cancelled"])
def test_a_roll_back_that_did_not_begin_sets_no_older_campaign_free(
    register: Register, builder: User, decided: str
) -> None:
    device = enrolled_device(register("SN-1"))
    says(device, payment="1.0.0")
    older, newer = ready("1.0.0"), ready("2.0.0")
    begun(builder, {"release": newer.pk}, "state != retired")
    assert do_all(device) == ["pay 2.0.0 (linux-arm64)"]
    campaign = begun(builder, {"release": older.pk, "downgrade": True}, "serial = SN-1")
    assert do_all(device) == ["pay 1.0.0 (linux-arm64)"]
    [back] = services.roll_back(campaign=campaign, user=builder)
    if decided == "cancelled":
        services.cancel(campaign=back, user=builder)
        services.resume(campaign=Campaign.objects.get(pk=campaign.pk), user=builder)
    deliver(device.hello())
    assert do_all(device) == []


def test_going_on_without_a_reason_forgets_no_failures(register: Register, builder: User) -> None:
    terminals = [register(f"SN-{n}") for n in range(10)]
    campaign = keep_at(ready("2.0.0"))
    for terminal in terminals:
        says(enrolled_device(terminal), payment="1.0.0")
    campaigns_go_on()
    Tally.objects.all().delete()
    wave = campaign.waves.get()
    for state, number in (("succeeded", 1000), ("failed", 10)):
        Tally.objects.create(wave=wave, state=state, code="storage" if state == "failed" else "", number=number)
    campaign.waves.update(state="held", judged_at=timezone.now() - timedelta(days=300), total=1010)
    Member.objects.update(state="failed", code="storage", finished_at=timezone.now() - timedelta(minutes=1))
    for _ in range(2):
        for _step in range(6):
            engine.step(campaign.pk, timezone.now())
        campaign.refresh_from_db()
        assert (campaign.state, campaign.waves.get().state) == ("paused", "stopped")
        services.resume(campaign=campaign, user=campaign.proposed_by)


def test_who_sees_nobody_takes_nobodys_place(register: Register, builder: User) -> None:
    says(enrolled_device(register("SN-1")), payment="1.0.0")
    text = "component = payment and state != retired"
    first = begun(builder, {"release": ready("2.0.0").pk}, text)
    clerk = User.objects.create_user("clerk")
    names = ("view_terminal", "add_campaign", "add_installation", "view_release")
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    second = begun(clerk, {"release": ready("2.1.0").pk}, text)
    campaigns_go_on()
    for one in (first, second):
        one.refresh_from_db()
    assert (second.total, first.state) == (0, "running")


def test_a_terminal_that_says_hello_without_end_does_not_keep_the_engine(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = register("SN-1")
    keep_at(ready("2.0.0"))
    says(enrolled_device(terminal), payment="2.0.0")
    campaigns_go_on()
    calls: list[int] = []
    join = following.join_newcomers

    def flapping() -> int:
        note_newcomers([terminal.pk])
        calls.append(1)
        return join()

    monkeypatch.setattr(following, "join_newcomers", flapping)
    engine.run_campaigns(time.monotonic() + 3)
    assert len(calls) < 10


def test_failures_beyond_what_the_column_holds_stop_nobody(register: Register) -> None:
    terminals = [register(f"SN-{n}") for n in range(2)]
    for terminal in terminals:
        says(enrolled_device(terminal), payment="1.0.0")
    campaign = keep_at(ready("2.0.0"))
    late = timezone.now() - timedelta(minutes=1)
    Member.objects.filter(terminal=terminals[0]).update(failures=32767, due_at=late)
    engine.run_campaigns(time.monotonic() + 2)
    campaign.refresh_from_db()
    assert campaign.state == "running"
