"""The Python client against a real server: a job as its user would write it, refusals, lost answers, no Django."""

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from pytest_django.live_server_helper import LiveServer
from tillwarden_client import Problem, Tillwarden, transport

from fleet.access.models import ApiToken
from fleet.management.commands.client_code import PATH, code
from terminals.common.api.models import IdempotentResponse
from terminals.estate.models import Terminal
from terminals.importing.models import Import


@pytest.fixture
def client(transactional_db: None, live_server: LiveServer) -> Iterator[Tillwarden]:
    _token, text = ApiToken.objects.create(user=User.objects.create_superuser("root"), name="client")
    with Tillwarden(live_server.url, text) as client:
        yield client


def shop(client: Tillwarden) -> tuple[int, int]:
    merchant = client.merchants.create({"name": "Harbour Books", "mid": "000012345"})
    store = client.stores.create({"merchant": merchant["id"], "name": "Pier 4", "time_zone": "Europe/Berlin"})
    model = client.terminal_models.create({"vendor": "Acme", "name": "Handheld", "platform": "linux-arm64"})
    return store["id"], model["id"]


def test_a_shop_is_set_up_and_worked_on(client: Tillwarden) -> None:
    store, model = shop(client)
    first = client.terminals.create({"serial": "SN-1", "model": model, "store": store, "tid": "00000001"})
    assert first["activation_code"]
    rows = [{"serial": serial, "model": model, "store": store} for serial in ("SN-2", "SN-3", "!")]
    answers = client.terminals.register({"terminals": rows})
    assert [answer.get("serial") for answer in answers] == ["SN-2", "SN-3", None]
    assert answers[2]["reason"] == "bad_serial"
    found = client.terminals.list(filter='store = "Pier 4"', ordering="-serial", page_size=1)
    assert [terminal["serial"] for terminal in found] == ["SN-3", "SN-2", "SN-1"]
    job = client.bulk.create({"verb": "tag", "filter": "serial = SN-2", "arguments": {"tag": "pilot"}})
    assert client.bulk.get(job["id"])["verb"] == "tag"
    done = client.terminals.retire(first["id"], {})
    assert done["state"] == "retired"
    assert {entry["action"] for entry in client.audit.list(actor="root")} >= {"terminal.retire", "merchant.create"}


def test_a_change_that_somebody_made_meanwhile_is_not_undone(client: Tillwarden) -> None:
    store, _model = shop(client)
    _seen, etag = client.stores.get_versioned(store)
    assert client.stores.update(store, {"city": "Kiel"}, if_match=etag)["city"] == "Kiel"
    with pytest.raises(Problem) as refused:
        client.stores.update(store, {"city": "Lyon"}, if_match=etag)
    assert refused.value.status == 412
    assert client.stores.get(store)["city"] == "Kiel"


def test_a_refusal_says_which_field_and_why(client: Tillwarden) -> None:
    store, model = shop(client)
    with pytest.raises(Problem) as refused:
        client.terminals.create({"serial": "bad serial", "model": model, "store": store})
    assert (refused.value.status, list(refused.value.errors)) == (400, ["serial"])
    assert "serial" in str(refused.value)
    with pytest.raises(Problem, match="404"):
        client.terminals.get(12345)


def test_a_file_is_imported_and_an_object_deleted(client: Tillwarden) -> None:
    store, model = shop(client)
    file = io.BytesIO(b"serial,model,merchant,store\nSN-9,Acme Handheld,Harbour Books,Pier 4\n")
    file.name = "estate.csv"
    made = client.imports.create({"file": file})
    assert (made["file_name"], Import.objects.get().total) == ("estate.csv", 1)
    other = client.stores.create({"merchant": client.stores.get(store)["merchant"], "name": "Pier 5"})
    client.stores.delete(other["id"])
    assert [one["id"] for one in client.stores.list()] == [store]
    assert model


def test_a_repeat_registers_nothing_twice_and_shows_no_code_again(client: Tillwarden) -> None:
    store, model = shop(client)
    body = {"terminals": [{"serial": "SN-1", "model": model, "store": store}]}
    first, again = (
        client._http.post("/api/v1/terminals/register/", json=body, headers={"Idempotency-Key": "once"})
        for _time in range(2)
    )
    code_shown = first.json()[0]["activation_code"]
    assert code_shown
    assert again.json() == [first.json()[0] | {"activation_code": None}]
    assert Terminal.objects.count() == 1
    assert code_shown not in str(IdempotentResponse.objects.get(idempotency_key="once").body)


class Busy(BaseHTTPRequestHandler):
    """A server that is busy twice and then answers."""

    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.headers["Idempotency-Key"])
        body = b'{"id": 7}' if len(self.seen) > 2 else b"<html>busy</html>"
        self.send_response(201 if len(self.seen) > 2 else 429)
        self.send_header("Content-Type", "application/json" if len(self.seen) > 2 else "text/html")
        self.send_header("Retry-After", "3")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


def test_a_busy_server_is_asked_again_when_it_says_with_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    Busy.seen.clear()
    server = HTTPServer(("127.0.0.1", 0), Busy)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Tillwarden(f"http://127.0.0.1:{server.server_port}", "token") as client:
            assert client.merchants.create({"name": "A", "mid": "1"})["id"] == 7
    finally:
        server.shutdown()
        server.server_close()
    assert len(Busy.seen) == 3
    assert len(set(Busy.seen)) == 1
    assert all(3 <= pause < 4 for pause in pauses)


def test_a_server_that_is_gone_raises_after_a_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        port = server.server_port
    with Tillwarden(f"http://127.0.0.1:{port}", "token") as client, pytest.raises(httpx.ConnectError):
        client.merchants.get(1)
    assert len(pauses) == transport.ATTEMPTS - 1


class Odd(BaseHTTPRequestHandler):
    """A server that answers what `answers` says, and notes what it was asked."""

    answers: ClassVar[list[tuple[int, str, bytes]]] = []
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(f"{self.command} {self.path}")
        status, kind, body = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if not status:
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_PATCH = do_POST = do_GET  # noqa: N815 - names that http.server calls

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tillwarden]:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    Odd.answers, Odd.asked = [], []
    server = HTTPServer(("127.0.0.1", 0), Odd)
    Thread(target=server.serve_forever, daemon=True).start()
    with Tillwarden(f"http://127.0.0.1:{server.server_port}", " token\n") as client:
        yield client
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"{", b"[]"])
def test_an_answer_that_is_none_of_the_apis_is_a_problem(odd: Tillwarden, body: bytes) -> None:
    Odd.answers = [(200, "text/html", body)]
    with pytest.raises(Problem):
        list(odd.stores.list())
    Odd.answers = [(400, "application/problem+json", b'{"errors": "boom"}')]
    with pytest.raises(Problem) as refused:
        odd.stores.get(1)
    assert refused.value.errors == {}


def test_a_list_that_leads_round_in_circles_ends(odd: Tillwarden) -> None:
    pages = [b'{"results": [], "next": "/api/v1/stores/?cursor=%s"}' % cursor for cursor in (b"a", b"b", b"a")]
    Odd.answers = [(200, "application/json", page) for page in pages]
    with pytest.raises(Problem, match="same page"):
        list(odd.stores.list())
    assert len(Odd.asked) == 3


def test_a_delete_whose_answer_was_lost_is_not_sent_again_and_a_read_is(odd: Tillwarden) -> None:
    Odd.answers = [(0, "", b"")]
    with pytest.raises(httpx.TransportError):
        odd.stores.delete(1)
    with pytest.raises(httpx.TransportError):
        odd.stores.update(1, {"city": "Kiel"}, if_match='"x"')
    assert Odd.asked == ["DELETE /api/v1/stores/1/", "PATCH /api/v1/stores/1/"]
    Odd.answers = [(0, "", b"")] * 3 + [(200, "application/json", b'{"id": 1}')]
    assert odd.stores.get(1)["id"] == 1


def test_a_file_is_sent_once(odd: Tillwarden) -> None:
    Odd.answers = [(503, "application/json", b"{}")]
    with pytest.raises(Problem, match="503"):
        odd.imports.create({"file": io.BytesIO(b"merchant\nBakery\n")})
    assert Odd.asked == ["POST /api/v1/imports/"]


@pytest.mark.parametrize("key", ["../terminals/7", "5/../../terminals/7", "5?x=1", "5#x", "a b"])
def test_an_id_is_one_part_of_the_path(odd: Tillwarden, key: str) -> None:
    Odd.answers = [(204, "", b"")]
    odd.stores.delete(key)  # type: ignore[arg-type]
    (asked,) = Odd.asked
    assert asked.startswith("DELETE /api/v1/stores/")
    assert asked.count("/") == 5
    assert not {"?", "#"} & set(asked)


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_what_is_no_id_is_refused(odd: Tillwarden, key: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        odd.stores.delete(key)  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["", "\n", "two\nlines", "tökën"])
def test_what_is_no_token_is_refused_at_once_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="no token") as refused:
        Tillwarden("https://tms.example", token)
    assert "lines" not in str(refused.value)


def test_no_proxy_gets_what_is_meant_for_this_machine(odd: Tillwarden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", str(odd._http.base_url))
    Odd.answers = [(200, "application/json", b"{}")]
    with Tillwarden("http://localhost:9", "token") as client, pytest.raises(httpx.ConnectError):
        client.stores.get(1)
    assert Odd.asked == []


@pytest.mark.parametrize("url", ["http://tms.example", "ftp://127.0.0.1", "tms.example", ""])
def test_a_token_is_not_sent_in_the_clear(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        Tillwarden(url, "token")


def test_the_client_needs_no_django() -> None:
    asked = "import sys, tillwarden_client; print('django' in sys.modules)"
    folder = settings.BASE_DIR / "clients" / "python"
    told = subprocess.run([sys.executable, "-c", asked], cwd=folder, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


DOCUMENT = {
    "paths": {
        "/api/v1/a-things/": {
            "get": {
                "operationId": "a_things_list",
                "parameters": [{"name": "size", "in": "query", "schema": {"type": "integer"}}],
                "responses": {
                    "200": {"content": {"j": {"schema": {"$ref": "#/components/schemas/PaginatedThingList"}}}}
                },
            },
        },
        "/api/v1/a-things/{id}/": {
            "get": {
                "operationId": "a_things_retrieve",
                "parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}],
                "responses": {"200": {"content": {"j": {"schema": {"$ref": "#/components/schemas/Thing"}}}}},
            },
        },
    },
    "components": {
        "schemas": {
            "Unused": {"type": "object"},
            "Thing": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": ["string", "null"]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            },
        }
    },
}


def test_the_code_is_what_the_document_says() -> None:
    made = code(DOCUMENT)
    for line in (
        "    name: str | None",
        "    tags: NotRequired[list[str]]",
        "    def list(self, *, size: int | None = None) -> Iterator[Thing]:",
        "    def get(self, id: str) -> Thing:",
        "        self.a_things = AThingsResource(self)",
    ):
        assert line in made.splitlines()
    assert "Unused" not in made
    compile(made, PATH, "exec")
