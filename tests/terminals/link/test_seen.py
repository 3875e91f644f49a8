"""A message counts once, however late it comes again; what is too old to be known is refused, and made anew by its terminal."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.conf import LazySettings

from terminals.estate.models import Terminal
from terminals.link.models import DeadLetter, SeenMessage
from terminals.link.protocol import topics
from terminals.link.protocol.messages.link import NotTaken
from terminals.link.services import signed_ack
from terminals.link.tasks import prune_link
from terminals.settlement.models import Batch
from terminals.simulator import not_taken
from terminals.simulator.device import Device, Outgoing
from tests.conftest import deliver, enrolled_device, working_device

pytestmark = pytest.mark.django_db
BEGIN = datetime(2031, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def device(register: Callable[[str], Terminal]) -> Device:
    return working_device(register("SN-1"))


def on(day: float) -> datetime:
    return BEGIN + timedelta(days=day)


def test_a_signed_message_is_never_new_again(register: Callable[[str], Terminal]) -> None:
    with time_machine.travel(on(0), tick=False):
        device = enrolled_device(register("SN-1"))
        hello = device.hello()
        prune_link()
        assert deliver(hello).fresh == 1
    for day in (1.0, 30.0, 89.0, 90.0):
        with time_machine.travel(on(day), tick=False):
            prune_link()
            assert (deliver(hello).fresh, DeadLetter.objects.count()) == (0, 0), day
    for day in (90.01, 91, 125, 160, 1000):
        with time_machine.travel(on(day), tick=False):
            prune_link()
            result = deliver(hello)
            assert (result.fresh, [one.reason for one in result.not_taken[device.memory.device_id]]) == (
                0,
                ["too_old"],
            ), day
    assert SeenMessage.objects.filter(signed=True).count() == 0


def test_a_clock_a_day_wrong_does_no_harm_and_makes_no_hole(register: Callable[[str], Terminal]) -> None:
    with time_machine.travel(on(0), tick=False):
        device = enrolled_device(register("SN-1"))
        device.now = lambda: on(1.9)
        ahead = device.hello()
        device.now = lambda: on(-1)
        behind = device.hello()
        assert (deliver(ahead, behind).fresh, DeadLetter.objects.count()) == (2, 0)
    for message, age in ((ahead, 1.9), (behind, -1)):
        for day in (1, 89, 90, 91, 92, 93):
            with time_machine.travel(on(day), tick=False):
                prune_link()
                assert deliver(message).fresh == 0, (day, age)


def ack_for(device: Device, result: object) -> list[Outgoing]:
    to = device.memory.device_id
    return device.receive(topics.ack(to), signed_ack(to, [], result.not_taken[to]))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("wrong_by", "reason"), [(-400, "too_old"), (3, "clock_ahead")])
def test_what_a_wrong_clock_said_is_made_anew_and_its_money_counts_once(
    wrong_by: float, reason: str, device: Device
) -> None:
    with time_machine.travel(on(0), tick=False):
        device.now = lambda: on(wrong_by)
        device.sell()
        [event] = device.upload_transactions()
        result = deliver(device.hello(), event)
        assert (result.fresh, result.events) == (0, {})
        assert {letter.reason for letter in DeadLetter.objects.all()} == {reason}
        hello, anew = ack_for(device, result)
        assert device.now() == on(0)
        taken = deliver(hello, anew)
        assert (taken.fresh, taken.not_taken) == (2, {})
        deliver(*device.pending_events())
        assert Batch.objects.get().transaction_count == 1


def test_only_its_own_terminal_can_cause_that_it_is_told(device: Device) -> None:
    with time_machine.travel(on(0), tick=False):
        device.now = lambda: on(-400)
        forged = device.hello()
        forged = forged._replace(payload=forged.payload.replace(b'"seq":', b'"seq": 1'))
        assert deliver(forged).not_taken == {}


def test_readings_come_by_any_clock(device: Device, settings: LazySettings) -> None:
    device.now = lambda: datetime(1999, 1, 1, tzinfo=UTC)
    reading = device.health()
    assert deliver(reading).fresh == 1
    assert (SeenMessage.objects.filter(signed=False).count(), DeadLetter.objects.count()) == (0, 0)
    assert Terminal.objects.get().health.sent_at.year == 1999


def test_an_old_answer_sets_no_clock_and_a_hello_that_was_too_much_is_said_again(device: Device) -> None:
    with time_machine.travel(on(0), tick=False):
        device.now = lambda: on(-400)
        result = deliver(device.hello())
        device.now = lambda: on(0)
        device.hello()  # it has set its clock by itself meanwhile
        with time_machine.travel(on(-200), tick=False):
            assert ack_for(device, result) == []
        assert device.now() == on(0)
        told = {device.memory.device_id: [NotTaken("too_much", "hello", retry_after_seconds=0)]}
        assert ack_for(device, result._replace(not_taken=told)) == []
        [again] = not_taken.hello_again(device)
        assert (again.topic, not_taken.hello_again(device)) == (device.memory.topics["hello"], [])
