"""Two dozen readers of one download link that never read: pages, API and enrolment must not notice."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connection

from firmware.services import install_body
from terminals.estate.models import Terminal
from terminals.link.services import target_of
from tests import services
from tests.conftest import deliver, enrolled_device, wait_until
from tests.releases import ready

READERS = 24
RELEASE_BYTES = 32 * 1024 * 1024  # more than any socket's buffers take


def answers(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).status == 200)
    except OSError:
        return False


@pytest.fixture
def web(transactional_db: None) -> Iterator[int]:
    """One web process as operations.md describes it, on the test's database; its port."""
    port = services.free_port_pair()
    gunicorn = [str(Path(sys.executable).parent / "gunicorn"), "fleet.wsgi", "--bind", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*gunicorn, "--worker-class", "gthread", "--workers", "1", "--threads", "8", "--no-control-socket"],
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "DATABASE_URL": services.address(connection.settings_dict["NAME"])},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: answers(port), "the web process answers")
    yield port
    process.terminate()
    process.wait(35)


def test_slow_readers_of_one_link_do_not_stop_the_web(web: int, register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    terminal.refresh_from_db()
    release = ready(content=bytes(RELEASE_BYTES))
    path = "/" + install_body(release, target_of(terminal), terminal.serial, 1).url.split("/", 3)[3]
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with ExitStack() as readers:
        lines = []
        for _ in range(READERS):
            reader = readers.enter_context(socket.create_connection(("127.0.0.1", web), timeout=10))
            reader.sendall(request)
            lines.append(reader.recv(12))  # the status, and not a byte more
        assert sorted(lines) == [b"HTTP/1.1 200", *[b"HTTP/1.1 503"] * (READERS - 1)]
        started = time.monotonic()
        assert all(answers(web) for _ in range(20))
        assert time.monotonic() - started < 10
