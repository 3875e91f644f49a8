"""Traces in one process: off by default, what a caller sends cannot break them, and what is not sampled costs no byte."""

from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from rest_framework.test import APIClient

from terminals.common.tracing import ENDPOINT, Traces, traces
from terminals.link.models import Command
from terminals.link.services import cancel_commands
from tests.conftest import obey, working_device

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
    monkeypatch.delenv(ENDPOINT, raising=False)
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


def test_what_becomes_of_a_command_is_part_of_its_trace(
    api: APIClient, register: Any, spans: InMemorySpanExporter
) -> None:
    terminal = register("TRACED-2")
    device = working_device(terminal)
    spans.clear()
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
