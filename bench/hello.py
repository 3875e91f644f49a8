"""What a hello costs beside a health message: the inbox alone, against the same database, no broker."""

import time
from datetime import UTC, datetime
from typing import Any

from bench import fleet, stage
from bench.stage import Measure

TERMINALS, TOGETHER, ROUNDS = 2000, 500, 3


def measure() -> list[Measure]:
    """Return `hello_vs_health`: signed hellos a second that the inbox takes, beside unsigned readings, in batches of 500."""
    devices = fleet.plant(TERMINALS, prefix="HELLO")
    hellos: list[float] = []
    healths: list[float] = []
    _rate([device.hello() for device in devices])  # the first opens their sessions
    for _ in range(ROUNDS):
        hellos.append(_rate([device.hello() for device in devices]))
        healths.append(_rate([device.health() for device in devices]))
    stage.run_sql("TRUNCATE link_deadletter, health_healthsample, health_healthstate, link_seenmessage")
    return [stage.compare("hello_vs_health", hellos, healths)]


def _rate(said: list[Any]) -> float:
    from terminals.link.inbox import Inbox
    from terminals.link.mqtt import Incoming
    from terminals.link.routes import routes

    now, inbox = datetime.now(UTC), Inbox(routes)
    messages = [Incoming(1, n, one.topic, one.payload, now) for n, one in enumerate(said, 1)]
    start = time.perf_counter()
    for at in range(0, len(messages), TOGETHER):
        result = inbox.take(messages[at : at + TOGETHER])
        assert (result.fresh, result.dead) == (TOGETHER, 0), result.dead
    return len(messages) / (time.perf_counter() - start)
