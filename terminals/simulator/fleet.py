"""The wires: many virtual terminals in one asyncio loop, each with an MQTT connection of its own."""

import asyncio
import errno
import logging
import random
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
from opentelemetry.trace import SpanKind

from terminals.common.tracing import traces
from terminals.link.protocol import brokers
from terminals.link.protocol.messages.base import CommandEnvelope
from terminals.simulator import acquirer, enrol, identity, memory, not_taken, updates, yesterday
from terminals.simulator.device import Device, Outgoing
from terminals.simulator.faults import Faults
from terminals.simulator.memory import PendingInstall

logger = logging.getLogger(__name__)
HEALTH_SECONDS = 15.0
UPLOAD_SECONDS = 4.0
REPEAT_EVENTS_SECONDS = 20.0
# One sale in eight seconds for a terminal of a small fleet; a large one together sells about sixty a second.
SALE_SECONDS, FLEET_SALES_PER_SECOND = 8.0, 60.0
LINK_DROP_MEAN_SECONDS = 600.0
FIRST_FILE_SECONDS, FILE_SECONDS = 45.0, 600.0  # of the imagined acquirer
DOWNLOAD_STEP_PERCENT = 10


class _LinkDropped(Exception):
    """The simulated network went away."""


def _trace(envelope: CommandEnvelope, since: datetime) -> None:
    """Note a command as a terminal does that collects traces of its own."""
    told = {"messaging.system": "mqtt", "messaging.message.id": str(envelope.id)}
    traces.noted(f"process {envelope.type}", envelope.traceparent, since, told, kind=SpanKind.CONSUMER)


class VirtualTerminal:
    """One terminal's life: enrol, connect, sell, report, obey; over and over."""

    def __init__(
        self,
        serial: str,
        folder: Path,
        http: httpx.AsyncClient,
        downloads: httpx.Client,
        faults: Faults,
        seed: int,
        fleet_size: int,
    ) -> None:
        self.serial = serial
        self._folder = folder
        self._http = http
        self._dice = random.Random(f"{seed}:{serial}")
        self._sale_seconds = max(SALE_SECONDS, fleet_size / FLEET_SALES_PER_SECOND)
        self._memory = memory.load(folder, serial)
        self.device = Device(self._memory, faults=faults, dice=self._dice, now=lambda: datetime.now(UTC))
        self.device.on_command = _trace
        self._outbox: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._downloads = downloads
        self._downloaded: PendingInstall | None = None
        self._has_downloaded = asyncio.Event()
        self._attempt = self._dice.randrange(1000)  # at the broker's nodes in turn
        self._told_percent: dict[str, int] = {}  # of the download under way

    @property
    def enrolled(self) -> bool:
        return self._memory.enrolled

    async def enrol(self, code: str) -> None:
        await enrol.enrol(self._http, self._memory, code)
        memory.save(self._folder, self._memory)

    def had_a_day(self) -> None:
        """Let a terminal of the demonstration have worked yesterday; it says so when it connects."""
        yesterday.live_through(self.device, datetime.now(UTC))
        memory.save(self._folder, self._memory)

    def tell(self, courier: acquirer.Courier, tid: str) -> None:
        """Let the imagined acquirer know of each batch that is closed with its host."""
        self.device.on_closed = lambda number: courier.note(acquirer.settled(self._memory, tid, number))

    async def live(self, connecting: asyncio.Semaphore) -> None:
        """Stay connected for ever; come back with full jitter, so that a fleet does not return in step."""
        failures = 0
        while True:
            try:
                # A task of its own for each session: before Python 3.13 a task group that ends by a failure leaves its
                # parent marked as cancelled (python/cpython#116720), and the next time limit in it would then kill it.
                await asyncio.create_task(self._session(connecting))
                failures = 0
            except* (aiomqtt.MqttError, OSError, _LinkDropped) as group:
                if any(isinstance(error, _LinkDropped) for error in group.exceptions):
                    failures = 0
                failures += 1
            await asyncio.sleep(self._dice.uniform(0.2, min(2.0**failures, 8.0)))

    def _client(self) -> aiomqtt.Client:
        """Return a client for the next of the broker's nodes."""
        self._attempt += 1
        broker = brokers.parse(self._memory.broker_urls[self._attempt % len(self._memory.broker_urls)])
        [(host, port)] = broker.nodes
        will = self.device.presence("offline")
        return aiomqtt.Client(
            host,
            port,
            identifier=self._memory.device_id,
            keepalive=30,
            timeout=15,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
            max_inflight_messages=50,
            tls_context=memory.tls_context(self._folder, self._memory) if broker.tls else None,
        )

    async def _session(self, connecting: asyncio.Semaphore) -> None:
        client = self._client()
        await connecting.acquire()
        try:
            async with asyncio.timeout(20):
                await client.__aenter__()
        finally:
            connecting.release()
        try:
            await client.subscribe(self._memory.topics["down"], qos=1)
            for outgoing in (self.device.presence("online"), self.device.hello(), *self.device.pending_events()):
                await _publish(client, outgoing)
            async with asyncio.TaskGroup() as tasks:
                for job in (
                    self._listen(client),
                    self._send(client),
                    self._sell(),
                    self._report(),
                    self._repeat(),
                    self._drop(),
                    self._activate(),
                ):
                    tasks.create_task(job)
        finally:
            try:
                async with asyncio.timeout(5):  # a broker that is gone confirms no goodbye
                    await client.__aexit__(None, None, None)
            except (aiomqtt.MqttError, TimeoutError):
                logger.debug("%s: the connection was gone already", self.serial)

    def _queue(self, outgoing: Iterable[Outgoing]) -> None:
        """Remember first, then send: what was said must be known after a restart."""
        batch = list(outgoing)
        if self.device.changed:
            memory.save(self._folder, self._memory)
            self.device.changed = False
        for message in batch:
            self._outbox.put_nowait(message)

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if isinstance(message.payload, bytes):
                self._queue(self.device.receive(str(message.topic), message.payload))
            pending = self.device.pending_install
            if pending is not None and pending is not self._downloaded:
                await self._install(pending)
            if self.device.reboot_wanted:
                await self._flush_and_reboot()
            if self.device.reconnect_wanted:  # with its new certificate
                await self._flush()
                self.device.reconnect_wanted = False
                raise _LinkDropped

    async def _send(self, client: aiomqtt.Client) -> None:
        task = asyncio.current_task()
        # Before Python 3.12 asyncio.wait_for, on which aiomqtt stands, swallows a cancellation that meets the PUBACK
        # (python/cpython#86296); this task would then wait for ever, and its session with it.
        while task is not None and not task.cancelling():
            await _publish(client, await self._outbox.get())

    async def _sell(self) -> None:
        next_upload = 0.0
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / self._sale_seconds))
            self.device.sell()
            if time.monotonic() >= next_upload:
                next_upload = time.monotonic() + UPLOAD_SECONDS
                self._queue(self.device.upload_transactions())

    async def _report(self) -> None:
        await asyncio.sleep(self._dice.uniform(0, 2))
        while True:
            self._queue([self.device.health()])
            if self.device.faults.has("reboots", self._memory.software.get("payment", "")):
                await self._flush_and_reboot()
            interval = self._memory.parameters.get("health_interval_seconds") or HEALTH_SECONDS
            await asyncio.sleep(interval * self._dice.uniform(0.9, 1.1))

    async def _repeat(self) -> None:
        """Send unacknowledged events again: PUBACK was the broker's word, not the server's. And renew the certificate in time."""
        while True:
            self._queue([*identity.renew_when_due(self.device), *not_taken.hello_again(self.device)])
            known = {event.message_id for event in self._memory.pending}
            await asyncio.sleep(REPEAT_EVENTS_SECONDS * self._dice.uniform(0.9, 1.1))
            if any(event.message_id in known for event in self._memory.pending):
                self._queue(self.device.pending_events())

    async def _drop(self) -> None:
        await asyncio.sleep(self._dice.expovariate(1 / LINK_DROP_MEAN_SECONDS))
        raise _LinkDropped

    async def _install(self, pending: PendingInstall) -> None:
        """Fetch the release as the repository and the assignment agree on it, and install it."""
        loop, folder = asyncio.get_running_loop(), self._folder / f"{self.serial}.releases"

        def progress(received: int) -> None:
            percent = min(99, received * 100 // pending.body.size_bytes)
            loop.call_soon_threadsafe(self._tell_progress, pending, percent)

        fetcher = updates.ResumingFetcher(self._downloads, self._dice, progress, self.device.faults)
        try:
            await asyncio.to_thread(
                updates.fetch,
                pending.assignment,
                root=self._memory.release_root,
                metadata_url=pending.body.metadata_url,
                url=pending.body.url,
                folder=folder,
                fetcher=fetcher,
                delta=pending.body.delta,
            )
        except updates.NotFetched as error:
            self._queue([self.device.finish_install(f"download failed: {error}")])
        except updates.NotTrusted as error:
            self._queue([self.device.finish_install(str(error), code="untrusted")])
        else:
            updates.keep(folder, pending.assignment)
            self._downloaded = pending
            self._has_downloaded.set()  # the rest is `_activate`'s
            return
        updates.forget(folder, pending.assignment)

    async def _activate(self) -> None:
        """Let what was downloaded run as soon as its time has come; until then the terminal sells and listens as ever."""
        while True:
            await self._has_downloaded.wait()
            pending = self._downloaded
            wanted = pending.body.activate_at if pending is not None else None
            if wanted is not None and (left := (wanted - datetime.now(UTC)).total_seconds()) > 0:
                await asyncio.sleep(min(left, 60))
                continue
            self._downloaded = None
            self._has_downloaded.clear()
            if pending is not None and self.device.pending_install is pending:
                self._queue([self.device.finish_install()])
            if self.device.reboot_wanted:
                await self._flush_and_reboot()

    def _tell_progress(self, pending: PendingInstall, percent: int) -> None:
        """Report how far a download is; one that ended meanwhile says nothing more."""
        told = self._told_percent.get(pending.command_id, 0)
        if self.device.pending_install is pending and percent >= told + DOWNLOAD_STEP_PERCENT:
            self._told_percent = {pending.command_id: percent}
            self._queue([self.device.installing(percent)])

    async def _flush_and_reboot(self) -> None:
        """Let the last words out, then restart with a new boot id."""
        await self._flush()
        self.device.boot()
        raise _LinkDropped

    async def _flush(self) -> None:
        while not self._outbox.empty():
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)


async def _publish(client: aiomqtt.Client, outgoing: Outgoing) -> None:
    await client.publish(outgoing.topic, outgoing.payload, qos=1, retain=outgoing.retain)


async def enrol_fleet(terminals: list[VirtualTerminal], http: httpx.AsyncClient, token: str) -> None:
    """Register and enrol those that have no identity yet, several at a time."""
    blank = [(number, terminal) for number, terminal in enumerate(terminals, start=1) if not terminal.enrolled]
    if not blank:
        return
    lanes = asyncio.Semaphore(8)
    registrar = enrol.Registrar(http, token)
    await registrar.look_around()

    async def one(number: int, terminal: VirtualTerminal) -> None:
        async with lanes:
            await terminal.enrol(await registrar.activation_code(terminal.serial, number))
            terminal.had_a_day()

    await asyncio.gather(*(one(number, terminal) for number, terminal in blank))
    logger.info("%d terminals enrolled", len(blank))


async def live(terminals: list[VirtualTerminal], courier: acquirer.Courier | None = None) -> None:
    """Let them all work until the process ends, and their acquirer write its files."""
    asyncio.get_running_loop().set_exception_handler(_on_stray_exception)
    connecting = asyncio.Semaphore(40)
    async with asyncio.TaskGroup() as tasks:
        for terminal in terminals:
            tasks.create_task(terminal.live(connecting))
        if courier is not None:
            tasks.create_task(_credit(courier))


async def _credit(courier: acquirer.Courier) -> None:
    """The acquirer's day: a first file soon after the start, about yesterday, and then one every while."""
    await asyncio.sleep(FIRST_FILE_SECONDS)
    while True:
        try:
            await courier.bring()
        except (httpx.HTTPError, OSError) as error:
            logger.warning("credit files wait: %s", error)
        await asyncio.sleep(FILE_SECONDS)


def _on_stray_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """aiomqtt leaves the future of a refused connection behind, and asks to watch sockets that have closed meanwhile; `live` has
    already dealt with that."""
    error = context.get("exception")
    if not (isinstance(error, aiomqtt.MqttError) or (isinstance(error, OSError) and error.errno == errno.EBADF)):
        loop.default_exception_handler(context)
