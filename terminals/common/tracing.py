"""Traces by OpenTelemetry: from a request through its commands and the link to the terminal, and back. Off by default.

OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT turns them on; sampler, headers, limits and service name are
told by the OTEL_* variables of the OpenTelemetry specification. They go by OTLP over HTTP, and OTEL_PROPAGATORS=none leaves the
callers' traces unheeded. A span tells identifiers, types, states and codes; never a payload, a key or a person.
"""

import atexit
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from django.db import transaction
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, Tracer, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
LEAVE_MILLISECONDS = 2000
Attributes = Mapping[str, str | int]
TRACE_CONTEXT = TraceContextTextMapPropagator()  # W3C: version, trace id, parent span id, flags; 55 characters


class Traces:
    """The spans of one process. Until they are on, each call costs a comparison and does nothing."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None

    def start(self, part: str) -> None:
        """Collect from now on, where the environment says whither; `part` names the process (`tillwarden-link`)."""
        if not any(map(os.environ.get, ENDPOINTS)):
            return
        # Not loaded by who traces nothing: half a second of each start.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        os.environ.setdefault("OTEL_SERVICE_NAME", f"tillwarden-{part}")
        provider, processor = TracerProvider(shutdown_on_exit=False), BatchSpanProcessor(OTLPSpanExporter())
        provider.add_span_processor(processor)
        # The public one waits half a minute where the collector is away, and every restart with it.
        atexit.register(processor._batch_processor.shutdown, LEAVE_MILLISECONDS)
        self.tracer = provider.get_tracer("tillwarden")

    @contextmanager
    def request(self, name: str, traceparent: str) -> Iterator[Span]:
        """A span around the answer to a request, within the caller's trace where it has one and that is heeded."""
        if self.tracer is None:
            yield INVALID_SPAN
            return
        heeded = traceparent if os.environ.get("OTEL_PROPAGATORS") != "none" else ""
        span = self.tracer.start_span(name, _within(heeded), SpanKind.SERVER)
        with use_span(span, end_on_exit=True):
            yield span

    def created(self, name: str, attributes: Attributes) -> str:
        """Note that a message was made, within the current span, once that is committed; return the `traceparent` that it
        carries, empty where this trace is not collected."""
        if self.tracer is None:
            return ""
        span = self.tracer.start_span(name, kind=SpanKind.PRODUCER, attributes=dict(attributes))
        ended_at = time.time_ns()
        transaction.on_commit(lambda: span.end(ended_at))
        carried: dict[str, str] = {}
        if span.get_span_context().trace_flags.sampled:
            TRACE_CONTEXT.inject(carried, set_span_in_context(span))
        return carried.get("traceparent", "")

    def noted(
        self,
        name: str,
        traceparent: str,
        since: datetime,
        attributes: Attributes,
        *,
        kind: SpanKind,
        failed: bool = False,
    ) -> None:
        """Note what was done for a message from `since` until now; nothing for one that carries no trace."""
        if self.tracer is not None and traceparent:
            start = int(since.timestamp() * 1e9)
            span = self.tracer.start_span(name, _within(traceparent), kind, dict(attributes), start_time=start)
            if failed:
                span.set_status(StatusCode.ERROR)
            span.end()


def _within(traceparent: str) -> Context:
    return TRACE_CONTEXT.extract({"traceparent": traceparent}, Context())


traces = Traces()
