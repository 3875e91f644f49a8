"""A virtual terminal's downloads: a busy server costs it time, a broken one its attempts."""

import asyncio
from pathlib import Path

import httpx
import pytest

from terminals.simulator.faults import Faults
from terminals.simulator.fleet import DOWNLOAD_ATTEMPTS, VirtualTerminal


def fetch(tmp_path: Path, answers: list[httpx.Response]) -> bytes:
    async def run() -> bytes:
        transport = httpx.MockTransport(lambda request: answers.pop(0))
        async with httpx.AsyncClient(transport=transport, base_url="http://tms.test") as http:
            terminal = VirtualTerminal("SIM-1", tmp_path, http, Faults(), 1, 1)
            return await terminal.fetch("/artifacts/x", 0, 3)

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("terminals.simulator.fleet.asyncio.sleep", sleep)
    return slept


def test_a_busy_server_is_asked_again_when_it_said_and_never_counts_as_a_failure(
    tmp_path: Path, at_once: list[float]
) -> None:
    busy = [httpx.Response(503, headers={"Retry-After": "4"}) for _ in range(3 * DOWNLOAD_ATTEMPTS)]
    assert fetch(tmp_path, [*busy, httpx.Response(206, content=b"data")]) == b"data"
    assert all(2 <= seconds <= 6 for seconds in at_once)
    assert len(at_once) == 3 * DOWNLOAD_ATTEMPTS


def test_a_server_that_fails_every_time_ends_the_download(tmp_path: Path) -> None:
    answers = [httpx.Response(500) for _ in range(DOWNLOAD_ATTEMPTS + 1)]
    with pytest.raises(httpx.HTTPStatusError):
        fetch(tmp_path, answers)
    assert len(answers) == 1
