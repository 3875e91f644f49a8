"""A link process: its lanes' connections, threads for the ways in, the relay and evictions; the main thread renews its lease."""

import logging
import os
import secrets
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from types import FrameType

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from terminals.link import evictions, leases
from terminals.link.heartbeat import Work, beat
from terminals.link.intake import Intake
from terminals.link.lanes import Lanes
from terminals.link.mqtt import BrokerConnection, Wires, take_over
from terminals.link.relay import Relay

logger = logging.getLogger(__name__)
EVICT_SECONDS = 1.0
DEAF_SECONDS = 30.0


class LinkProcess:
    """Runs until told to stop. Safe to kill at any instant: nothing is acknowledged before it is committed."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Two that were given one name, or one and its ghost, must not take each other's lanes for their own.
        self._start = f"{name}:{secrets.token_hex(4)}"
        wires = Wires(settings.LINK_INBOXES)
        self.lanes = Lanes(self._start, wires)
        self.out = BrokerConnection(f"{settings.MQTT_CLIENT_PREFIX}-out-{self._start}", wires)
        self.relay = Relay(self.out)
        self._intakes = [Intake(queue, self.lanes.acknowledge, self.out) for queue in wires.queues]
        self._stop = threading.Event()
        self._connected_at = time.monotonic()

    def stop(self, signum: int = 0, frame: FrameType | None = None) -> None:
        """Finish the messages in hand, then leave."""
        self._stop.set()

    def run(self) -> None:
        works = (("relay", self._run_relay), ("evictions", self._run_evictions))
        threads: list[threading.Thread | Intake] = [
            *(threading.Thread(target=work, name=name, daemon=True) for name, work in works),
            *self._intakes,
        ]
        self.out.start()
        for starting in threads:
            starting.start()
        while True:
            self._renew()
            if self._stop.wait(leases.RENEW_SECONDS):
                break
        for intake in self._intakes:
            intake.stop()
        for ending in threads:
            ending.join(5)
        self.lanes.stop()
        self.out.stop()
        self.out.join()
        with suppress(OperationalError, InterfaceError):
            leases.leave(self._start)
        connection.close()

    def _run_relay(self) -> None:
        try:
            self.relay.run(self._stop.is_set)
        except Exception:
            logger.exception("the relay failed; the process leaves, to be started again")
            os._exit(1)

    def _run_evictions(self) -> None:
        try:
            self._evict()
        except Exception:
            logger.exception("evictions failed; the process leaves, to be started again")
            os._exit(1)

    def _evict(self) -> None:
        while not self._stop.wait(EVICT_SECONDS):
            try:
                while (
                    self.out.healthy and evictions.run_due(take_over) == evictions.AT_ONCE and not self._stop.is_set()
                ):
                    pass
            except (OperationalError, InterfaceError):  # the relay and the inbox tell of it
                connection.close()
        connection.close()

    def _is_deaf(self) -> bool:
        """Whether it has had no broker for long: another process, on another host, may have one."""
        if self.out.healthy:
            self._connected_at = time.monotonic()
        return time.monotonic() - self._connected_at > DEAF_SECONDS

    def _renew(self) -> None:
        """Keep or change lanes, and tell that this process lives. Who does not get on with its messages lets its lanes go."""
        try:
            if max(intake.busy_seconds for intake in self._intakes) > leases.LEASE_SECONDS:
                logger.warning("an inbox does not get on; this process leaves its lanes to the others until it does")
            elif self._is_deaf():
                logger.warning("no broker for long; this process leaves its lanes to the others until it has one")
            else:
                self.lanes.renew()
            connected, now = self.out.healthy and self.lanes.healthy, datetime.now(UTC)
            work = [intake.work for intake in self._intakes]
            done = Work(
                max(one.lag_seconds for one in work), sum(one.taken for one in work), sum(one.refused for one in work)
            )
            # The link alone speaks to the broker, so that it tells of both; the link itself lives, connected or not.
            beat(name=f"link:{self.name}", part="link", healthy=True, at=now, work=done)
            beat(name=f"broker:{self.name}", part="broker", healthy=connected, at=now)
        except (OperationalError, InterfaceError) as error:
            logger.warning("no heartbeat: %s", str(error).splitlines()[0])
            connection.close()
