"""The protocol's documents, made from the message types: JSON Schemas, AsyncAPI 3, and a page with every message.

Pure: `documents()` returns file name -> text. `manage.py protocol_docs` writes them to docs/protocol, and a check holds
that what is written is what the code speaks.
"""

import json
from typing import Any

import msgspec
from msgspec import Struct

from terminals.link.protocol import messages, topics
from terminals.link.protocol.messages import COMMANDS, INBOUND
from terminals.link.protocol.messages.base import COMMAND_ID, EVENT_ID, CommandEnvelope, Envelope

DRAFT = "https://json-schema.org/draft/2020-12/schema"
DEVICE_ID = "SN-20417"
_SIG = "eyJhbGciOiJFUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..<signature>"
DOWN = COMMANDS | {"ack": messages.link.ACK}
BODIES: dict[str, type[Struct]] = {name: declared.body for name, declared in INBOUND.items()}
BODIES |= {name: declared.body for name, declared in DOWN.items()}


def documents() -> dict[str, str]:
    """Return every generated file of docs/protocol: its name -> its text."""
    files = {f"schemas/{name}.json": _json(schema(name)) for name in BODIES}
    return files | {"asyncapi.json": _json(asyncapi()), "messages.md": messages_page()}


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a whole message: its envelope with this type's body."""
    inbound = name in INBOUND
    wrapper, body = (Envelope if inbound else CommandEnvelope), BODIES[name]
    (envelope_ref, body_ref), definitions = msgspec.json.schema_components(
        [wrapper, body], ref_template="#/$defs/{name}"
    )
    envelope = definitions.pop(envelope_ref["$ref"].rsplit("/", 1)[1])
    envelope["properties"] |= {
        "type": {"const": name},
        "body": body_ref,
        "sig": {"type": "string", "description": "detached JWS over the envelope without `sig`"},
    }
    signed = not inbound or INBOUND[name].signed
    if not inbound and name != "ack":
        envelope["required"] += ["not_before", "expires_at"]
    required = sorted({*envelope["required"], *(["sig"] if signed else [])})
    head = {"$schema": DRAFT, "$id": f"urn:tillwarden:v1:{name}"}
    return head | {**envelope, "title": name, "description": _summary(body), "required": required, "$defs": definitions}


def example(name: str) -> dict[str, Any]:
    """Return a whole message as it goes over the wire, its signature left out."""
    body = _drop_nulls(msgspec.to_builtins((INBOUND.get(name) or DOWN[name]).example, str_keys=True))
    instant = "2026-03-01T20:30:00.000Z"
    if name in INBOUND:
        envelope = {
            "id": str(EVENT_ID),
            "type": name,
            "sent_at": instant,
            "boot_id": "0195531a-77aa",
            "seq": 42,
            "body": body,
        }
        return envelope | ({"sig": _SIG} if INBOUND[name].signed else {})
    envelope = {"id": str(COMMAND_ID), "type": name, "device_id": DEVICE_ID, "sent_at": instant}
    if name != "ack":
        envelope |= {"not_before": instant, "expires_at": "2026-03-02T00:30:00.000Z"}
    return envelope | {"body": body, "sig": _SIG}


def topic(name: str) -> str:
    """Return the topic of a message type with `{shard}` and `{device_id}` in it."""
    if name in INBOUND:
        made = topics.told(DEVICE_ID)[INBOUND[name].channel]
    else:
        made = topics.ack(DEVICE_ID) if name == "ack" else topics.command(DEVICE_ID)
    return made.replace(f"{topics.shard(DEVICE_ID)}/{DEVICE_ID}", "{shard}/{device_id}")


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3 document, told from the server's side."""
    channels = _channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tillwarden device protocol",
            "version": "1.0.0",
            "description": "How a card terminal and the terminal management system speak over MQTT, at QoS 1.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "mqtt.example.com:8883",
                "protocol": "mqtts",
                "description": "MQTT 3.1.1 or 5; the client certificate from enrolment names the terminal",
            }
        },
        "channels": channels,
        "operations": {channel: _operation(channel) for channel in channels},
        "components": {"messages": {name: _message(name) for name in BODIES}},
    }


def _channels() -> dict[str, Any]:
    """Return the channels by the last word of their topic, each with the messages that go there."""
    channels: dict[str, Any] = {}
    for name in BODIES:
        address = topic(name)
        channel = channels.setdefault(
            address.rsplit("/", 1)[1],
            {
                "address": address,
                "parameters": {
                    "shard": {"description": "as enrolment answered it, in the topics: two hex digits"},
                    "device_id": {"description": "as enrolment answered it: [A-Z0-9-]{4,32}"},
                },
                "messages": {},
            },
        )
        channel["messages"][name] = {"$ref": f"#/components/messages/{name}"}
    return channels


def _operation(channel: str) -> dict[str, Any]:
    return {
        "action": "send" if channel in ("command", "ack") else "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "bindings": {"mqtt": {"qos": 1, "retain": channel == "presence"}},
    }


def _message(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "summary": _summary(BODIES[name]).split(". ")[0],
        "contentType": "application/json",
        "payload": {"$ref": f"schemas/{name}.json"},
        "examples": [{"name": name, "payload": example(name)}],
    }


def messages_page() -> str:
    """Return the page that shows every message, for people who build terminals."""
    parts = [
        "# Every message of the device protocol v1",
        "Made by `manage.py protocol_docs` from the types that the server itself decodes with; do not edit. "
        "[README.md](README.md) tells how they are sent, signed and acknowledged.",
        "## From the terminal",
        *(_section(name) for name in INBOUND),
        "## To the terminal",
        *(_section(name) for name in DOWN),
    ]
    return "\n\n".join(parts) + "\n"


def _section(name: str) -> str:
    signed = name not in INBOUND or INBOUND[name].signed
    facts = f"`{topic(name)}` · {'signed' if signed else 'not signed'} · [schema](schemas/{name}.json)"
    rows = list(_rows(schema(name)))
    table = "\n".join(["| member of `body` | type | |", "| --- | --- | --- |", *rows]) if rows else "`body` is `{}`."
    return "\n\n".join(
        [f"### {name}", facts, _summary(BODIES[name]), table, f"```json\n{json.dumps(example(name), indent=2)}\n```"]
    )


def _rows(whole: dict[str, Any], at: str = "", definition: dict[str, Any] | None = None) -> Any:
    """Yield a table row for each member of the body, members of members with a dotted name."""
    definitions = whole["$defs"]
    definition = definition or definitions[whole["properties"]["body"]["$ref"].rsplit("/", 1)[1]]
    for name, member in definition.get("properties", {}).items():
        optional = "" if name in definition.get("required", []) else "optional"
        inner = next((m for m in member.get("anyOf", [member]) if m.get("type") != "null"), member)
        target = inner.get("items", inner)
        notes = ", ".join(filter(None, [optional, inner.get("description", "").replace("|", "/"), _limits(inner)]))
        yield f"| `{at}{name}` | {_type_name(inner)} | {notes} |"
        if "$ref" in target:
            suffix = "[]." if "items" in inner else "."
            yield from _rows(whole, f"{at}{name}{suffix}", definitions[target["$ref"].rsplit("/", 1)[1]])


def _type_name(member: dict[str, Any]) -> str:
    if "enum" in member:
        return " ".join(f"`{value}`" for value in member["enum"])
    if "$ref" in member:
        return "object"
    return str(member.get("format") or member.get("type", "any"))


def _limits(member: dict[str, Any]) -> str:
    low, high = member.get("minimum"), member.get("maximum")
    bounds = f"{low} to {high}" if low is not None and high is not None else ""
    sizes = f"at most {member['maxLength']} characters" if "maxLength" in member else ""
    items = f"at most {member['maxItems']}" if "maxItems" in member else ""
    pattern = f"`{member['pattern']}`".replace("|", "\\|") if "pattern" in member else ""
    return ", ".join(filter(None, [bounds, sizes, items, pattern]))


def _summary(body: type[Struct]) -> str:
    return " ".join((body.__doc__ or "").split())


def _drop_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _drop_nulls(member) for name, member in value.items() if member is not None}
    return [_drop_nulls(member) for member in value] if isinstance(value, list) else value


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
