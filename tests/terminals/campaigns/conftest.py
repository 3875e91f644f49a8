"""Terminals that install what a campaign sends them, and two persons who release it."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from firmware.models import Release
from terminals.campaigns import engine, planning, services
from terminals.campaigns.members import tallied
from terminals.campaigns.models import Campaign, Member
from terminals.estate.models import Terminal
from terminals.link.models import Command
from terminals.simulator.device import Device
from tests.conftest import deliver, enrolled_device, obey
from tests.releases import ready

NOW = {"waves": [100], "soak_minutes": 0, "per_minute": 100_000}


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_superuser("ann")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_superuser("bob")


def publish(version: str) -> Release:
    return ready(version)


@pytest.fixture
def release(db: None) -> Release:
    publish("1.0.0")
    return publish("2.0.0")


@pytest.fixture
def devices(register: Callable[[str], Terminal]) -> dict[int, Device]:
    """Ten terminals at work, by their ids, which run 1.0.0."""
    return at_work(register(f"SN-{n}") for n in range(10))


def at_work(terminals: Iterable[Terminal]) -> dict[int, Device]:
    """Enrol terminals that run 1.0.0, and let them say hello together."""
    devices = {terminal.pk: enrolled_device(terminal) for terminal in terminals}
    for device in devices.values():
        device.memory.software = {"payment": "1.0.0"}
    deliver(*(device.hello() for device in devices.values()))
    return devices


def proposed(release: Release, user: User, text: str = "state = active", **settings: Any) -> Campaign:
    return planning.propose(
        name="Release two",
        kind="install",
        arguments={"release": release.pk},
        text=text,
        settings={**NOW, **settings},
        user=user,
    )


def started(release: Release, ann: User, bob: User, text: str = "state = active", **settings: Any) -> Campaign:
    campaign = proposed(release, ann, text, **settings)
    services.approve(campaign=campaign, digest=campaign.digest, user=bob)
    services.start(campaign=campaign, user=ann)
    return campaign


def run(campaign: Campaign, *, after: timedelta = timedelta(0), steps: int = 20) -> None:
    """Let the engine do all that is due, at an instant from now."""
    now: datetime = timezone.now() + timedelta(minutes=1) + after
    for _ in range(steps):
        if not engine.step(campaign.pk, now):
            break
    campaign.refresh_from_db()


def states(campaign: Campaign) -> dict[str, int]:
    """Return how many of a campaign's terminals are in which state, counted; the tallies must say the same."""
    found: dict[str, int] = {}
    for state in Member.objects.filter(wave__campaign=campaign).values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    told: dict[str, int] = {}
    for one in tallied(Q(wave__campaign=campaign)):
        told[one.state] = told.get(one.state, 0) + one.number
    assert told == found
    return found


def install(device: Device, failure: str = "") -> None:
    """Let a terminal do what it was sent, restart, and say hello."""
    obey(device, "install")
    deliver(device.finish_install(failure))
    if not failure:
        deliver(device.hello())


def asked(devices: dict[int, Device]) -> list[Device]:
    """Return those that have an installation on its way."""
    rows = Command.objects.filter(type="install", state__in=("queued", "sent", "accepted", "running"))
    return [devices[pk] for pk in rows.order_by("pk").values_list("terminal_id", flat=True)]
