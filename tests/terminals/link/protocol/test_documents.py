"""The protocol's documents say what the code speaks, and what the simulator really sends and hears fits them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization
from django.core.management import call_command

from firmware.services import assign_release
from terminals.enrolment import certificates, trust
from terminals.enrolment.models import Certificate
from terminals.estate.models import Terminal
from terminals.keys import rules as key_rules
from terminals.keys.services import request_key_delivery
from terminals.link import services
from terminals.link.models import Command, DeadLetter
from terminals.link.protocol import signing
from terminals.link.protocol.documents import BODIES, example
from terminals.link.protocol.messages.health import Tamper
from terminals.settlement.runs.services import request_settlement
from terminals.settlement.transactions.gaps import ask_for_missing
from terminals.simulator.device import Device, Outgoing
from tests.conftest import deliver, enrolled_device, set_parameters
from tests.releases import ready

DOCS = Path(__file__).parent.parent.parent.parent.parent / "docs" / "protocol"


def check(message: dict[str, Any]) -> None:
    """Hold a message against the schema that docs/protocol gives its type."""
    schema = json.loads((DOCS / "schemas" / f"{message['type']}.json").read_text())
    jsonschema.validate(message, schema, format_checker=jsonschema.FormatChecker())


def test_the_documents_are_up_to_date() -> None:
    call_command("protocol_docs", "--check")


@pytest.mark.parametrize("name", BODIES)
def test_every_example_fits_its_schema(name: str) -> None:
    check(example(name))


def test_the_asyncapi_document_names_every_message_and_every_schema_exists() -> None:
    document = json.loads((DOCS / "asyncapi.json").read_text())
    assert document["asyncapi"] == "3.0.0"
    assert set(document["components"]["messages"]) == set(BODIES)
    for message in document["components"]["messages"].values():
        assert (DOCS / message["payload"]["$ref"]).exists()
    assert {name for channel in document["channels"].values() for name in channel["messages"]} == set(BODIES)
    assert set(document["operations"]) == set(document["channels"])


def run_out_soon(terminal: Terminal) -> None:
    """Let a terminal's certificate be old, and the terminal be told so."""
    now = datetime.now(UTC)
    Certificate.objects.filter(terminal=terminal).update(
        issued_at=now - timedelta(days=80), not_after=now + timedelta(days=9)
    )
    assert certificates.remind(now) == 1


def test_recorded_traffic_of_a_terminals_whole_day_fits_the_schemas(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    recorded: list[bytes] = []

    def send(*messages: Outgoing) -> None:
        recorded.extend(message.payload for message in messages)
        for device_id, ids in deliver(*messages).events.items():
            recorded.append(services.signed_ack(device_id, ids))

    def obey_all() -> None:
        for command in Command.objects.filter(finished_at=None).order_by("id"):
            recorded.append(bytes(command.payload))
            send(*device.receive("", bytes(command.payload)))

    send(device.presence("online"), device.hello(), device.health())
    terminal.refresh_from_db()
    for _ in range(3):
        device.sell()
    send(*device.upload_transactions(), device.report("tamper", Tamper(False, device.now())))
    assign_release(release=ready("2.0.0"), terminals=[terminal], actor="ops")
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    set_parameters(terminal, currency="EUR")
    request_settlement(terminal=terminal, actor="ops")
    trust.note_trust({terminal.pk: "before"}, datetime.now(UTC))
    for kind in services.PLAIN_COMMANDS:
        services.send_plain_command(terminal=terminal, command_type=kind, actor="ops")
        obey_all()
    lose_one(device, send)
    obey_all()
    run_out_soon(terminal)
    obey_all()  # it asks for a certificate
    obey_all()  # and takes it
    send(device.installing(40), device.finish_install(), device.presence("offline"))

    messages = [json.loads(payload) for payload in recorded]
    list(map(check, messages))
    assert {message["type"] for message in messages} == set(BODIES), "a type of the protocol was not heard"
    assert DeadLetter.objects.count() == 0


def lose_one(device: Device, send: Callable[..., None]) -> None:
    """Let a transaction get lost, and have the server ask for it."""
    device.sell()
    device.sell()
    device.memory.unsent.pop(0)
    send(*device.upload_transactions())
    ask_for_missing(datetime.now(UTC) + timedelta(minutes=2))


def test_the_vectors_hold() -> None:
    vectors = json.loads((DOCS / "vectors.json").read_text())
    private_key: Any = serialization.load_pem_private_key(vectors["terminal_private_key"].encode(), None)
    keys = {"server": signing.public_key(vectors["server_public_key"]), "terminal": private_key.public_key()}
    for signed in vectors["signed"]:
        message = signed["message"]
        signing.verify_envelope(json.dumps(message).encode(), keys[signed["by"]])
        assert rfc8785.dumps({k: v for k, v in message.items() if k != "sig"}).decode() == signed["canonical"]
        check(message)
    assert vectors["server_key_id"] == signing.key_id(keys["server"])
    assert vectors["terminal_key_id"] == signing.key_id(private_key)
    agreement, block = vectors["key_agreement"], vectors["key_block"]
    trusted = {vectors["server_key_id"]: vectors["server_public_key"]}
    signing.verify_envelope(
        json.dumps(agreement["offer"]).encode(), signing.chosen_key(agreement["offer"]["sig"], trusted)
    )
    kbpk = key_rules.accept_offer(private_key, agreement["offer"], device_id=agreement["device_id"])
    assert kbpk.hex().upper() == agreement["kbpk"]
    working_key = key_rules.unwrap(kbpk=kbpk, key_block=block["block"], usage=block["usage"])
    assert (working_key.hex().upper(), key_rules.aes_kcv(working_key)) == (block["key"], block["kcv"])
