"""The lanes of a link process: for each that it holds, a connection with the lane's own session at the broker.

Their windows of unacknowledged messages add up. A terminal's messages all come by one lane, and so in their order; the
session is the lane's, so that another process that takes it over is given what the last one did not acknowledge.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from queue import SimpleQueue

from django.conf import settings

from terminals.link import leases
from terminals.link.mqtt import BrokerConnection, Incoming, Wires, take_over
from terminals.link.protocol import topics

FORGOTTEN_AT_ONCE = 1  # it may take two seconds, and messages wait meanwhile
CLOSED_WITHIN_SECONDS = 2.0  # or left to end by themselves: the lease must be renewed in time


def client_id(lanes: int, number: int) -> str:
    """Return the name of a lane's session at the broker; lower case, which no device id has."""
    return f"{settings.MQTT_CLIENT_PREFIX}-lane-{lanes}-{number}"


class Lanes:
    """The lanes of the process `name`, which must call `renew` every RENEW_SECONDS."""

    def __init__(self, name: str, wires: Wires) -> None:
        self._name = name
        self._wires = wires
        self._open: dict[int, BrokerConnection] = {}
        self._held_until = 0.0

    @property
    def healthy(self) -> bool:
        """Whether every lane that it holds hears."""
        return all(lane.healthy for lane in self._open.values())

    def renew(self) -> None:
        """Prolong the lease, and open and close connections as the lanes are shared out now."""
        asked_at = time.monotonic()
        held = leases.renew(self._name)
        self._held_until = asked_at + leases.LEASE_SECONDS
        self._hold(held.lanes - set(held.give))
        leases.give_up(self._name, held.give)
        leases.forget([lane for lane in held.outdated[:FORGOTTEN_AT_ONCE] if take_over(client_id(*lane))])

    def stop(self) -> None:
        """Close all; what was not acknowledged waits at the broker for whoever holds the lanes next."""
        self._hold(set())

    def acknowledge(self, messages: Sequence[Incoming]) -> None:
        """Acknowledge messages on the connections by which they came, in order of arrival; any thread may."""
        packet_ids: dict[int, list[int]] = defaultdict(list)
        for message in messages:
            if message.packet_id:
                packet_ids[message.generation].append(message.packet_id)
        for lane in list(self._open.values()):  # the main thread may be opening or closing some
            generation = lane.generation
            if generation in packet_ids:
                lane.acknowledge(generation, packet_ids[generation])

    def _hold(self, wanted: AbstractSet[int]) -> None:
        gone = {number for number, lane in self._open.items() if not lane.alive}
        closing = [self._open.pop(number) for number in (self._open.keys() - wanted) | gone]
        for lane in closing:
            lane.stop()
        deadline = time.monotonic() + CLOSED_WITHIN_SECONDS
        for lane in closing:
            lane.join(max(0.0, deadline - time.monotonic()))
        for number in wanted - self._open.keys():
            filters = topics.lane_filters(number, settings.LINK_LANES)
            name = client_id(settings.LINK_LANES, number)
            lane = BrokerConnection(
                name, self._wires, filters=filters, queue=self._least_used(), may_connect=self._is_leased
            )
            self._open[number] = lane
            lane.start()

    def _least_used(self) -> "SimpleQueue[list[Incoming]]":
        used = [lane.queue for lane in self._open.values()]
        return min(self._wires.queues, key=lambda queue: sum(queue is other for other in used))

    def _is_leased(self) -> bool:
        """Whether the lease still runs: one that ran out unnoticed must not push out the connection of who has it now."""
        return time.monotonic() < self._held_until
