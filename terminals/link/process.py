"""A link process: its lanes' connections, the inbox in the main thread, the relay in another, a heartbeat."""

import logging
import os
import secrets
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty
from types import FrameType

import psycopg.errors
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from terminals.link import evictions, leases, services
from terminals.link.heartbeat import beat
from terminals.link.inbox import Inbox
from terminals.link.lanes import Lanes
from terminals.link.mqtt import BrokerConnection, Incoming, NotConnected, Wires, take_over
from terminals.link.protocol import topics
from terminals.link.relay import Relay
from terminals.link.routes import routes

logger = logging.getLogger(__name__)
MOST_AT_ONCE = 500
EVICT_SECONDS = 1.0


class LinkProcess:
    """Runs until told to stop. Safe to kill at any instant: nothing is acknowledged before it is committed."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Two that were given one name, or one and its ghost, must not take each other's lanes for their own.
        self._start = f"{name}:{secrets.token_hex(4)}"
        self._wires = Wires()
        self.lanes = Lanes(self._start, self._wires)
        self.out = BrokerConnection(f"{settings.MQTT_CLIENT_PREFIX}-out-{self._start}", self._wires)
        self.relay = Relay(self.out)
        self._inbox = Inbox(routes)
        self._stop = threading.Event()
        self._next_renewal = 0.0

    def stop(self, signum: int = 0, frame: FrameType | None = None) -> None:
        """Finish the messages in hand, then leave."""
        self._stop.set()

    def run(self) -> None:
        threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("relay", self._run_relay), ("evictions", self._run_evictions))
        ]
        self.out.start()
        for thread in threads:
            thread.start()
        while not self._stop.is_set():
            self._renew()
            messages = self._collect()
            if messages:
                self._take(messages)
        for thread in threads:
            thread.join(timeout=5)
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

    def _collect(self) -> list[Incoming]:
        """Wait for messages, then take along what has come meanwhile, until there are MOST_AT_ONCE or a few more.

        It does not linger for more: a broker that allows few messages in flight would only wait for us. Under load
        they grow in number by themselves, because the next ones gather while these commit.
        """
        messages: list[Incoming] = []
        try:
            messages += self._wires.incoming.get(timeout=0.5)
            while len(messages) < MOST_AT_ONCE:
                messages += self._wires.incoming.get_nowait()
        except Empty:
            pass
        return messages

    def _take(self, messages: list[Incoming]) -> None:
        """Commit messages, however long the database takes to come back; then acknowledge them."""
        while not self._stop.is_set():
            try:
                taken = self._inbox.take(messages)
                break
            except (OperationalError, InterfaceError) as error:
                if isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                    continue  # PostgreSQL has undone it; nothing is away
                logger.warning("the inbox waits for the database: %s", str(error).splitlines()[0])
                connection.close()
                self._stop.wait(1)
        else:
            return
        self.lanes.acknowledge(messages)
        if taken.dead:
            logger.warning("%d of %d messages became dead letters; the admin shows them", taken.dead, len(messages))
        if taken.events:
            acks = [
                (topics.ack(device_id), services.signed_ack(device_id, ids)) for device_id, ids in taken.events.items()
            ]
            with suppress(NotConnected):  # the terminals send these events again and get their acks then
                self.out.publish(acks)

    def _renew(self) -> None:
        """Every two seconds: keep or change lanes, and tell that this process lives. Here and not in a thread of its own, because
        who does not get on with its messages shall lose its lanes."""
        if time.monotonic() < self._next_renewal:
            return
        self._next_renewal = time.monotonic() + leases.RENEW_SECONDS
        try:
            self.lanes.renew()
            connected, now = self.out.healthy and self.lanes.healthy, datetime.now(UTC)
            # The link alone speaks to the broker, so that it tells of both; the link itself lives, connected or not.
            beat(name=f"link:{self.name}", part="link", healthy=True, at=now)
            beat(name=f"broker:{self.name}", part="broker", healthy=connected, at=now)
        except (OperationalError, InterfaceError) as error:
            logger.warning("no heartbeat: %s", str(error).splitlines()[0])
            connection.close()
