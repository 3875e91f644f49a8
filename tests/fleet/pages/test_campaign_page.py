"""A campaign's page: the money on terminals that it is changing."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from firmware.models import Release
from fleet.pages import campaigns as pages
from terminals.simulator.device import Device
from tests.conftest import deliver, sold
from tests.terminals.campaigns.conftest import ann, at_work, bob, release, run, started

__all__ = ["ann", "bob", "release"]  # fixtures


@pytest.fixture
def devices(register: Any) -> dict[int, Device]:
    return at_work(register(f"SN-{number}") for number in range(3))


def test_unsettled_money_on_terminals_under_way_is_shown(
    devices: dict[int, Device], release: Release, ann: User, bob: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(*(sold(device, 1234) for device in devices.values()))
    client.force_login(ann)
    campaign = started(release, ann, bob)
    page = reverse("campaign", args=[campaign.pk])
    assert client.get(page).context["at_stake"] == []
    run(campaign)
    shown = client.get(page)
    assert shown.context["at_stake"] == ["37.02 EUR"]
    assert "at least" not in shown.content.decode()
    monkeypatch.setattr(pages, "LOOKED_AT", 2)
    shown = client.get(page)
    assert shown.context["at_stake"] == ["24.68 EUR"]
    assert "at least <b>24.68 EUR" in shown.content.decode()
