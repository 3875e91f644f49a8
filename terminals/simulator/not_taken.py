"""What a virtual terminal does about what the server did not take: it waits, or sets its clock and sends the message anew."""

import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import uuid_utils.compat

from terminals.link.protocol import messages, signing
from terminals.link.protocol.messages.link import NotTaken
from terminals.simulator import identity
from terminals.simulator.memory import PendingEvent

if TYPE_CHECKING:
    from terminals.simulator.device import Device, Outgoing

CLOCK_IS_RIGHT_WITHIN = timedelta(minutes=1)


def heed(device: "Device", server_time: datetime, told: Sequence[NotTaken]) -> "list[Outgoing]":
    """Return what is to be sent anew; what there is too much of waits (`device.quiet_until`)."""
    for one in told:
        if one.reason == "too_much":
            device.quiet_until[one.channel] = time.monotonic() + one.retry_after_seconds
    badly_timed = {str(one.id) for one in told if one.reason != "too_much"}
    events = [event for event in device.memory.pending if event.message_id in badly_timed]
    hello = device.hello_id in badly_timed
    if events or hello:  # else it is an old answer: a clock is not set by it
        _set_clock(device, server_time)
    for event in events:
        _sign_anew(device, event)
    return ([device.hello()] if hello else []) + (device.pending_events() if events else [])


def hello_again(device: "Device") -> "list[Outgoing]":
    """Say hello once more where there were too many and the wait is over: the server knows only what it has read."""
    if device.quiet_until.get("hello", float("inf")) > time.monotonic():
        return []
    del device.quiet_until["hello"]
    return [device.hello()]


def _set_clock(device: "Device", server_time: datetime) -> None:
    wrong_by, now = server_time - device.now(), device.now
    if abs(wrong_by) > CLOCK_IS_RIGHT_WITHIN:
        device.now = lambda: now() + wrong_by


def _sign_anew(device: "Device", event: PendingEvent) -> None:
    """Make the same event again, with a new id and the present time; its body, and so what it says of the money, stays."""
    envelope = json.loads(event.payload)
    del envelope["sig"]
    event.message_id = envelope["id"] = str(uuid_utils.compat.uuid7())
    envelope["sent_at"] = device.now().isoformat(timespec="milliseconds")
    key = identity.private_key(device.memory.private_key_pem)
    event.payload = messages.encode(signing.sign_envelope(envelope, key)).decode()
    device.changed = True
