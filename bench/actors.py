"""The processes that a benchmark puts beside ours: `python -m bench.actors ROLE COUNT`.

bare    a plain paho subscriber that counts
naive   a paho subscriber with one ORM create and one ORM update for each message, acknowledged after both
publish a sender that is faster than any receiver: packets built beforehand, many in one send
"""

import json
import os
import select
import socket
import ssl
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench import stage
from terminals.link.mqtt import configure
from terminals.link.protocol import frames

PORT = int(os.environ["MQTT_PORT"])
FILTER = "tw/v1/+/+/up/+"
PER_SEND = 100
UNACKNOWLEDGED = 2_000


def subscribe(on_message: Any, *, manual_ack: bool = False) -> paho.Client:
    """Return a connected paho client whose subscription the broker has confirmed."""
    ready = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, manual_ack=manual_ack)
    client.on_connect = lambda client, *_: client.subscribe(FILTER, 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = on_message
    configure(client)
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    ready.wait(10)
    print("ready", flush=True)
    return client


def bare(count: int) -> None:
    seen = 0
    done = threading.Event()

    def on_message(client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            done.set()

    client = subscribe(on_message)
    done.wait()
    print("done", flush=True)
    client.loop_stop()


def _columns(told: dict[str, Any]) -> dict[str, Any]:
    """Return a health message as the columns of a reading."""
    body = told["body"]
    return {
        "message_id": told["id"],
        "boot_id": told["boot_id"],
        "seq": told["seq"],
        "sent_at": told["sent_at"],
        "received_at": datetime.now(UTC),
        "network_kind": body["network"]["kind"],
        "rssi_dbm": body["network"]["rssi_dbm"],
        "latency_ms": body["network"]["latency_ms"],
        **{part: body[part] for part in ("printer", "screen", "keypad", "card_reader", "storage_free_mb", "tamper")},
        "unsettled_minor": body["unsettled"]["amount_minor"],
        "unsettled_currency": body["unsettled"]["currency"],
        "unsettled_count": body["unsettled"]["count"],
    }


def naive(count: int) -> None:
    import django

    django.setup()
    from terminals.estate.models import Terminal
    from terminals.health.models import HealthSample, HealthState

    terminals = dict(Terminal.objects.values_list("device_id", "pk"))
    seen = 0
    done = threading.Event()

    def on_message(client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        nonlocal seen
        told = json.loads(message.payload)
        terminal_id, reading = terminals[message.topic.split("/")[3]], _columns(told)
        HealthSample.objects.create(terminal_id=terminal_id, **reading)
        HealthState.objects.filter(pk=terminal_id).update(**reading, software=told["body"]["software"])
        client.ack(message.mid, message.qos)
        seen += 1
        if seen == count:
            done.set()

    client = subscribe(on_message, manual_ack=True)
    done.wait()
    print("done", flush=True)
    client.loop_stop()


def _connection() -> socket.socket:
    """Connect to the broker, by TLS where the links do."""
    connection = socket.create_connection(("127.0.0.1", PORT))
    if not os.environ["MQTT_URL"].startswith("mqtts"):
        return connection
    context = ssl.create_default_context(cafile=os.environ["MQTT_CA_FILE"])
    context.load_cert_chain(os.environ["MQTT_CERTIFICATE_FILE"], os.environ["MQTT_KEY_FILE"])
    return context.wrap_socket(connection, server_hostname="127.0.0.1")


def publish(count: int) -> None:
    """Build, say `ready`, wait for a line on standard input's pipe, then send all and wait for every PUBACK."""
    messages = stage.health_messages(count)
    sends = [
        frames.publish_frames(
            frames.Publish(n % 65_000 + 1, topic.encode(), payload)
            for n, (topic, payload) in enumerate(messages[at : at + PER_SEND], start=at)
        )
        for at in range(0, count, PER_SEND)
    ]
    connection = _connection()
    connection.sendall(b"\x10\x15\x00\x04MQTT\x04\x02\x00\x3c\x00\x09publisher")
    connection.recv(4)
    print("ready", flush=True)
    sent, acknowledged = 0, 0
    for packets in sends:
        while sent - acknowledged > UNACKNOWLEDGED or select.select([connection], [], [], 0)[0]:
            acknowledged += len(connection.recv(65_536)) // 4
        connection.sendall(packets)
        sent += PER_SEND
    while acknowledged < count:
        acknowledged += len(connection.recv(65_536)) // 4
    print("done", flush=True)
    time.sleep(60)  # it stays connected until it is ended: a goodbye is no part of what is measured


if __name__ == "__main__":
    {"bare": bare, "naive": naive, "publish": publish}[sys.argv[1]](int(sys.argv[2]))
