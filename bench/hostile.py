"""What 30 hostile messages cost a batch of 300: the inbox alone, against the same database, no broker."""

import time
from datetime import UTC, datetime
from typing import Any

from bench import stage
from bench.stage import Measure

TOGETHER, HOSTILE, ROUNDS = 300, 30, 15
DEPTH = b"[" * 20_000 + b"]" * 20_000
BODIES = [b'{"x": 1e400}', b'{"x": ' + b"9" * 5_000 + b"}", b'{"x": "\xff\xfe"}', DEPTH]


def measure() -> list[Measure]:
    """Return `hostile_batch_vs_clean`: batches a second with 30 of 300 hostile, beside clean ones."""
    from terminals.link.inbox import Inbox
    from terminals.link.routes import routes

    hostile: list[float] = []
    clean: list[float] = []
    for _ in range(ROUNDS):
        for rates, count in ((clean, 0), (hostile, HOSTILE)):
            batch, inbox = _batch(count), Inbox(routes)
            start = time.perf_counter()
            result = inbox.take(batch)
            rates.append(1 / (time.perf_counter() - start))
            assert (result.fresh, result.dead) == (TOGETHER - count, count)
    stage.run_sql("TRUNCATE link_deadletter, health_healthsample, health_healthstate, link_seenmessage")
    return [stage.compare("hostile_batch_vs_clean", hostile, clean)]


def _batch(hostile: int) -> list[Any]:
    from terminals.link.mqtt import Incoming

    now = datetime.now(UTC)
    messages = stage.health_messages(TOGETHER - hostile)
    for n in range(hostile):
        topic, payload = stage.health_messages(1)[0]
        head = payload[: payload.index(b'"body"')].replace(b'"health"', b'"transactions"')
        messages.insert(n * 9, (topic.replace("health", "event"), head + b'"body": ' + BODIES[n % len(BODIES)] + b"}"))
    return [Incoming(1, n, topic, payload, now) for n, (topic, payload) in enumerate(messages, 1)]
