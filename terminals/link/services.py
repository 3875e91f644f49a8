"""Commands: made and signed in the transaction of whoever asks, closed exactly once."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
import rfc8785
import uuid_utils.compat
from django.db import connection, transaction
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.estate.rules import COMMANDED_STATES
from terminals.estate.services import hold
from terminals.link import traced
from terminals.link.models import Command
from terminals.link.outbox import wake_relay
from terminals.link.outcomes import supersede_commands
from terminals.link.protocol import messages, signing
from terminals.link.protocol.messages.base import Empty
from terminals.link.protocol.messages.link import Ack, NotTaken

SEND_COMMAND = "link.send_command"  # what sending a plain command needs
READ_MESSAGE = "link.read_message"  # to see whole signed messages, key blocks and download links among them
FEW = 50  # commands that are inserted by the ORM
# What an operator may send as it is; the other types are made by their feature, which knows what stands behind them.
PLAIN_COMMANDS = tuple(command.name for command in messages.link.COMMANDS)


class Target(NamedTuple):
    """The two names of a terminal that a command needs."""

    terminal_id: int
    device_id: str


class CommandRequest(NamedTuple):
    """A command to be made."""

    target: Target
    type: str
    body: msgspec.Struct
    valid_for: timedelta
    not_before: datetime | None = None


def targets_of(terminals: Iterable[Terminal]) -> list[Target]:
    """Hold terminals and return them as targets; raise Refusal where the state of one takes no commands by now."""
    held = hold(terminal.pk for terminal in terminals)
    for terminal in held.values():
        if terminal.state not in COMMANDED_STATES:
            raise Refusal(
                "not_in_service",
                "terminal %(serial)s is %(state)s; only %(states)s ones take commands",
                serial=terminal.serial,
                state=terminal.state,
                states=COMMANDED_STATES,
            )
    return [Target(pk, terminal.device_id) for pk, terminal in held.items()]


def target_of(terminal: Terminal) -> Target:
    """Hold one terminal and return it as a target; raise Refusal where its state takes no commands by now."""
    return targets_of([terminal])[0]


def new_id() -> UUID:
    """Return a fresh UUIDv7."""
    return uuid_utils.compat.uuid7()


def create_commands(requests: Iterable[CommandRequest], *, requested_by: str) -> list[Command]:
    """Sign and queue commands; the relay hears of them when the caller's transaction commits."""
    key = signing.command_signing_key()
    now = timezone.now()
    requests, bodies = list(requests), dict[int, bytes]()
    commands = [_signed_command(request, requested_by, now, key, bodies) for request in requests]
    if len(commands) > FEW:
        _copy(commands)
    else:
        Command.objects.bulk_create(commands)
    if commands:
        wake_relay()
    return commands


# Raw: of many commands bulk_create takes as long as making and signing them (bench/bulk.py).
COPY = """
COPY link_command (id, terminal_id, type, state, payload, requested_by, created_at, expires_at, next_attempt_at, attempts,
                   code, detail, traceparent) FROM STDIN
"""


def _copy(commands: Sequence[Command]) -> None:
    """Insert new commands; what COPY leaves out is null."""
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for c in commands:
            times = (c.created_at, c.expires_at, c.next_attempt_at)
            told = (c.attempts, c.code, c.detail, c.traceparent)
            copy.write_row((c.id, c.terminal_id, c.type, c.state, c.payload, c.requested_by, *times, *told))


def check_plain(command_type: str) -> str:
    """Return one of PLAIN_COMMANDS as it is; raise Refusal for another."""
    if command_type not in PLAIN_COMMANDS:
        raise Refusal(
            "unknown_command_type",
            "%(command_type)s cannot be sent as it is; choose one of %(known)s",
            command_type=repr(command_type),
            known=", ".join(PLAIN_COMMANDS),
        )
    return command_type


def send_plain_commands(
    *, targets: Sequence[Target], command_type: str, requested_by: str, valid_for: timedelta = timedelta(hours=1)
) -> list[Command]:
    """Queue one of PLAIN_COMMANDS for each target, set-based; whoever calls it audits it."""
    if command_type in ("lock", "unlock"):
        supersede_commands([target.terminal_id for target in targets], ["lock", "unlock"])
    requests = [CommandRequest(target, command_type, Empty(), valid_for) for target in targets]
    return create_commands(requests, requested_by=requested_by)


@transaction.atomic
def send_plain_command(*, terminal: Terminal, command_type: str, actor: str) -> Command:
    """Queue one of PLAIN_COMMANDS for a terminal, with its audit entry."""
    check_plain(command_type)
    command = send_plain_commands(targets=[target_of(terminal)], command_type=command_type, requested_by=actor)[0]
    audit.record(
        actor=actor, action=f"command.{command_type}", subject=subject_of(terminal), detail={"command": str(command.pk)}
    )
    return command


def _signed_command(
    request: CommandRequest, requested_by: str, now: datetime, key: signing.SigningKey, bodies: dict[int, bytes]
) -> Command:
    """Return one command with its signed message; `bodies` keeps the canonical JSON of those that many commands share."""
    command_id = new_id()
    not_before = request.not_before or now
    expires_at = not_before + request.valid_for
    body = bodies.get(id(request.body))
    if body is None:
        body = bodies[id(request.body)] = rfc8785.dumps(msgspec.to_builtins(request.body, str_keys=True))
    traceparent = traced.created(request.type, command_id, request.target.device_id)
    trace = b'"traceparent":"%b",' % traceparent.encode() if traceparent else b""
    # Canonical JSON has its names in this order; the values have nothing that wants escaping.
    canonical = (
        b'{"body":%b,"device_id":"%b","expires_at":"%b","id":"%b","not_before":"%b","sent_at":"%b",%b"type":"%b"}'
        % (
            body,
            *_encoded(request.target.device_id, expires_at, command_id, not_before, now),
            trace,
            request.type.encode(),
        )
    )
    return Command(
        id=command_id,
        terminal_id=request.target.terminal_id,
        type=request.type,
        payload=signing.sign_canonical(canonical, *key),
        requested_by=requested_by,
        created_at=now,
        expires_at=expires_at,
        next_attempt_at=not_before,
        traceparent=traceparent,
    )


def _encoded(*values: object) -> Iterator[bytes]:
    return ((rfc3339(value) if isinstance(value, datetime) else str(value)).encode() for value in values)


def signed_ack(device_id: str, message_ids: Sequence[UUID], not_taken: Sequence[NotTaken] = ()) -> bytes:
    """Return the signed message with which the server takes responsibility for events, and tells what it did not take."""
    envelope = {
        "id": str(new_id()),
        "type": "ack",
        "device_id": device_id,
        "sent_at": rfc3339(datetime.now(UTC)),
        "body": msgspec.to_builtins(Ack(list(message_ids), list(not_taken))),
    }
    return messages.encode(signing.sign_envelope(envelope, *signing.command_signing_key()))


def rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
