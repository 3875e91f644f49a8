"""The whole job on a cluster of three RabbitMQ nodes, of which one dies under load: mutual TLS as it is shipped, each terminal by
its own certificate. MQTT and Celery share the cluster."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from fleet.local import installation
from terminals.simulator.faults import DEFAULT_SHARES, faults_of
from terminals.simulator.memory import Memory
from tests import services
from tests.conftest import wait_until
from tests.flows.test_up import Up
from tests.rabbitmq import Cluster, needs_rabbitmq

pytestmark = needs_rabbitmq
TERMINALS = 200
PATIENCE = 480  # seconds; alone each step takes half a minute at most, beside three other tests on two cores several
SEED = 1  # of `manage.py up`


@pytest.fixture
def secrets() -> Path:
    """What an installation in its folder will find there, so that the brokers can be there before it."""
    return Path(shutil.copytree(services.STATE_DIR / "secrets", services.STATE_DIR / "clustered" / "secrets"))


@pytest.fixture
def cluster(tmp_path: Path, secrets: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "rabbitmq", secrets, secrets / "device_root.crt.pem") as running:
        yield running


@pytest.fixture
def up(cluster: Cluster) -> Iterator[Up]:
    running = Up(services.STATE_DIR / "clustered", **cluster.settings, TERMINALS=str(TERMINALS))
    with subprocess.Popen(cluster.follow_command(f"http://127.0.0.1:{running.port}")) as following:
        yield running
        following.terminate()
    running.end()


def online(up: Up) -> list[dict[str, Any]]:
    return list(up.api("terminals/?online=true&page_size=500")["results"])


def runs(up: Up) -> list[dict[str, Any]]:
    return list(up.api("settlement/runs/?page_size=1000")["results"])


def settled(up: Up) -> set[tuple[str, int]]:
    """Return the (terminal, batch) that were settled by themselves, and agree with what was recorded of them."""
    return {
        (run["terminal"], run["batch_number"])
        for run in runs(up)
        if run["trigger"] == "count" and run["state"] == "balanced"
    }


def acknowledged(up: Up) -> set[str]:
    """Return the transactions of batches that terminals closed and for which they wait for no acknowledgement any more; but none
    of those terminals that a planted fault lets lose some before they are sent."""
    found = set[str]()
    for path in (up.state_dir / "simulator").glob("SIM-*.json"):
        memory = msgspec.json.decode(path.read_bytes(), type=Memory)
        waiting = "".join(event.payload for event in memory.pending)
        if not faults_of(memory.serial, SEED, DEFAULT_SHARES).lost_upload:
            closed = {str(record.id) for batch in memory.archive.values() for record in batch}
            found |= {one for one in closed if one not in waiting}
    return found


def in_the_database(up: Up) -> list[str]:
    address = f"postgresql://postgres@/tillwarden?host={installation.socket_dir(up.state_dir)}"
    with psycopg.connect(address) as database:
        return [str(one) for (one,) in database.execute("SELECT transaction_id FROM settlement_transaction").fetchall()]


def test_200_terminals_go_on_though_a_node_dies_under_load(up: Up, cluster: Cluster) -> None:
    wait_until(up.ready, "readyz is 200", 240)
    wait_until(lambda: len(online(up)) == TERMINALS, "all online", PATIENCE)
    (organisation,) = {one["id"] for one in up.api("organisations/")["results"] if one["parent"] is None}
    up.api("settlement/levels/", {"organisation": organisation, "settings": {"count_limit": 3}})
    wait_until(lambda: len(settled(up)) >= 10, "some have settled", PATIENCE)
    cluster.kill(1)
    before = settled(up)
    wait_until(lambda: len({terminal for terminal, _ in settled(up) - before}) >= 50, "50 terminals settle", PATIENCE)
    wait_until(lambda: len(online(up)) == TERMINALS, "all online again", PATIENCE)
    wait_until(up.ready, "readyz is 200 again", PATIENCE)
    cluster.restart(1)
    between = settled(up)
    wait_until(lambda: len(settled(up) - between) >= 10, "and on three nodes again", PATIENCE)
    said, stored = acknowledged(up), Counter(in_the_database(up))
    assert len(said) > TERMINALS
    assert said - stored.keys() == set(), "acknowledged, and missing"
    assert [one for one, count in stored.items() if count > 1] == []
    assert up.api("dead-letters/")["results"] == []
    assert up.failures() == []
    assert "delayed_delivery" not in up.log.read_text(), "the worker tried the dead node first (fleet/worker.py)"
