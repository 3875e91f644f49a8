"""Traces by OpenTelemetry: from a request through its commands and the link to the terminal, and back. Off by default.

OTEL_EXPORTER_OTLP_ENDPOINT turns them on; the other OTEL_* variables mean what the OpenTelemetry specification says
(sampler, headers, service name). A span tells identifiers, types, states and codes; never a payload, a key or a person.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Tracer, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
Attributes = Mapping[str, str | int]
TRACE_CONTEXT = TraceContextTextMapPropagator()  # W3C: version, trace id, parent span id, flags; 55 characters


class Traces:
    """The spans of one process. Until they are on, each call costs a comparison and does nothing."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None

    def start(self, part: str) -> None:
        """Collect from now on, where the environment says whither; `part` names the process (`tillwarden-link`)."""
        if not os.environ.get(ENDPOINT):
            return
        # Not loaded by who traces nothing: half a second of each start.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        os.environ.setdefault("OTEL_SERVICE_NAME", f"tillwarden-{part}")
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = provider.get_tracer("tillwarden")

    @contextmanager
    def request(self, name: str, traceparent: str) -> Iterator[Span]:
        """A span around the answer to a request, within the caller's trace where it has one."""
        if self.tracer is None:
            yield INVALID_SPAN
            return
        span = self.tracer.start_span(name, _within(traceparent), SpanKind.SERVER)
        with use_span(span, end_on_exit=True):
            yield span

    def created(self, name: str, attributes: Attributes) -> str:
        """Note that a message was made, within the current span; return the `traceparent` that it carries, empty where this
        trace is not collected."""
        if self.tracer is None:
            return ""
        span = self.tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=dict(attributes))
        span.end()
        carried: dict[str, str] = {}
        if span.get_span_context().trace_flags.sampled:
            TRACE_CONTEXT.inject(carried, set_span_in_context(span))
        return carried.get("traceparent", "")

    def noted(self, name: str, traceparent: str, since: datetime, attributes: Attributes, *, kind: SpanKind) -> None:
        """Note what was done for a message from `since` until now; nothing for one that carries no trace."""
        if self.tracer is not None and traceparent:
            start = int(since.timestamp() * 1e9)
            self.tracer.start_span(name, _within(traceparent), kind, dict(attributes), start_time=start).end()


def _within(traceparent: str) -> Context:
    return TRACE_CONTEXT.extract({"traceparent": traceparent}, Context())


traces = Traces()
