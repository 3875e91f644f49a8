"""A link process dies in the middle of 5,000 critical events."""

from collections.abc import Callable
from functools import partial

import msgspec

from terminals.estate.models import Terminal
from terminals.link.models import DeadLetter, SeenMessage
from terminals.settlement.models import Batch, Transaction
from terminals.simulator.device import Device
from tests.broker import TerminalSide
from tests.conftest import Links, enrolled_device, wait_until

DEVICES, SALES = 20, 250


def take_acks(side: TerminalSide, devices: dict[str, Device]) -> None:
    """Let the terminals hear what came down; each forgets the events that the server has taken."""
    while not side.received.empty():
        topic, payload = side.received.get()
        devices[topic.split("/")[3]].receive(topic, payload)


def at_least(count: int) -> bool:
    return Transaction.objects.count() >= count


def test_every_event_is_in_the_database_exactly_once_though_the_link_is_killed_twice(
    links: Links, register: Callable[[str], Terminal]
) -> None:
    devices = {f"SN-{n:02d}": enrolled_device(register(f"SN-{n:02d}")) for n in range(DEVICES)}
    events = []
    for _ in range(SALES):
        for device in devices.values():
            device.memory.paper = 100
            device.sell()
            events += device.upload_transactions()
    assert len(events) == DEVICES * SALES == 5000

    with TerminalSide(*devices) as side:
        links.start("one")
        for part, committed in ((events[:2500], 700), (events[2500:], 3200)):
            side.send(part)
            wait_until(partial(at_least, committed), f"{committed} committed")
            links.kill("one")
            links.start("one")

        def all_acknowledged() -> bool:
            take_acks(side, devices)
            return not any(device.memory.pending for device in devices.values())

        wait_until(lambda: SeenMessage.objects.count() == 5000, "all 5,000 in the database")
        # An ack that died with the link is made up for when the terminal repeats the event.
        side.send(outgoing for device in devices.values() for outgoing in device.pending_events())
        wait_until(all_acknowledged, "every event acknowledged end to end")

    sold = [msgspec.json.decode(event.payload)["body"]["records"][0] for event in events]
    assert Transaction.objects.count() == 5000
    assert set(map(str, Transaction.objects.values_list("transaction_id", flat=True))) == {sale["id"] for sale in sold}
    net = sum(sale["amount_minor"] * (1 if sale["kind"] == "sale" else -1) for sale in sold)
    assert sum(Batch.objects.values_list("net_minor", flat=True)) == net
    assert sum(Batch.objects.values_list("transaction_count", flat=True)) == 5000
    assert DeadLetter.objects.count() == 0
