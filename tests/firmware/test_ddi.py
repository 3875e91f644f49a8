"""hawkBit's DDI: the same campaigns and guards for devices that speak it, and an unmodified SWUpdate that does."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from firmware.ddi.services import issue_token
from firmware.models import DdiToken, Installation, InstalledSoftware
from firmware.services import assign_release, install
from terminals.campaigns.models import Newcomer
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.link.models import Command, DeviceSession
from terminals.link.services import target_of
from tests.releases import campaigns_go_on, keep_at, ready
from tests.terminals.campaigns.conftest import run, started, states

Register = Callable[[str], Terminal]


class Device:
    """A device as DDI has it."""

    def __init__(self, terminal: Terminal) -> None:
        self.token = issue_token(terminal=terminal, actor="ops")
        self.root = f"/DEFAULT/controller/v1/{terminal.device_id}"
        self.client = Client()

    def ask(self, path: str = "", **headers: str) -> Any:
        return self.client.get(
            self.root + path,
            headers={"Authorization": f"TargetToken {self.token}", **headers},
        )

    def tell(self, path: str, body: Any, method: str = "post") -> int:
        sent = body if isinstance(body, str) else json.dumps(body)
        answer = getattr(self.client, method)(
            self.root + path,
            sent,
            content_type="application/json",
            headers={"Authorization": f"TargetToken {self.token}"},
        )
        return int(answer.status_code)

    def links(self) -> dict[str, str]:
        return {name: one["href"] for name, one in self.ask().json()["_links"].items()}

    def action(self) -> int:
        return int(self.links()["deploymentBase"].rsplit("/", 1)[1])


@pytest.fixture(autouse=True)
def on(settings: Any) -> None:
    settings.HAWKBIT_DDI = True


@pytest.fixture
def terminal(register: Register) -> Terminal:
    return register("SN-1")


@pytest.fixture
def device(terminal: Terminal) -> Device:
    return Device(terminal)


def closed(finished: str = "success", **more: Any) -> dict[str, Any]:
    return {"id": "1", "status": {"execution": "closed", "result": {"finished": finished}, **more}}


def test_a_device_comes_back_when_the_files_can_be_read_again(
    terminal: Terminal, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.links()
    terminal.refresh_from_db()
    assign_release(release=ready("2.0.0"), terminals=[terminal], actor="ops")
    action = device.action()

    def fail(*_args: Any) -> None:
        raise OSError

    with monkeypatch.context() as away:
        away.setattr("django.core.files.storage.FileSystemStorage._open", fail)
        answer = device.ask(f"/deploymentBase/{action}")
        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    assert device.ask(f"/deploymentBase/{action}").status_code == 200


def test_a_device_polls_installs_and_says_so(terminal: Terminal, device: Device) -> None:
    links = device.links()
    assert set(links) == {"configData", "confirmationBase"}
    terminal.refresh_from_db()
    assert terminal.state == "active"
    assert DeviceSession.objects.get().online
    assert device.tell("/configData", {"mode": "merge", "data": {"payment": "1.0.0", "hw": "3"}}, "put") == 200
    content = bytes(range(256)) * 40
    release = ready("2.0.0", content)
    assert device.tell("/configData", {"data": {"payment": "1.0.0"}}, "put") == 200
    assert InstalledSoftware.objects.get().version == "1.0.0"
    assign_release(release=release, terminals=[terminal], actor="ops")
    action = device.action()
    told = device.ask(f"/deploymentBase/{action}").json()
    [chunk] = told["deployment"]["chunks"]
    [artifact] = chunk["artifacts"]
    assert (chunk["version"], artifact["size"], artifact["hashes"]["sha256"]) == ("2.0.0", len(content), release.sha256)
    fetched: Any = device.client.get("/" + artifact["_links"]["download-http"]["href"].split("/", 3)[3])
    assert b"".join(fetched.streaming_content) == content
    running = {
        "id": "1",
        "status": {"execution": "proceeding", "result": {"finished": "none", "progress": {"cnt": 1, "of": 4}}},
    }
    assert device.tell(f"/deploymentBase/{action}/feedback", running) == 200
    assert Installation.objects.values_list("state", "percent").get() == ("installing", 25)
    assert device.tell(f"/deploymentBase/{action}/feedback", closed(details=["done\a", "x" * 900])) == 200
    assert Installation.objects.get().state == "installed"
    assert InstalledSoftware.objects.get().version == "2.0.0"
    assert "deploymentBase" not in device.links()


def test_a_campaign_goes_to_devices_of_both_kinds_and_its_guard_hears_them(register: Register) -> None:
    ann, bob = (User.objects.create_superuser(name) for name in ("ann", "bob"))
    devices = {one.pk: Device(one) for one in (register(f"SN-{n}") for n in range(4))}
    for device in devices.values():
        device.links()
    campaign = started(ready("2.0.0"), ann, bob, waves=[50, 100], retries=0)
    run(campaign)
    first = [devices[pk] for pk in Command.objects.filter(type="install").values_list("terminal_id", flat=True)]
    assert len(first) == 2
    good, bad = first
    good.tell(f"/deploymentBase/{good.action()}/feedback", closed())
    bad.tell(f"/deploymentBase/{bad.action()}/feedback", closed("failure", details=["no space"]))
    run(campaign)
    assert (campaign.state, states(campaign)) == ("paused", {"succeeded": 1, "failed": 1, "planned": 2})


def test_a_device_that_polls_first_joins_the_campaigns_that_follow(terminal: Terminal, device: Device) -> None:
    keep_at(ready("2.0.0"), "state in (enrolled, active)")
    assert "deploymentBase" not in device.links()
    campaigns_go_on()
    assert "deploymentBase" in device.links()


def test_a_device_is_looked_at_once_a_day_and_when_it_tells_what_it_runs(terminal: Terminal, device: Device) -> None:
    device.links()
    keep_at(ready("2.0.0"), "state in (enrolled, active) and tag = later")
    Terminal.objects.filter(pk=terminal.pk).update(tags=["later"])
    device.links()
    assert not Newcomer.objects.exists(), "not at each poll"
    with time_machine.travel(timezone.now() + timedelta(days=1), tick=False):
        device.links()
    assert Newcomer.objects.count() == 1
    Newcomer.objects.all().delete()
    assert device.tell("/configData", {"data": {"payment": "1.0.0"}}, "put") == 200
    assert Newcomer.objects.count() == 1


def test_what_is_taken_back_is_cancelled_at_the_device(terminal: Terminal, device: Device) -> None:
    device.links()
    assign_release(release=ready("2.0.0"), terminals=[terminal], actor="ops")
    action = device.action()
    device.ask(f"/deploymentBase/{action}")
    Installation.objects.update(state="expired")
    assert device.links()["cancelAction"].endswith(f"/cancelAction/{action}")
    assert device.ask(f"/cancelAction/{action}").json()["cancelAction"] == {"stopId": str(action)}
    assert device.tell(f"/cancelAction/{action}/feedback", closed()) == 200
    assert "cancelAction" not in device.links()
    assert device.ask(f"/cancelAction/{action}").status_code == 404


def test_a_device_may_say_no(terminal: Terminal, device: Device) -> None:
    device.links()
    assert device.ask("/confirmationBase").json()["autoConfirm"] == {"active": True}
    assign_release(release=ready("2.0.0"), terminals=[terminal], actor="ops")
    action = device.action()
    assert device.tell(f"/confirmationBase/{action}/feedback", {"confirmation": "denied"}) == 200
    assert Installation.objects.get().state == "rejected"


def test_an_order_with_conditions_is_declined(register: Register) -> None:
    ann, bob = (User.objects.create_superuser(name) for name in ("ann", "bob"))
    device = Device(register("SN-1"))
    device.links()
    campaign = started(ready("2.0.0"), ann, bob, waves=[100], retries=0, conditions={"idle": True})
    run(campaign)
    action = Installation.objects.get()
    assert device.ask(f"/deploymentBase/{action.pk}").status_code == 404
    assert "deploymentBase" not in device.links()
    action.refresh_from_db()
    assert action.state == "rejected"
    assert states(campaign) == {"failed": 1}
    assert Command.objects.values_list("state", "code").get() == ("rejected", "conditions")


def test_nothing_is_offered_before_it_may_run(terminal: Terminal, device: Device) -> None:
    device.links()
    opens = timezone.now() + timedelta(hours=1)
    install([(target_of(terminal), ready("2.0.0"))], requested_by="ops", activate_at=opens)
    action = Installation.objects.get().pk
    assert "deploymentBase" not in device.links()
    assert device.ask(f"/deploymentBase/{action}").status_code == 404
    with time_machine.travel(opens + timedelta(seconds=1)):
        assert device.action() == action


def test_who_is_not_known_is_refused_and_nothing_changes(
    terminal: Terminal, device: Device, register: Register
) -> None:
    other = Device(register("SN-2"))
    address = device.root
    for headers in (
        {},
        {"Authorization": "TargetToken wrong"},
        {"Authorization": f"GatewayToken {device.token}"},
        {"Authorization": f"TargetToken {other.token}"},
        {"X-Ssl-Client-Cn": terminal.device_id},
    ):
        assert Client().get(address, headers=headers).status_code == 401
    old, device.token = device.token, issue_token(terminal=terminal, actor="ops")
    assert device.ask().status_code == 200
    device.token = old
    assert device.ask().status_code == 401
    change_state(terminal=Terminal.objects.get(serial="SN-2"), transition=TerminalTransition.retire, actor="ops")
    assert other.ask().status_code == 401


def test_a_certificate_that_the_proxy_has_checked_is_as_good(terminal: Terminal, device: Device, settings: Any) -> None:
    settings.HAWKBIT_CERTIFICATE_HEADER, settings.BEHIND_PROXY = "X-Ssl-Client-Cn", True
    assert Client().get(device.root, headers={"X-Ssl-Client-Cn": terminal.device_id}).status_code == 200
    assert Client().get(device.root, headers={"X-Ssl-Client-Cn": "OTHER"}).status_code == 401
    settings.BEHIND_PROXY = False
    assert Client().get(device.root, headers={"X-Ssl-Client-Cn": terminal.device_id}).status_code == 401


def test_odd_requests_are_refused_without_a_trace(terminal: Terminal, device: Device, settings: Any) -> None:
    device.links()
    assign_release(release=ready("2.0.0"), terminals=[terminal], actor="ops")
    action = device.action()
    at = f"/deploymentBase/{action}/feedback"
    for body in ("", "{", "[]", "[" * 50_000, '"x"', '{"status": 5}', '{"status": {"execution": "closed"}}'):
        assert device.tell(at, body) == 400, body[:20]
    assert device.tell(at, closed("maybe")) == 400
    assert device.tell(at, "x" * 70_000) == 400
    progress = {"execution": "proceeding", "result": {"progress": {"cnt": -5, "of": 0}}}
    assert device.tell(at, {"status": progress}) == 200
    for number in (action + 1, 0, 2**62 + 1, 10**30):
        assert device.ask(f"/deploymentBase/{number}").status_code == 404
        assert device.tell(f"/deploymentBase/{number}/feedback", closed()) == 404
    assert device.tell("/configData", {"data": {"payment": "1\0"}}, "put") == 400
    assert device.tell("/configData", {"data": {"payment": ["1"], "x": 5}}, "put") == 200
    assert Installation.objects.get().state == "installing"
    settings.HAWKBIT_DDI = False
    assert device.ask().status_code == 404
    settings.HAWKBIT_DDI, settings.HAWKBIT_TENANT = True, "other"
    assert device.ask().status_code == 404


def test_a_poll_that_brings_nothing_costs_a_few_statements(
    terminal: Terminal, device: Device, django_assert_max_num_queries: Any
) -> None:
    device.links()
    with django_assert_max_num_queries(9):
        device.links()


def test_a_token_is_issued_on_the_command_line(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("ddi_token", "SN-1")
    said = capsys.readouterr().out
    assert said.startswith(f"controller id {terminal.device_id}, target token")
    assert DdiToken.objects.get().digest not in said
    with pytest.raises(CommandError, match="no terminal has"):
        call_command("ddi_token", "NOBODY")


# --- an unmodified client --------------------------------------------------------------------------------------------
def test_a_token_is_issued_on_a_terminals_page_and_by_the_api_where_such_devices_are_let_in(
    terminal: Terminal, admin_client: Client, settings: Any
) -> None:
    page = reverse("terminal-page", args=[terminal.pk])
    assert 'id="do-ddi_token"' in admin_client.get(page).content.decode()
    told = admin_client.post(reverse("terminal-action", args=[terminal.pk]), {"action": "ddi_token"}).content.decode()
    assert terminal.device_id in told
    by_page = DdiToken.objects.get().digest
    device = Device(terminal)
    answer = admin_client.post(f"/api/v1/terminals/{terminal.pk}/ddi-token/")
    assert (answer.status_code, answer.json()["controller_id"]) == (201, terminal.device_id)
    assert device.ask().status_code == 401, "its token has lost its force"
    device.token = answer.json()["target_token"]
    assert device.ask().status_code == 200
    assert DdiToken.objects.get().digest != by_page
    settings.HAWKBIT_DDI = False
    assert 'id="do-ddi_token"' not in admin_client.get(page).content.decode()
    assert admin_client.post(f"/api/v1/terminals/{terminal.pk}/ddi-token/").json()["reason"] == "ddi_off"


def test_an_old_action_says_nothing_of_what_runs_now(terminal: Terminal, device: Device) -> None:
    device.links()
    actions = []
    for version in ("1.0.0", "2.0.0"):
        assign_release(release=ready(version), terminals=[terminal], actor="ops")
        actions.append(device.action())
        assert device.tell(f"/deploymentBase/{actions[-1]}/feedback", closed()) == 200
    assert device.tell(f"/deploymentBase/{actions[0]}/feedback", closed()) == 200
    assert InstalledSoftware.objects.get(component="payment").version == "2.0.0"
