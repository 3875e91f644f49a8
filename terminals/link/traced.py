"""What traces tell of a command: that it was made, sent and taken by the broker, and what the terminal made of it."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from opentelemetry.trace import SpanKind

from terminals.common.tracing import traces
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome


def created(command_type: str, command_id: UUID, device_id: str) -> str:
    """Note a new command; return the `traceparent` that it carries from now on, empty where nobody traces it."""
    if traces.tracer is None:
        return ""
    return traces.created(f"create {command_type}", _of(command_id) | {"tillwarden.device_id": device_id})


def sent(command_type: str, command_id: UUID, traceparent: str, since: datetime) -> None:
    """Note that the broker has a command that was published at `since`."""
    if traceparent:
        traces.noted(f"send {command_type}", traceparent, since, _of(command_id), kind=SpanKind.CLIENT)


def moved(command_type: str, outcome: Outcome, traceparent: str, since: datetime) -> None:
    """Note what the terminal said of a command, or that it expired or was cancelled, once that is committed; `since` is when it
    began to be stored."""
    if traces.tracer is not None and traceparent:
        said = outcome.result.code if outcome.result else None
        told = {"tillwarden.command.state": str(outcome.state)} | ({"tillwarden.command.code": said} if said else {})
        kind = SpanKind.CONSUMER if outcome.result else SpanKind.INTERNAL
        failed = outcome.is_final and outcome.state != CommandState.SUCCEEDED
        name, attributes = f"{command_type} {outcome.state}", _of(outcome.command_id) | told
        # An inbox whose transaction fails takes the same messages again.
        transaction.on_commit(lambda: traces.noted(name, traceparent, since, attributes, kind=kind, failed=failed))


def _of(command_id: UUID) -> dict[str, str | int]:
    return {"messaging.system": "mqtt", "messaging.message.id": str(command_id)}
