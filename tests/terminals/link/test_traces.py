"""Traces in one process: off by default, what a caller sends cannot break them, and what is not sampled costs no byte."""

from typing import Any

import msgspec
import pytest
from django.db import transaction
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from rest_framework.test import APIClient

from terminals.common.tracing import ENDPOINTS, Traces, traces
from terminals.link.models import Command
from terminals.link.outcomes import cancel_commands
from terminals.link.routes import routes
from terminals.link.services import FEW, send_plain_command, send_plain_commands, target_of
from tests.conftest import deliver, obey, working_device

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def terminal(register: Any) -> Any:
    return register("TRACED-1")


def collect(monkeypatch: Any, sampler: Sampler) -> InMemorySpanExporter:
    spans, provider = InMemorySpanExporter(), TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(traces, "tracer", provider.get_tracer("test"))
    return spans


@pytest.fixture
def spans(monkeypatch: Any) -> InMemorySpanExporter:
    return collect(monkeypatch, ParentBased(ALWAYS_ON))


def ask(api: APIClient, terminal: Any, traceparent: str = CALLER) -> Command:
    working_device(terminal)
    path = f"/api/v1/terminals/{terminal.pk}/commands/"
    answer = api.post(path, {"type": "ping"}, format="json", headers={"traceparent": traceparent})
    assert answer.status_code == 201, answer.content
    return Command.objects.get(pk=answer.json()["id"])


def test_nobody_is_told_anything_unless_the_environment_says_whom(monkeypatch: Any) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    ours = Traces()
    ours.start("web")
    assert ours.tracer is None


def test_without_traces_a_command_carries_none(api: APIClient, terminal: Any) -> None:
    command = ask(api, terminal)
    assert command.traceparent == ""
    assert "traceparent" not in msgspec.json.decode(bytes(command.payload))


@pytest.mark.parametrize("junk", ["", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "x" * 9000, "00-☃-1"])
def test_a_caller_with_a_junk_trace_gets_one_of_its_own(
    api: APIClient, terminal: Any, spans: InMemorySpanExporter, junk: str
) -> None:
    command = ask(api, terminal, junk)
    request = next(span for span in spans.get_finished_spans() if span.name.startswith("POST "))
    assert request.parent is None
    assert command.traceparent.split("-")[1] == f"{request.context.trace_id:032x}"


def test_a_trace_that_is_not_sampled_costs_no_byte(api: APIClient, terminal: Any, monkeypatch: Any) -> None:
    spans = collect(monkeypatch, ParentBased(ALWAYS_OFF))
    assert ask(api, terminal, "").traceparent == ""
    assert spans.get_finished_spans() == ()


def test_whose_trace_is_not_heeded_gets_one_of_its_own(
    api: APIClient, terminal: Any, spans: InMemorySpanExporter, monkeypatch: Any
) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "none")
    assert ask(api, terminal).traceparent.split("-")[1] != CALLER.split("-")[1]


def test_what_becomes_of_a_command_is_part_of_its_trace(
    api: APIClient, register: Any, spans: InMemorySpanExporter, django_capture_on_commit_callbacks: Any
) -> None:
    terminal = register("TRACED-2")
    device = working_device(terminal)
    with django_capture_on_commit_callbacks(execute=True):
        answer = api.post(f"/api/v1/terminals/{terminal.pk}/commands/", {"type": "ping"}, format="json")
        obey(device, "ping")
        api.post(f"/api/v1/terminals/{terminal.pk}/commands/", {"type": "reboot"}, format="json")
        cancel_commands([terminal.pk])
    of_commands = {span.name: span for span in spans.get_finished_spans() if not span.name.startswith("POST ")}
    assert {"create ping", "ping succeeded", "create reboot", "reboot cancelled"} <= of_commands.keys()
    done, created = of_commands["ping succeeded"], of_commands["create ping"]
    assert done.parent is not None
    assert done.parent.span_id == created.context.span_id
    assert (done.attributes or {})["messaging.message.id"] == answer.json()["id"]
    assert done.status.is_ok
    assert not of_commands["reboot cancelled"].status.is_ok


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_is_told_once(register: Any, spans: InMemorySpanExporter, monkeypatch: Any) -> None:
    terminal = register("TRACED-3")
    device = working_device(terminal)
    terminal.refresh_from_db()
    with transaction.atomic():
        send_plain_command(terminal=terminal, command_type="ping", actor="ops")
        transaction.set_rollback(True)
    assert spans.get_finished_spans() == ()

    command = send_plain_command(terminal=terminal, command_type="ping", actor="ops")
    said = device.receive("", bytes(command.payload))

    def fails(received: list[Any]) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(routes.messages, "presence", [fails])
    assert deliver(*said, device.presence("offline")).dead == 1
    assert sorted(span.name for span in spans.get_finished_spans()) == [
        "create ping",
        "ping accepted",
        "ping succeeded",
    ]


def test_many_commands_carry_in_their_rows_what_they_say(register: Any, spans: InMemorySpanExporter) -> None:
    terminal = register("TRACED-4")
    working_device(terminal)
    terminal.refresh_from_db()
    send_plain_commands(targets=[target_of(terminal)] * (FEW + 1), command_type="ping", requested_by="ops")
    carried = {c.traceparent: msgspec.json.decode(bytes(c.payload))["traceparent"] for c in Command.objects.all()}
    assert len(carried) == FEW + 1
    assert all(row == message for row, message in carried.items())
