"""A virtual terminal's downloads: a busy server costs it time, a cut line what was under way, a broken server its attempts."""

import random
from collections.abc import Callable, Iterator

import httpx
import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError

from terminals.simulator.updates import ATTEMPTS, ResumingFetcher

Answer = Callable[[httpx.Request], httpx.Response]
CONTENT = bytes(range(256)) * 4


class Cut(httpx.SyncByteStream):
    """Bytes of an answer whose line is cut before its end."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("cut")


def fetcher(*answers: Answer) -> ResumingFetcher:
    waiting = list(answers)
    transport = httpx.MockTransport(lambda request: waiting.pop(0)(request))
    return ResumingFetcher(httpx.Client(transport=transport), random.Random(1))


def cut(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=Cut(CONTENT[:300]), headers={"ETag": '"a"'})


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr("terminals.simulator.updates.time.sleep", seconds.append)
    return seconds


def test_a_busy_server_is_asked_again_when_it_said_and_never_counts_as_a_failure(slept: list[float]) -> None:
    busy: list[Answer] = [lambda request: httpx.Response(503, headers={"Retry-After": "4"})] * (3 * ATTEMPTS)
    wanted = fetcher(*busy, lambda request: httpx.Response(200, stream=httpx.ByteStream(CONTENT)))
    assert wanted.download_bytes("http://tms.test/x", len(CONTENT)) == CONTENT
    assert all(2 <= seconds <= 6 for seconds in slept)
    assert len(slept) == 3 * ATTEMPTS


def test_a_cut_download_goes_on_where_it_was_cut() -> None:
    def resumed(request: httpx.Request) -> httpx.Response:
        assert (request.headers["Range"], request.headers["If-Range"]) == ("bytes=300-", '"a"')
        return httpx.Response(206, stream=httpx.ByteStream(CONTENT[300:]), headers={"ETag": '"a"'})

    wanted = fetcher(cut, resumed)
    assert wanted.download_bytes("http://tms.test/x", len(CONTENT)) == CONTENT
    assert wanted.received == len(CONTENT)


def test_a_file_that_changed_meanwhile_is_not_mixed() -> None:
    other = fetcher(cut, lambda request: httpx.Response(200, stream=httpx.ByteStream(CONTENT), headers={"ETag": '"b"'}))
    with pytest.raises(DownloadError, match="changed"):
        other.download_bytes("http://tms.test/x", len(CONTENT))


def test_a_server_that_gives_nothing_ends_the_download() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(DownloadError, match="ConnectError"):
        fetcher(*[gone] * ATTEMPTS).download_bytes("http://tms.test/x", 10)
    with pytest.raises(DownloadHTTPError):
        fetcher(lambda request: httpx.Response(403)).download_bytes("http://tms.test/x", 10)


def test_endless_data_ends_at_the_length_that_was_promised() -> None:
    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield bytes(64 * 1024)

    with pytest.raises(DownloadLengthMismatchError):
        fetcher(lambda request: httpx.Response(200, stream=Endless())).download_bytes("http://tms.test/x", 100_000)
