"""Against Mosquitto as it is shipped: who may come in, and that no terminal is ever near another's topics.

By what is delivered: a broker says yes to a subscription and to a message that it then throws away.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from fleet.local import device_ca, pki
from terminals.enrolment import authority, certificates
from terminals.estate.models import Terminal
from terminals.link.protocol import topics
from terminals.simulator.identity import private_pem
from tests.conftest import enrolled_device, wait_until
from tests.mosquitto import Mosquitto, mosquitto_broker, needs_mosquitto
from tests.mqtt import Client, Identity, Refused, identity_of, lets_in

__all__ = ["mosquitto_broker"]
pytestmark = needs_mosquitto
Register = Callable[[str], Terminal]
A, B = "SN-A", "SN-B1"
GREEDY = (
    "#",
    "+/+/+/+/+/+",
    "tw/#",
    f"tw/v1/+/{B}/dn/+",
    topics.down(B),
    f"tw/v1/{topics.shard(B)}/#",
    "$share/g/tw/v1/+/+/dn/+",
    f"$share/g/{topics.command(B)}",
    "$SYS/#",
    topics.presence(B),
    topics.up(B, "event"),
)


@pytest.fixture
def identities(register: Register) -> dict[str, Identity]:
    return {name: identity_of(enrolled_device(register(name))) for name in (A, B)}


def test_a_terminal_hears_its_own_topics_and_nothing_else(
    mosquitto_broker: Mosquitto, identities: dict[str, Identity]
) -> None:
    with (
        Client(mosquitto_broker, mosquitto_broker.link_identity, "link", port=mosquitto_broker.port + 1) as link,
        Client(mosquitto_broker, identities[B], B) as other,
    ):
        other.publish(topics.presence(B), b"retained", retain=True)
        with Client(mosquitto_broker, identities[A], A) as terminal:
            for name in GREEDY:  # one by one: were one refused, the others would still be
                terminal.subscribe(name)
            terminal.subscribe(topics.down(A))
            for device_id in (A, B):
                link.publish(topics.command(device_id), device_id.encode())
                link.publish(topics.ack(device_id), device_id.encode(), retain=True)
            other.publish(topics.up(B, "event"), b"a secret")
            heard = terminal.heard()
    assert {topic for topic, _ in heard} == {topics.command(A), topics.ack(A)}
    assert {payload for _, payload in heard} == {A.encode()}


def test_a_terminal_speaks_on_its_own_topics_and_on_no_others(
    mosquitto_broker: Mosquitto, identities: dict[str, Identity]
) -> None:
    with Client(mosquitto_broker, mosquitto_broker.link_identity, "link", port=mosquitto_broker.port + 1) as link:
        link.subscribe("tw/v1/#")
        with (
            Client(mosquitto_broker, identities[B], B) as other,
            Client(mosquitto_broker, identities[A], A, will=(topics.presence(B), b"will")) as terminal,
        ):
            other.subscribe(topics.down(B))
            for topic in (
                topics.up(B, "event"),
                topics.presence(B),
                topics.command(B),
                topics.ack(B),
                topics.command(A),
                f"tw/v1/{topics.shard(B)}/{B}/up/hello",
                "tw/v1/x",
            ):
                terminal.publish(topic, b"forged")
                terminal.publish(topic, b"forged", retain=True)
            terminal.publish(topics.up(A, "hello"), b"mine")
            terminal.vanish()
            assert other.heard() == []
        heard = link.heard()
    assert heard == [(topics.up(A, "hello"), b"mine")]
    with Client(mosquitto_broker, mosquitto_broker.link_identity, "later", port=mosquitto_broker.port + 1) as link:
        link.subscribe("tw/v1/#")
        assert link.heard() == [], "nothing was retained"


def test_nobody_takes_the_session_of_another(mosquitto_broker: Mosquitto, identities: dict[str, Identity]) -> None:
    with Client(mosquitto_broker, identities[B], B) as other:
        other.subscribe(topics.down(B))
        with Client(mosquitto_broker, identities[A], B):  # under the other's client id
            assert not other.ended.wait(1)
            with Client(
                mosquitto_broker, mosquitto_broker.link_identity, "link", port=mosquitto_broker.port + 1
            ) as link:
                link.publish(topics.command(B), b"still here")
            assert other.heard() == [(topics.command(B), b"still here")]


def issued(device_id: str, *, usage: Any = ExtendedKeyUsageOID.CLIENT_AUTH, ended: bool = False) -> Identity:
    """Return an identity that the device CA signed, of another usage or out of date."""
    key, row = ec.generate_private_key(ec.SECP256R1()), authority.issuer().row
    ca = x509.load_pem_x509_certificate(row.certificate_pem.encode())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device_id)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + (timedelta(hours=-1) if ended else timedelta(days=1)))
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(authority.unsealed(row), hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return Identity(pem + row.certificate_pem, private_pem(key))


def foreign(device_id: str) -> Identity:
    ca_key, key = pki.new_private_key_pem().encode(), pki.new_private_key_pem().encode()
    ca = pki.self_signed_ca_pem(ca_key).encode()
    return Identity(pki.signed_pem(key, device_id, ca_key_pem=ca_key, ca_pem=ca, server=False), key.decode())


def test_only_a_valid_certificate_of_the_device_ca_for_clients_comes_in(
    mosquitto_broker: Mosquitto, identities: dict[str, Identity]
) -> None:
    def comes_in(identity: Identity | None) -> bool:
        return lets_in(mosquitto_broker, identity, A)

    assert comes_in(identities[A])
    assert comes_in(issued(A))
    assert not comes_in(None)
    assert not comes_in(issued(A, ended=True))
    assert not comes_in(issued(A, usage=ExtendedKeyUsageOID.SERVER_AUTH))
    assert not comes_in(foreign(A))
    assert not comes_in(mosquitto_broker.link_identity), "the links' door is another one"
    certificates.revoke([Terminal.objects.get(serial=A).pk])
    mosquitto_broker.list_revoked()
    wait_until(lambda: not comes_in(identities[A]), "the revoked one is refused", 10)
    assert comes_in(identities[B])


def test_a_terminal_does_not_come_in_by_the_links_door(
    mosquitto_broker: Mosquitto, identities: dict[str, Identity]
) -> None:
    with pytest.raises((OSError, Refused)), Client(mosquitto_broker, identities[A], A, port=mosquitto_broker.port + 1):
        pass


def test_terminals_of_both_device_cas_come_in_after_one_replaced_the_other(
    mosquitto_broker: Mosquitto, identities: dict[str, Identity], register: Register
) -> None:
    device_ca.replace()
    later = identity_of(enrolled_device(register("SN-C")))
    mosquitto_broker.list_revoked()
    wait_until(lambda: lets_in(mosquitto_broker, later, "SN-C"), "the new CA is known", 10)
    assert lets_in(mosquitto_broker, identities[A], A)
