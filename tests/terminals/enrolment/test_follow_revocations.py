"""The services beside a broker that keep its lists of revoked certificates new: deploy/follow_revocations.py, and for RabbitMQ
deploy/rabbitmq/hash_revocations.sh."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fleet.local import pki, shipped
from tests.conftest import wait_until
from tests.rabbitmq import nothing_revoked

HASH = str(shipped.DEPLOY / "rabbitmq" / "hash_revocations.sh")


def a_list(name: str) -> str:
    key = pki.new_private_key_pem().encode()
    return nothing_revoked(pki.self_signed_ca_pem(key, name), key)


class Server:
    """What tells the lists; `lists` may be changed."""

    def __init__(self) -> None:
        self.lists = a_list("One")
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(ours.lists.encode())

            def log_message(self, *_: object) -> None:
                """A test's output is not its place."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@contextmanager
def following(server: Server, lists: Path, *command: str) -> Iterator[Path]:
    """Follow a server; gives the file with what is said meanwhile."""
    said = lists.with_name("said")
    with said.open("w") as output:
        process = subprocess.Popen(shipped.follow_revocations(server.url, lists, *command), stdout=output)
        yield said
        process.terminate()
        process.wait(10)


def test_the_command_runs_at_the_start_for_each_new_list_and_no_more(server: Server, tmp_path: Path) -> None:
    lists, told = tmp_path / "lists", tmp_path / "told"
    lists.write_text(server.lists)  # as of an earlier run, which may have ended before its command
    with following(server, lists, "sh", "-c", f"cat {lists} >> {told}"):
        wait_until(lambda: told.exists() and told.read_text() == server.lists, "the broker told of the first", 20)
        first, server.lists = server.lists, a_list("Two")
        wait_until(
            lambda: told.read_text() == first + server.lists, "and of the second, and not of the first again", 20
        )


def test_a_command_that_failed_runs_again_until_it_succeeds(server: Server, tmp_path: Path) -> None:
    lists, folder = tmp_path / "lists", tmp_path / "revoked"
    with following(server, lists, HASH, str(lists), str(folder)) as said:
        wait_until(lambda: "the broker may not know the list" in said.read_text(), "it says so", 20)
        folder.mkdir()
        wait_until(lambda: len(list(folder.glob("*.r0"))) == 1, "the list where the broker looks for it", 20)
    assert said.read_text().count("may not know") == 1


def hashed(file: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([HASH, str(file), str(folder)], capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "revoked"
    made.mkdir()
    return made


def test_each_list_goes_where_erlang_looks_for_it(tmp_path: Path, folder: Path) -> None:
    file, lists = tmp_path / "lists", {a_list("One"), a_list("Two")}
    file.write_text("".join(lists))
    assert hashed(file, folder).returncode == 0
    written = sorted(folder.iterdir())
    assert {one.read_text() for one in written} == lists
    assert {one.suffix for one in written} == {".r0"}
    written[0].with_suffix(".r1").write_text("a list that would hide it")
    assert hashed(file, folder).returncode == 0
    assert sorted(folder.iterdir()) == written


def test_what_is_no_list_is_refused_and_leaves_the_lists_as_they_are(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "lists"
    file.write_text(a_list("One"))
    assert hashed(file, folder).returncode == 0
    before = {one: one.read_text() for one in folder.iterdir()}
    der = x509.load_pem_x509_crl(a_list("Two").encode()).public_bytes(Encoding.DER)
    for content, told in (
        (b"", "no list in PEM"),
        (der, "no list in PEM"),
        (a_list("Two").encode()[:-80], "holds what is no list"),
        (a_list("Two").encode() + a_list("Two").encode(), "two lists of one issuer's name"),
    ):
        file.write_bytes(content)
        run = hashed(file, folder)
        assert run.returncode == 1
        assert told in run.stderr
        assert {one: one.read_text() for one in folder.iterdir()} == before
    assert "make it" in hashed(file, tmp_path / "none").stderr
    assert "cannot read" in hashed(tmp_path / "none", folder).stderr
