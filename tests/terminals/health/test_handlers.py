"""Health: the latest reading wins, whatever order readings arrive in, and each stays in the history."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from terminals.health.models import HealthSample, HealthState, TamperAlarm
from terminals.health.tasks import prune_health_history
from terminals.link.protocol.messages.health import Tamper
from terminals.link.services import new_id
from terminals.simulator.device import Device
from tests.conftest import deliver, working_device


@pytest.fixture
def device(register: Callable[[str], Terminal]) -> Device:
    return working_device(register("SN-1"))


def test_readings_that_arrive_out_of_order_leave_the_latest(device: Device) -> None:
    first, second, third = device.health(), device.health(), device.health()
    deliver(third)
    deliver(first)
    deliver(second)
    assert HealthState.objects.get().seq == device.seq
    assert HealthSample.objects.count() == 3
    deliver(device.health(), device.health())
    assert HealthState.objects.get().seq == device.seq


def test_a_new_boot_begins_anew(device: Device) -> None:
    late = device.health()
    device.boot()
    deliver(device.hello())
    fresh = device.health()
    deliver(fresh)
    deliver(late)  # of the boot before, though its number is higher
    state = HealthState.objects.get()
    assert (state.boot_id, state.seq) == (device.boot_id, 2)


def test_a_clock_that_fell_back_does_not_freeze_what_is_shown(device: Device) -> None:
    deliver(device.health())
    device.boot()
    device.now = lambda: datetime(1970, 1, 1, tzinfo=UTC)
    [told] = deliver(device.hello(), device.health()).not_taken.values()
    assert [one.reason for one in told] == ["too_old"]
    device.now = lambda: datetime.now(UTC)  # it has set its clock by that answer
    deliver(device.hello(), device.health())
    assert HealthState.objects.get().boot_id == device.boot_id


def test_a_tamper_alarm_comes_from_signed_events_alone_and_shows_before_the_first_health(device: Device) -> None:
    deliver(device.report("tamper", Tamper(True, device.now(), "case opened")))
    assert TamperAlarm.objects.get().active is True
    deliver(device.health())  # it says `tamper: false`, and is not signed
    assert TamperAlarm.objects.get().active is True
    deliver(device.report("tamper", Tamper(False, device.now())))
    assert TamperAlarm.objects.get().active is False
    assert [text_of(f.kind, f.body) for f in Fact.objects.filter(kind="tamper.changed").order_by("id")] == [
        "TAMPER case opened",
        "tamper cleared",
    ]


def test_an_unsigned_reading_that_leaps_ahead_does_not_mute_the_terminal(device: Device) -> None:
    deliver(device.health())
    honest = device.health()
    forged = json.loads(honest.payload) | {"id": str(new_id()), "seq": 2**53}
    deliver(honest._replace(payload=json.dumps(forged).encode()), honest)
    assert HealthState.objects.get().seq == json.loads(honest.payload)["seq"]


def test_a_forged_reading_rules_for_two_minutes_at_most(device: Device) -> None:
    deliver(device.health())
    honest = device.health()
    forged = json.loads(honest.payload) | {"id": str(new_id()), "seq": device.seq + 900_000}
    deliver(honest._replace(payload=json.dumps(forged).encode()), device.health())
    assert HealthState.objects.get().seq == forged["seq"]
    HealthState.objects.update(received_at=timezone.now() - timedelta(minutes=3))
    deliver(device.health())
    assert HealthState.objects.get().seq == device.seq


def test_days_of_readings_are_dropped_and_the_present_state_stays(device: Device) -> None:
    with time_machine.travel(datetime(2031, 5, 1, 12, tzinfo=UTC)):
        prune_health_history()
        deliver(device.health())
    with time_machine.travel(datetime(2031, 5, 15, 23, tzinfo=UTC)):
        prune_health_history()
        deliver(device.health())
        assert HealthSample.objects.count() == 2
    with time_machine.travel(datetime(2031, 5, 16, 0, 1, tzinfo=UTC)):
        prune_health_history()
        assert HealthSample.objects.count() == HealthState.objects.count() == 1


def test_days_without_a_worker_are_made_up_for(device: Device) -> None:
    with time_machine.travel(datetime(2031, 5, 1, 12, tzinfo=UTC)):
        prune_health_history()
    for day in (5, 6, 8):
        with time_machine.travel(datetime(2031, 5, day, 12, tzinfo=UTC)):
            deliver(device.health())
    with time_machine.travel(datetime(2031, 5, 9, 12, tzinfo=UTC)):
        prune_health_history()
        prune_health_history()
        assert HealthSample.objects.count() == 3
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM health_healthsample_other")
            assert cursor.fetchone() == (0,)
    with time_machine.travel(datetime(2031, 5, 21, 12, tzinfo=UTC)):
        prune_health_history()
        assert HealthSample.objects.count() == 1


def test_a_reading_with_a_wrong_clock_that_comes_twice_at_once_holds_up_nobody(device: Device) -> None:
    device.now = lambda: datetime(1999, 1, 1, tzinfo=UTC)
    reading = device.health()
    assert deliver(reading, reading).dead == 0
    assert HealthSample.objects.count() == 1


def test_what_a_terminal_says_comes_to_the_columns_as_it_was_said(device: Device) -> None:
    odd = 'a "boot", {with} \\ and NULL, None'
    said = json.loads(device.health().payload) | {"boot_id": odd}
    said["body"] |= {"software": {'pay"ment': "2\\1,{}"}, "battery": {"percent": 7, "charging": True}}
    said["body"]["network"] = {"kind": "ethernet"}
    deliver(device.health()._replace(payload=json.dumps(said).encode()))
    state = HealthState.objects.get()
    assert (state.boot_id, state.software) == (odd, said["body"]["software"])
    assert (state.battery_percent, state.battery_charging, state.rssi_dbm, state.latency_ms) == (7, True, None, None)
    assert state.sent_at == datetime.fromisoformat(said["sent_at"])
    assert HealthSample.objects.get().boot_id == odd
