"""What deploy/rabbitmq/permissions.py answers a node: word for word, and to what no node would ask."""

import http.client
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest

from fleet.local import pki, shipped
from terminals.estate.rules import DEVICE_ID
from terminals.link.protocol import topics
from tests import services
from tests.conftest import wait_until

SCRIPT = str(shipped.DEPLOY / "rabbitmq" / "permissions.py")
permissions = runpy.run_path(SCRIPT)
answer = permissions["answer"]


def asked(path: str, **parameters: str) -> bool:
    told = answer(path, urlencode(parameters))
    assert told in ("allow", "deny")
    return bool(told == "allow")


def on_topic(username: str, permission: str, topic: str, **other: str) -> bool:
    key = topic.translate(str.maketrans("/.+", "./*"))
    question = {"vhost": "/", "resource": "topic", "name": "amq.topic", "permission": permission, "routing_key": key}
    return asked("/topic", username=username, **question | other)


def test_a_terminal_may_do_all_that_it_is_told_at_enrolment() -> None:
    told = topics.told("SN-1")
    hears = told.pop("down")
    assert all(on_topic("SN-1", "write", topic) for topic in told.values())
    assert on_topic("SN-1", "read", hears)
    assert on_topic("SN-1", "read", topics.command("SN-1"))


def test_a_terminal_may_do_nothing_else() -> None:
    for name, others in (("SN-1", "SN-12"), ("SN-1", "SN"), ("SN-1", "XSN-1"), ("----", "SN-1")):
        for topic in topics.told(others).values():
            assert not on_topic(name, "read", topic)
            assert not on_topic(name, "write", topic)
    other_shard = topics.up("SN-1", "event").replace(topics.shard("SN-1"), "00")
    for topic in (topics.command("SN-1"), topics.up("SN-1", "gossip"), other_shard, "tw/v1/+/SN-1/up/event"):
        assert not on_topic("SN-1", "write", topic)
    for topic in (topics.up("SN-1", "event"), "tw/v1/+/SN-1/dn/+", topics.prefix("SN-1") + "#", "#", "+", ""):
        assert not on_topic("SN-1", "read", topic)
    for changed in ({"name": "amq.direct"}, {"vhost": "celery"}):
        assert not on_topic("SN-1", "write", topics.up("SN-1", "event"), **changed)
    for permission in ("configure", ""):
        assert not on_topic("SN-1", permission, topics.up("SN-1", "event"))
    assert not on_topic("SN-1\n", "write", topics.up("SN-1", "event"))
    assert not on_topic(".*", "write", topics.up("SN-1", "event"))


@pytest.mark.parametrize(
    ("name", "comes_in"),
    [
        ("SN-1", True),
        ("sn-1", False),
        (pki.LINK_NAME, False),
        ("S", False),
        ("", False),
        ("SN-1\n", False),
    ],
)
def test_who_logs_in(name: str, comes_in: bool) -> None:
    assert permissions["TERMINAL"].pattern == DEVICE_ID.pattern
    assert asked("/user", username=name) is comes_in
    for password in ("", "x"):
        assert not asked("/user", username=name, password=password, client_id=name, vhost="/")


def test_nobody_chooses_a_client_id() -> None:
    assert asked("/vhost", username="SN-1", vhost="/", client_id="SN-1")
    assert not asked("/vhost", username="SN-1", vhost="/", client_id="SN-2")
    assert not asked("/vhost", username="SN-1", vhost="/")
    assert not asked("/vhost", username="SN-1", vhost="celery", client_id="SN-1")


def test_a_queue_is_for_its_own_client_alone() -> None:
    def may(username: str, resource: str, name: str, permission: str, client_id: str = "SN-1") -> bool:
        who = {"username": username, "vhost": "/", "client_id": client_id}
        return asked("/resource", **who, resource=resource, name=name, permission=permission)

    for permission in ("configure", "write", "read"):
        assert may("SN-1", "queue", "mqtt-subscription-SN-1qos1", permission)
        assert may("SN-1", "queue", "mqtt-subscription-SN-1qos0", permission)
        assert not may("SN-1", "queue", "mqtt-subscription-SN-2qos1", permission)
        assert not may("SN-1", "queue", "mqtt-subscription-SN-2qos1", permission, "SN-2")
        assert not may("SN-1", "queue", "celery", permission)
        assert not may("SN-1", "exchange", "", permission)
        assert may("SN-1", "exchange", "amq.topic", permission) is (permission != "configure")


def test_what_no_node_asks_is_denied() -> None:
    good = urlencode({"username": "SN-1", "vhost": "/", "client_id": "SN-1"})
    assert answer("/vhost", good) == "allow"
    for body in (
        "",
        "x",
        "&",
        f"{good}&client_id=SN-2",
        f"{good}&username=SN-1",
        "username",
        "username=%ff%fe",
        "\0" * 9,
    ):
        for path in ("/user", "/vhost", "/resource", "/topic"):
            assert answer(path, body) == "deny"
    for path in ("", "/", "/vhost/", "/vhost?x", "//vhost", "/health"):
        assert answer(path, good) == "deny"


@pytest.fixture
def port() -> Iterator[int]:
    free = services.free_port_pair()
    with subprocess.Popen([sys.executable, SCRIPT, str(free)]) as process:
        wait_until(lambda: services.listens(free), "it listens", 20)
        yield free
        process.terminate()


def test_it_answers_one_question_after_the_other_on_a_connection(port: int) -> None:
    node = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    node.connect()
    wire = node.sock
    for username, told in (("SN-1", b"allow"), ("x", b"deny"), ("SN-2", b"allow")):
        node.request("POST", "/user", urlencode({"username": username}))
        answered = node.getresponse()
        assert (answered.status, answered.read(), node.sock) == (200, told, wire)


@pytest.mark.parametrize(
    ("body", "length"), [(b"username=" + b"S" * 70_000, "70009"), (b"", "-1"), (b"", "x"), (b"username=SN-1", "5")]
)
def test_a_body_that_cannot_be_is_no_permission_and_leaves_it_alive(port: int, body: bytes, length: str) -> None:
    stranger = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    stranger.putrequest("POST", "/user")
    stranger.putheader("Content-Length", length)
    stranger.endheaders(body)
    with suppress(http.client.HTTPException, ConnectionError):
        assert stranger.getresponse().read() != b"allow"
    test_it_answers_one_question_after_the_other_on_a_connection(port)


@pytest.mark.parametrize("argv", [["x"], ["99999"], ["1", "2"]])
def test_a_port_that_is_none_is_refused_with_how_to_say_it(argv: list[str]) -> None:
    run: Any = subprocess.run([sys.executable, SCRIPT, *argv], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr == f"permissions.py [PORT]: {' '.join(argv)} is no port\n"
