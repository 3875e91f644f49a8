"""50 MB over a line that is cut fifty times: it arrives whole, at hardly more than its own bytes."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from firmware.models import Release
from firmware.services import install_body
from firmware.tuf import services as repository
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Assignment
from terminals.link.services import target_of
from terminals.simulator import updates
from tests.conftest import deliver, enrolled_device
from tests.faults.test_slow_readers import web as web  # the same web process
from tests.releases import ready

SIZE, CUTS = 50 * 1000 * 1000, 50


class CuttingLine:
    """A line to a port that breaks after so many bytes, so many times; then it holds."""

    def __init__(self, port: int, after_bytes: int, times: int) -> None:
        self._to, self._after, self.left = port, after_bytes, times
        self.carried = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                target.sendall(chunk)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        carried = 0
        with suppress(OSError):
            while chunk := source.recv(65536):
                target.sendall(chunk)
                carried += len(chunk)
                self.carried += len(chunk)
                if self.left and carried >= self._after:
                    self.left -= 1
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def line(web: int) -> Iterator[CuttingLine]:
    cutting = CuttingLine(web, after_bytes=SIZE // (CUTS + 2), times=CUTS)
    yield cutting
    cutting.close()


def test_a_release_arrives_over_a_line_that_is_cut_fifty_times(
    line: CuttingLine, register: Callable[[str], Terminal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terminals.simulator.updates.time.sleep", lambda seconds: None)
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    terminal.refresh_from_db()
    content = random.Random(1).randbytes(SIZE)
    release: Release = ready(content=content)
    body = install_body(release, target_of(terminal), terminal.serial, 1)
    server, here = body.url.split("/artifacts/")[0], f"http://127.0.0.1:{line.port}"
    with httpx.Client(timeout=10) as http:
        fetcher = updates.ResumingFetcher(http, random.Random(1))
        path = updates.fetch(
            Assignment("SN-1", release.platform, release.target, release.size_bytes, release.sha256, 1),
            root=repository.root_document(),
            metadata_url=body.metadata_url.replace(server, here),
            url=body.url.replace(server, here),
            folder=tmp_path / "till",
            fetcher=fetcher,
        )
    assert path.read_bytes() == content
    assert line.left == 0, "it was cut as often as planned"
    assert line.carried <= 1.05 * SIZE
