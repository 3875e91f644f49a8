"""The relay, from queued rows to PUBACK and `sent`, beside paho publishing the same payloads to the same topics."""

import os
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import paho.mqtt.client as paho
import uuid_utils.compat
from django.utils import timezone
from paho.mqtt.enums import CallbackAPIVersion

from bench import stage
from bench.stage import Measure
from terminals.link import outbox, services
from terminals.link.mqtt import configure
from terminals.link.protocol import topics
from terminals.link.protocol.messages.base import Empty

COMMANDS = 20_000
ROUNDS = 5
IN_FLIGHT = 200  # what suits paho best


def measure() -> list[Measure]:
    """Return `relay_vs_bare_paho`."""
    payload = _payload()
    messages = [(topics.command(stage.device_id(n % stage.FLEET)), payload) for n in range(COMMANDS)]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(bare(messages))
        ours.append(_relay(payload))
    return [stage.compare("relay_vs_bare_paho", ours, theirs)]


def _payload() -> bytes:
    """Return one signed command: making and signing them is the business of whoever queues them."""
    from terminals.estate.models import Terminal
    from terminals.link.models import Command

    terminal = Terminal.objects.earliest("pk")
    order = services.CommandRequest(services.target_of(terminal), "ping", Empty(), timedelta(hours=1))
    [command] = services.create_commands([order], requested_by="bench")
    Command.objects.all().delete()
    return bytes(command.payload)


def bare(messages: Sequence[tuple[str, bytes]]) -> float:
    """Return how many (topic, payload) a second paho publishes, each acknowledged."""
    acknowledged, done = 0, threading.Event()

    def on_publish(*_: Any) -> None:
        nonlocal acknowledged
        acknowledged += 1
        if acknowledged == len(messages):
            done.set()

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.on_publish = on_publish
    configure(client)
    client.connect("127.0.0.1", int(os.environ["MQTT_PORT"]))
    client.loop_start()
    start = time.perf_counter()
    for topic, payload in messages:
        client.publish(topic, payload, qos=1)
    assert done.wait(120), "paho does not come to its end"
    elapsed = time.perf_counter() - start
    client.disconnect()
    client.loop_stop()
    return len(messages) / elapsed


def _relay(payload: bytes) -> float:
    from terminals.estate.models import Terminal
    from terminals.link.models import Command

    now = timezone.now()
    terminals = list(Terminal.objects.values_list("pk", flat=True))
    Command.objects.bulk_create(
        (
            Command(
                id=uuid_utils.compat.uuid7(),
                terminal_id=terminals[n % len(terminals)],
                type="ping",
                payload=payload,
                requested_by="bench",
                created_at=now,
                expires_at=now + timedelta(hours=1),
                next_attempt_at=now + timedelta(minutes=30),
            )
            for n in range(COMMANDS)
        ),
        batch_size=2000,
    )
    with stage.link_process():
        # Due one after the other, so that one row tells when all are out: counting them would cost a core.
        stage.run_sql(
            "UPDATE link_command c SET next_attempt_at = now() - interval '1 hour' + n * interval '1 microsecond'"
            " FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM link_command) o WHERE o.id = c.id"
        )
        last = Command.objects.latest("id").pk
        stage.run_sql("ANALYZE link_command")
        start = time.perf_counter()
        outbox.wake_relay()
        stage.wait_until(lambda: Command.objects.filter(pk=last, state="sent").exists())
        elapsed = time.perf_counter() - start
        stage.wait_until(lambda: not Command.objects.filter(state="queued").exists())
    assert stage.scalar("SELECT max(attempts) FROM link_command") == 1, "a command was published twice"
    Command.objects.all().delete()
    return COMMANDS / elapsed
