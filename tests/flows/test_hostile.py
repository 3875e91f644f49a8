"""What an attack found: each way in is refused cheaply, and none harms a neighbour or ends in a failure of ours."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, SolarSchedule
from rest_framework.test import APIClient

from fleet.pages.models import Tally, TallyChange
from fleet.pages.tasks import fold_tallies
from terminals.estate.models import Terminal
from terminals.link.inbox import LETTERS_A_MINUTE, Inbox
from terminals.link.models import DeadLetter, DeviceSession
from terminals.link.mqtt import Incoming
from terminals.link.protocol import messages, signing, topics
from terminals.link.routes import routes
from terminals.settlement.models import SettlementSchedule
from terminals.simulator.device import Device, Outgoing
from tests.conftest import deliver, enrolled_device, make_plan, set_parameters, set_schedule, sold, working_device

Register = Callable[[str], Terminal]


@pytest.fixture
def device(register: Register) -> Device:
    return working_device(register("SN-1"))


@pytest.mark.parametrize("offset", ["+15:59", "-23:59", "+23:59"])
def test_an_offset_that_no_database_takes_is_refused_in_the_first_pass(
    device: Device, caplog: Any, offset: str
) -> None:
    body = json.loads(device.health().payload) | {"sent_at": f"2026-11-24T02:00:00{offset}"}
    taken = deliver(Outgoing("tw/v1/13/SN-1/up/health", messages.encode(body)), device.health())
    assert (taken.fresh, taken.dead) == (1, 1)
    assert DeadLetter.objects.get().reason == "malformed"
    assert not [record for record in caplog.records if record.exc_info]


def test_what_handlers_fail_on_is_kept_within_the_senders_limit(device: Device, caplog: Any, monkeypatch: Any) -> None:
    def fails(received: list[Any]) -> None:
        raise ValueError("boom")

    monkeypatch.setitem(routes.messages, "health", [fails])
    now, link = datetime.now(UTC), Inbox(routes)
    sent = [device.health() for _ in range(LETTERS_A_MINUTE + 20)]
    assert link.take([Incoming(1, n, one.topic, one.payload, now) for n, one in enumerate(sent)]).dead == len(sent)
    assert DeadLetter.objects.filter(reason="handler_error").count() == LETTERS_A_MINUTE
    assert len([record for record in caplog.records if record.exc_info]) <= LETTERS_A_MINUTE + 1


def test_sums_that_no_number_holds_do_not_stop_the_folding(db: None) -> None:
    TallyChange.objects.bulk_create(TallyChange(measure="unsettled", label="EUR", amount=9 * 10**18) for _ in range(3))
    TallyChange.objects.bulk_create(TallyChange(measure="online", label="true", amount=1) for _ in range(3))
    fold_tallies()
    assert dict(Tally.objects.values_list("measure", "amount")) == {"unsettled": 9 * 10**18, "online": 3}


def test_long_topics_are_not_remembered() -> None:
    before = topics.remembered().currsize
    assert topics.parse_inbound("tw/v1/13/SN-1/up/" + "x" * 60_000) is None
    assert topics.remembered().currsize == before
    longest = topics.up("A" * 32, "result")
    assert topics.parse_inbound(longest) == ("A" * 32, "result")


def test_a_hello_that_is_refused_does_not_take_a_neighbours_with_it(register: Register, device: Device) -> None:
    hostile = enrolled_device(register("SN-2"))
    device.memory.locked = True
    good = device.hello()
    forged = json.loads(hostile.hello().payload) | {"id": json.loads(good.payload)["id"]}
    del forged["sig"]
    forged["body"]["serial"] = "SN-9"
    key: Any = serialization.load_pem_private_key(hostile.memory.private_key_pem.encode(), None)
    bad = Outgoing("tw/v1/57/SN-2/up/hello", messages.encode(signing.sign_envelope(forged, key)))
    assert deliver(bad, good).dead == 1
    assert DeviceSession.objects.get(terminal__serial="SN-1").locked is True


@pytest.mark.parametrize("position", ["abc", "", "1e5", "2026-13-45"])
@pytest.mark.parametrize("address", ["terminals", "audit", "settlement/runs", "dead-letters", "releases"])
def test_a_cursor_that_is_no_value_is_a_404(api: APIClient, address: str, position: str) -> None:
    cursor = base64.b64encode(f"p={position}".encode()).decode()
    assert api.get(f"/api/v1/{address}/", {"cursor": cursor}).status_code in (200, 404)


@pytest.mark.parametrize("ordering", ["--serial", "---serial", "--id"])
def test_an_ordering_with_more_than_one_dash_is_a_400(api: APIClient, ordering: str) -> None:
    assert api.get("/api/v1/terminals/", {"ordering": ordering}).status_code == 400


@pytest.mark.parametrize("zone", ["Europe", "Asia", "America/Argentina"])
def test_a_zone_that_names_a_folder_is_refused(api: APIClient, zone: str) -> None:
    answer = api.post("/api/v1/settlement/plans/", {"name": "p", "settings": {"time_zone": zone}}, format="json")
    assert answer.status_code == 400


def test_services_refusals_reach_the_api_with_their_reason(api: APIClient, device: Device) -> None:
    terminal = Terminal.objects.get()
    for url, body, reason in (
        ("settlement/runs", {}, "already_settling"),
        ("keys", {"usage": "P0"}, "key_pending"),
    ):
        assert api.post(f"/api/v1/{url}/", {"terminal": terminal.pk, **body}).status_code == 201
        answer = api.post(f"/api/v1/{url}/", {"terminal": terminal.pk, **body})
        assert (answer.status_code, answer.json()["reason"]) == (409, reason)


def test_a_null_character_in_an_action_is_refused_on_the_page(client: Client, operator: Any, device: Device) -> None:
    client.force_login(operator)
    url = reverse("terminal-action", args=[Terminal.objects.get().pk])
    answer = client.post(url, {"action": "deliver_key", "chosen": "\0"}, follow=True)
    assert answer.status_code == 200
    assert "is not one of P0, D0, M6" in answer.content.decode()


def test_a_crontab_can_be_added_and_a_solar_schedule_cannot(client: Client, operator: Any) -> None:
    client.force_login(operator)
    form = {
        "minute": "5",
        "hour": "3",
        "day_of_month": "*",
        "month_of_year": "*",
        "day_of_week": "*",
        "timezone": "UTC",
    }
    assert client.post(reverse("admin:django_celery_beat_crontabschedule_add"), form).status_code == 302
    assert CrontabSchedule.objects.filter(minute="5", hour="3").exists()
    assert SolarSchedule not in admin.site._registry


def test_a_schedule_belongs_to_its_terminal_for_good(client: Client, operator: Any, register: Register) -> None:
    client.force_login(operator)
    plan = make_plan("p", time_zone="UTC", cycle="0 1 * * *")
    one, other = register("SN-1"), register("SN-2")
    set_schedule(terminal=one, plan=plan, actor="ops")
    url = reverse("admin:settlement_settlementschedule_change", args=[one.pk])
    client.post(url, {"terminal": other.pk, "plan": plan.pk, "cycle": "", "time_zone": "", "threshold": ""})
    assert list(SettlementSchedule.objects.values_list("terminal", flat=True)) == [one.pk]


@pytest.mark.parametrize("code", ["ZZZ", "XXX", "ABC", "eur"])
def test_money_that_nobody_knows_is_refused_at_every_door(device: Device, api: APIClient, code: str) -> None:
    assert deliver(sold(device, 100, code)).dead == 1
    assert DeadLetter.objects.get().reason == "malformed"
    plan = {"name": "p", "settings": {"amount_limits": {code: 100}}}
    assert api.post("/api/v1/settlement/plans/", plan, format="json").status_code == 400
    set_parameters(Terminal.objects.get())
    body = {"template": "till", "values": {"contactless_limits": {code: 5000}}}
    assert api.post("/api/v1/parameters/values/", body, format="json").status_code in (400, 409)


def test_a_position_that_no_database_takes_is_a_404(api: APIClient) -> None:
    cursor = base64.b64encode(b"p=9999-12-31T23:59:59-23:59").decode()
    assert api.get("/api/v1/terminals/", {"ordering": "id", "cursor": cursor}).status_code == 404


@pytest.mark.parametrize(("every", "period"), [(2147483647, "days"), (400, "days"), (1, "microseconds"), (0, "days")])
def test_an_interval_that_the_scheduler_cannot_compute_is_refused(staff: Client, every: int, period: str) -> None:
    page = staff.post(reverse("admin:django_celery_beat_intervalschedule_add"), {"every": every, "period": period})
    assert page.status_code == 200
    assert not IntervalSchedule.objects.filter(every=every, period=period).exists()
    made = staff.post(reverse("admin:django_celery_beat_intervalschedule_add"), {"every": 7, "period": "hours"})
    assert made.status_code == 302


def test_a_programs_write_off_names_the_amounts(api: APIClient, device: Device) -> None:
    url = f"/api/v1/terminals/{Terminal.objects.get().pk}/retire/"
    deliver(sold(device, 4757, "EUR"), sold(device, 10, "AUD"))
    for body in ({}, {"write_off": {"EUR": 4757}}, {"write_off": {"EUR": 4757, "AUD": 11}}):
        answer = api.post(url, body, format="json")
        assert (answer.status_code, answer.json()["reason"]) == (409, "unsettled_money")
        assert answer.json()["write_off"] == {"EUR": 4757, "AUD": 10}
    assert api.post(url, {"write_off": True}, format="json").status_code == 400
    assert api.post(url, {"write_off": answer.json()["write_off"]}, format="json").status_code == 200
    assert Terminal.objects.get().state == "retired"
