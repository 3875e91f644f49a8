"""The whole job as larger installations run it: PgBouncer in transaction mode, Celery on Redis, traces collected."""

import json
import os
import pwd
import secrets
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fleet.local import installation
from fleet.local.embedded import Child
from tests import services
from tests.conftest import wait_until
from tests.flows.test_up import Up, settle_at_the_next_sale

PATH = f"{os.environ['PATH']}:/usr/sbin"
PGBOUNCER, REDIS = shutil.which("pgbouncer", path=PATH), shutil.which("redis-server", path=PATH)
pytestmark = pytest.mark.skipif(not (PGBOUNCER and REDIS), reason="pgbouncer or redis-server is not installed")
POOL = """\
[databases]
{database} = host={socket_dir} dbname={database} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 8
max_client_conn = 200
"""


class Collected(NamedTuple):
    """A span as a collector gets it; ids in hex."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: frozenset[str]


class Collector:
    """What takes traces by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Collected] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                collector.spans += spans_of(asked)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """A test's output is not its place."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()

    def of(self, trace: str) -> dict[str, Collected]:
        return {span.name: span for span in self.spans if span.trace == trace}


def spans_of(asked: ExportTraceServiceRequest) -> Iterator[Collected]:
    for resource in asked.resource_spans:
        [service] = (pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name")
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            trace, own, parent = (one.hex() for one in (span.trace_id, span.span_id, span.parent_span_id))
            told = frozenset(pair.value.string_value for pair in span.attributes)
            yield Collected(service, span.name, trace, own, parent, told)


@contextmanager
def running(child: Child) -> Iterator[None]:
    process = services.spawn(child)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def database() -> Iterator[str]:
    name = f"pooled_{secrets.token_hex(4)}"
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield name
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def collector() -> Iterator[Collector]:
    ours = Collector()
    yield ours
    ours.stop()


@pytest.fixture
def up(database: str, collector: Collector, tmp_path: Path) -> Iterator[Up]:
    pool_port, redis_port = services.free_port_pair(), services.free_port_pair()
    socket_dir = installation.socket_dir(services.STATE_DIR)
    server = pwd.getpwuid(socket_dir.stat().st_uid).pw_name  # PgBouncer will not run as root either
    pool = services.STATE_DIR / f"{database}.ini"
    pool.write_text(POOL.format(database=database, socket_dir=socket_dir, port=pool_port))
    pool.chmod(0o644)
    redis = [str(REDIS), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with ExitStack() as stack:
        stack.enter_context(running(Child([str(PGBOUNCER), str(pool)], user=server if os.getuid() == 0 else None)))
        stack.enter_context(running(Child(redis)))
        up = Up(
            services.STATE_DIR / database,
            DATABASE_URL=f"postgresql://postgres@127.0.0.1:{pool_port}/{database}",
            DATABASE_DIRECT_URL=services.address(database),
            CELERY_BROKER_URL=f"redis://127.0.0.1:{redis_port}/0",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.address,
            OTEL_BSP_SCHEDULE_DELAY="200",
        )
        stack.callback(up.end)
        yield up


def test_the_whole_job_is_done_and_traced(up: Up, collector: Collector) -> None:
    wait_until(up.ready, "readyz is 200", 240)
    wait_until(
        lambda: [t["software_version"] == "2.1.0" and t["confirmed_keys"] == 1 for t in up.terminals()] == [True] * 3,
        "three terminals with software and keys",
        120,
    )
    settle_at_the_next_sale(up)
    a_command_is_traced_from_the_request_to_the_terminal_and_back(up, collector)
    assert up.failures() == []


def a_command_is_traced_from_the_request_to_the_terminal_and_back(up: Up, collector: Collector) -> None:
    trace, caller = secrets.token_hex(16), secrets.token_hex(8)
    [terminal, *_] = up.terminals()
    operator = json.loads((up.state_dir / "operator.json").read_text())
    asked = urllib.request.Request(
        f"{operator['url']}/api/v1/terminals/{terminal['id']}/commands/",
        json.dumps({"type": "ping"}).encode(),
        {
            "Authorization": f"Bearer {operator['token']}",
            "Content-Type": "application/json",
            "traceparent": f"00-{trace}-{caller}-01",
        },
    )
    command = json.load(urllib.request.urlopen(asked, timeout=10))
    wanted = {
        "send ping": "tillwarden-link",
        "process ping": "tillwarden-terminals",
        "ping succeeded": "tillwarden-link",
    }
    request_name = "POST /api/v1/terminals/<pk>/commands/"

    # Each process sends its spans on its own: the request's may come last.
    def whole() -> bool:
        return {request_name, "create ping", *wanted} <= collector.of(trace).keys()

    wait_until(whole, "the whole trace")
    spans = collector.of(trace)
    request, created = spans[request_name], spans["create ping"]
    assert (request.service, request.parent) == ("tillwarden-web", caller)
    assert (created.service, created.parent) == ("tillwarden-web", request.id)
    told = {name: span.service for name, span in spans.items() if span.parent == created.id}
    # One that comes together with its successor is never a command's state.
    assert told.pop("ping accepted", "tillwarden-link") == "tillwarden-link"
    assert told == wanted
    assert terminal["device_id"] in created.attributes
    assert command["traceparent"] == f"00-{trace}-{created.id}-01"
    assert command["message"]["traceparent"] == command["traceparent"]
