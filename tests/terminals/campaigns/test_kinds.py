"""Keys and parameters in waves: asked by turns, counted when the terminal really has them."""

from time import monotonic
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from terminals.campaigns import planning, services
from terminals.campaigns.models import Campaign
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.keys.models import TerminalKey
from terminals.link.models import Command
from terminals.parameters import sending
from terminals.parameters.models import ParameterSet
from terminals.simulator.device import Device
from terminals.simulator.faults import Faults
from tests.conftest import deliver, set_parameters
from tests.terminals.campaigns.conftest import run, states

Devices = dict[int, Device]
CAREFUL = {"waves": [20, 100], "soak_minutes": 0, "per_minute": 1000, "retries": 0, "worse_percent": 100}


def moving(kind: str, arguments: dict[str, Any], ann: User, bob: User, **settings: Any) -> Campaign:
    campaign = planning.propose(
        name=kind,
        kind=kind,
        arguments=arguments,
        text="state = active",
        settings={**CAREFUL, **settings},
        user=ann,
    )
    with pytest.raises(Refusal, match="agree"):
        services.start(campaign=campaign, user=ann)
    services.approve(campaign=campaign, digest=campaign.digest, user=bob)
    services.start(campaign=campaign, user=ann)
    return campaign


def obey_all(devices: Devices, kind: str) -> None:
    """Let terminals do what they were sent last and have not answered."""
    for command in Command.objects.filter(type=kind, answered_at=None, finished_at=None):
        deliver(*devices[command.terminal_id].receive("", bytes(command.payload)))


def test_keys_go_in_waves_and_count_when_the_check_value_is_right(devices: Devices, ann: User, bob: User) -> None:
    campaign = moving("deliver_key", {"usage": "P0"}, ann, bob)
    run(campaign)
    assert states(campaign) == {"ordered": 2, "planned": 8}
    obey_all(devices, "deliver_key")
    assert states(campaign) == {"succeeded": 2, "planned": 8}
    assert set(TerminalKey.objects.values_list("state", flat=True)) == {"confirmed"}
    run(campaign)
    obey_all(devices, "deliver_key")
    run(campaign)
    assert (campaign.state, states(campaign)) == ("done", {"succeeded": 10})


def test_a_wrong_check_value_stops_the_keys_of_all_others(devices: Devices, ann: User, bob: User) -> None:
    for pk, device in devices.items():
        devices[pk] = Device(device.memory, faults=Faults(wrong_kcv=True), dice=device.dice, now=device.now)
    campaign = moving("deliver_key", {"usage": "P0"}, ann, bob)
    run(campaign)
    obey_all(devices, "deliver_key")
    run(campaign)
    assert (campaign.state, states(campaign)) == ("paused", {"failed": 2, "planned": 8})
    [wave, _rest] = campaign.waves.order_by("number")
    assert wave.unmet[0]["why"] == "failures"


def test_parameters_go_in_waves_and_count_when_they_are_applied(devices: Devices, ann: User, bob: User) -> None:
    set_parameters(Terminal.objects.first(), tip_enabled=False)  # type: ignore[arg-type]
    sending.run_due(monotonic() + 20)
    obey_all(devices, "configure")
    campaign = moving("configure", {"values": {"currency": "SEK"}}, ann, bob)
    run(campaign)
    assert ParameterSet.objects.filter(values__currency="SEK").count() == 2, "the others have their turn later"
    assert states(campaign) == {"ordered": 2, "planned": 8}
    sending.run_due(monotonic() + 20)
    obey_all(devices, "configure")
    assert states(campaign) == {"succeeded": 2, "planned": 8}
    assert sum(device.memory.parameters.get("currency") == "SEK" for device in devices.values()) == 2
    run(campaign)
    sending.run_due(monotonic() + 20)
    obey_all(devices, "configure")
    run(campaign)
    assert (campaign.state, states(campaign)) == ("done", {"succeeded": 10})


@pytest.mark.parametrize(
    ("kind", "arguments", "reason"),
    [
        ("deliver_key", {"usage": "ZZ"}, "key_policy"),
        ("deliver_key", {}, "key_policy"),
        ("configure", {"values": {}}, "bad_arguments"),
        ("configure", {"values": {"wifi": "secret"}}, "bad_arguments"),
    ],
)
def test_what_cannot_be_moved_is_refused(
    devices: Devices, ann: User, kind: str, arguments: dict[str, Any], reason: str
) -> None:
    set_parameters(Terminal.objects.first(), tip_enabled=False)  # type: ignore[arg-type]
    with pytest.raises(Refusal) as refused:
        planning.propose(name="x", kind=kind, arguments=arguments, text="state = active", settings=CAREFUL, user=ann)
    assert refused.value.reason == reason
    assert not Campaign.objects.exists()


def test_the_bulk_page_leads_to_waves(devices: Devices, staff: Client) -> None:
    asked = {"filter": "state = active", "verb": "deliver_key", "usage": "P0", "waves": "1"}
    answer = staff.post(reverse("bulk"), asked)
    assert answer.status_code == 302
    assert answer["Location"] == reverse("campaign-new") + "?filter=state+%3D+active&usage=P0"
    assert 'value="P0" selected' in staff.get(answer["Location"]).content.decode()
    refused = staff.post(reverse("bulk"), {**asked, "verb": "settle"}).content.decode()
    assert "it does not go in waves" in refused
