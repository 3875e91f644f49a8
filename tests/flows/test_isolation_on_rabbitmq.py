"""Against RabbitMQ as it is shipped: who may come in, and that no terminal is ever near another's topics.

A client that does what it may not is disconnected. That nothing of it was done is seen by what is delivered.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from django.conf import settings
from django.utils import timezone

from fleet.local import device_ca, pki
from terminals.enrolment import certificates
from terminals.estate.models import Terminal
from terminals.link.protocol import topics
from tests.conftest import enrolled_device
from tests.flows.test_isolation import GREEDY, A, B, foreign, issued
from tests.mqtt import Client, Identity, identity_of, lets_in, link_identity
from tests.rabbitmq import Cluster, needs_rabbitmq

pytestmark = needs_rabbitmq
Register = Callable[[str], Terminal]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    secrets = tmp_path_factory.mktemp("secrets")
    pki.make_services(secrets)
    roots = Path(settings.DEVICE_CA_CERTIFICATE_FILE)
    with Cluster(tmp_path_factory.mktemp("node"), secrets, roots, nodes=(1,)) as running:
        yield running


@pytest.fixture
def identities(register: Register, node: Cluster) -> dict[str, Identity]:
    made = {name: identity_of(enrolled_device(register(name))) for name in (A, B)}
    node.list_revoked(certificates.revocation_lists(timezone.now()))
    return made


@pytest.fixture
def link(node: Cluster) -> Iterator[Client]:
    """A link that hears everything."""
    with Client(node, link_identity(node.secrets), "lane-1") as listening:
        listening.subscribe("tw/v1/#")
        yield listening


@pytest.fixture
def other(node: Cluster, identities: dict[str, Identity], link: Client) -> Iterator[Client]:
    """The other terminal, which hears its own topics."""
    with Client(node, identities[B], B) as listening:
        listening.subscribe(topics.down(B))
        yield listening


def is_disconnected(node: Cluster, identity: Identity, does: Callable[[Client], object]) -> bool:
    """Whether a terminal that does something loses its connection for it."""
    with Client(node, identity, A) as terminal:
        does(terminal)
        return terminal.ended.wait(10)


@pytest.mark.parametrize(
    "name", [*GREEDY, "*/#", f"tw/v1/*/{B}/dn/*", f"tw.v1.{topics.shard(B)}.{B}.dn.command", f"{A}/#"]
)
def test_a_terminal_that_would_hear_more_than_its_own_topics_is_disconnected(
    node: Cluster, identities: dict[str, Identity], name: str
) -> None:
    assert is_disconnected(node, identities[A], lambda terminal: terminal.ask_for(name))


def test_a_terminal_hears_its_own_topics_and_nothing_else(
    node: Cluster, identities: dict[str, Identity], link: Client, other: Client
) -> None:
    other.publish(topics.presence(B), b"retained", retain=True)
    with Client(node, identities[A], A) as terminal:
        terminal.subscribe(topics.down(A))
        for device_id in (A, B):
            link.publish(topics.command(device_id), device_id.encode())
            link.publish(topics.ack(device_id), device_id.encode(), retain=True)
        heard = terminal.heard()
    assert {topic for topic, _ in heard} == {topics.command(A), topics.ack(A)}
    assert {payload for _, payload in heard} == {A.encode()}


def test_a_terminal_speaks_on_its_own_topics_and_on_no_others(
    node: Cluster, identities: dict[str, Identity], link: Client, other: Client
) -> None:
    for topic in (
        topics.up(B, "event"),
        topics.presence(B),
        topics.command(B),
        topics.command(A),
        topics.ack(A),
        f"tw/v1/{topics.shard(B)}/{B}/up/hello",
        f"tw.v1.{topics.shard(B)}.{B}.up.hello",
        f"tw/v1/x/{A}/up/hello",
        "tw/v1/x",
    ):
        for retain in (False, True):
            publish = partial(Client.publish, topic=topic, payload=b"forged", retain=retain)
            assert is_disconnected(node, identities[A], publish), topic
    with Client(node, identities[A], A, will=(topics.presence(B), b"forged")) as terminal:
        terminal.vanish()
    with Client(node, identities[A], A, will=(topics.presence(A), b"gone")) as terminal:
        terminal.publish(topics.up(A, "hello"), b"mine")
        terminal.vanish()
        heard = link.heard()
    assert heard == [(topics.up(A, "hello"), b"mine"), (topics.presence(A), b"gone")]
    assert other.heard(0) == []
    with Client(node, link_identity(node.secrets), "later") as later:
        later.subscribe("tw/v1/#")
        assert [message for message in later.heard() if message[1] == b"forged"] == [], "nothing was retained"


def test_a_message_that_is_too_large_is_not_taken(node: Cluster, identities: dict[str, Identity], link: Client) -> None:
    with Client(node, identities[A], A) as terminal:
        terminal.send(topics.up(A, "event"), b"x" * 300_000)
        terminal.send(topics.up(A, "event"), b"x" * 200_000)
        heard = link.heard(2)
    assert [len(payload) for _, payload in heard] in ([], [200_000]), "the first is not"


def test_nobody_takes_the_session_or_the_name_of_another(
    node: Cluster, identities: dict[str, Identity], link: Client, other: Client
) -> None:
    assert not lets_in(node, identities[A], B)
    assert not lets_in(node, identities[A], "lane-1")
    celery = "celery", node.celery_password
    for user in ((B, ""), (B, "x"), (A, ""), ("tillwarden-link", ""), ("guest", "guest"), ("", ""), celery):
        for client_id in (A, B):
            assert not lets_in(node, identities[A], client_id, user=user), user
    # Celery's own user, with its password, comes to its own virtual host alone: docs/operations.md.
    with Client(node, identities[A], A, user=(f"celery:{celery[0]}", celery[1])) as worker:
        worker.subscribe("#")
        link.publish(topics.command(A), b"to a terminal")
        worker.publish(topics.up(A, "hello"), b"not from a terminal")
        assert worker.heard() == [(topics.up(A, "hello"), b"not from a terminal")]
    assert link.heard() == [(topics.command(A), b"to a terminal")]
    assert not other.ended.is_set()
    assert not link.ended.is_set()
    link.publish(topics.command(B), b"still here")
    assert other.heard() == [(topics.command(B), b"still here")]


def test_only_a_valid_certificate_of_the_device_ca_for_clients_comes_in(
    node: Cluster, identities: dict[str, Identity]
) -> None:
    assert lets_in(node, identities[A], A)
    assert lets_in(node, issued(A), A)
    assert not lets_in(node, None, A)
    assert not lets_in(node, None, A, user=("guest", "guest"))
    assert not lets_in(node, issued(A, ended=True), A)
    assert not lets_in(node, issued(A, usage=ExtendedKeyUsageOID.SERVER_AUTH), A)
    assert not lets_in(node, foreign(A), A)
    with Client(node, identities[A], A) as revoked:
        certificates.revoke([Terminal.objects.get(serial=A).pk])
        node.list_revoked(certificates.revocation_lists(timezone.now()))
        with Client(node, link_identity(node.secrets), A):  # as a link does to end a terminal's connection
            assert revoked.ended.wait(10)
    assert not lets_in(node, identities[A], A)
    assert lets_in(node, identities[B], B)


def test_terminals_of_both_device_cas_come_in_after_one_replaced_the_other(
    node: Cluster, identities: dict[str, Identity], register: Register
) -> None:
    device_ca.replace()
    later = identity_of(enrolled_device(register("SN-C")))
    assert not lets_in(node, later, "SN-C"), "its CA's list is not known yet"
    node.list_revoked(certificates.revocation_lists(timezone.now()))
    assert lets_in(node, later, "SN-C")
    assert lets_in(node, identities[A], A)
