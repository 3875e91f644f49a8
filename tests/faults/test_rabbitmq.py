"""The whole job on a cluster of three RabbitMQ nodes, of which one dies under load; MQTT and Celery share the cluster."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.conftest import wait_until
from tests.flows.test_up import Up
from tests.rabbitmq import Cluster, needs_rabbitmq

pytestmark = needs_rabbitmq
TERMINALS = 200


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "rabbitmq") as running:
        yield running


@pytest.fixture
def up(cluster: Cluster) -> Iterator[Up]:
    environment = {"MQTT_URL": cluster.mqtt_url, "CELERY_BROKER_URL": cluster.amqp_url, "TERMINALS": str(TERMINALS)}
    running = Up(services.STATE_DIR / "clustered", **environment)
    yield running
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


def test_200_terminals_go_on_though_a_node_dies_under_load(up: Up, cluster: Cluster) -> None:
    wait_until(up.ready, "readyz is 200", 240)
    wait_until(lambda: len(online(up)) == TERMINALS, "all online", 240)
    (organisation,) = {one["id"] for one in up.api("organisations/")["results"] if one["parent"] is None}
    up.api("settlement/levels/", {"organisation": organisation, "settings": {"count_limit": 3}})
    wait_until(lambda: len(settled(up)) >= 10, "some have settled", 240)
    cluster.kill(1)
    before = settled(up)
    wait_until(lambda: len({terminal for terminal, _ in settled(up) - before}) >= 50, "50 terminals settle", 300)
    wait_until(lambda: len(online(up)) == TERMINALS, "all online again", 180)
    assert up.ready()
    cluster.restart(1)
    between = settled(up)
    wait_until(lambda: len(settled(up) - between) >= 10, "and on three nodes again", 180)
    batches = Counter((run["terminal"], run["batch_number"]) for run in runs(up) if run["state"] == "balanced")
    assert set(batches.values()) == {1}, "no batch is settled twice"
    assert up.api("dead-letters/")["results"] == []
