"""The link, from broker to committed rows, beside a bare paho subscriber and beside a naive handler."""

import time

from bench import stage
from bench.stage import Measure

MESSAGES = 40_000
NAIVE_MESSAGES = 1_500
ROUNDS = 5
# Each terminal's messages are committed in order, so their states tell when all are in: counting samples would cost a core.
AT_THEIR_LAST = f"SELECT count(*) FROM health_healthstate WHERE seq >= {MESSAGES - stage.FLEET}"  # noqa: S608 - a constant


def measure() -> list[Measure]:
    """Return `link_vs_bare_paho` and `link_vs_naive_orm`, each round's three one after the other."""
    link, bare, naive = [], [], []
    for _ in range(ROUNDS):
        bare.append(_actor("bare", MESSAGES))
        link.append(_link())
        naive.append(_actor("naive", NAIVE_MESSAGES))
    return [stage.compare("link_vs_bare_paho", link, bare), stage.compare("link_vs_naive_orm", link, naive)]


def _actor(role: str, count: int) -> float:
    """Return the messages per second of one of the processes in `actors`."""
    with stage.process("-m", "bench.actors", role, str(count)) as receiver:
        stage.wait_for_line(receiver, "ready")
        with stage.process("-m", "bench.actors", "publish", str(count)) as publisher:
            stage.wait_for_line(publisher, "ready")
            start = time.perf_counter()
            stage.wait_for_line(receiver, "done")
            return count / (time.perf_counter() - start)


def _link() -> float:
    """Return the messages per second that `run_device_link` commits."""
    count = MESSAGES
    stage.run_sql("TRUNCATE health_healthsample, health_healthstate, link_seenmessage")
    with stage.link_process(), stage.process("-m", "bench.actors", "publish", str(count)) as publisher:
        stage.wait_for_line(publisher, "ready")
        start = time.perf_counter()
        stage.wait_until(lambda: stage.scalar(AT_THEIR_LAST) == stage.FLEET)
        elapsed = time.perf_counter() - start
    assert stage.scalar("SELECT count(*) FROM health_healthsample") == count, "a message was taken twice"
    assert stage.scalar("SELECT count(*) FROM link_deadletter") == 0, "a message became a dead letter"
    return count / elapsed
