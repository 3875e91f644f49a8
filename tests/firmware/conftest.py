"""A terminal with a TUF client of its own, and an attacker between it and the server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface

from firmware import downloads
from firmware.downloads import Slots
from firmware.models import InstalledSoftware, Release
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Assignment
from terminals.simulator import updates

Tamper = Callable[[bytes], bytes]


class Between(FetcherInterface):
    """Fetches from the server's own views; `instead` says what an attacker makes of an answer, by the end of its address."""

    def __init__(self) -> None:
        self.instead: dict[str, Tamper] = {}
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = url.split("tms.test", 1)[1]
        self.asked.append(path)
        content = self._answer(path)
        for end, tamper in self.instead.items():
            if path.endswith(end):
                content = tamper(content)
        yield content

    def _answer(self, path: str) -> bytes:
        if path.startswith("/files/"):
            return bytes(
                Release.objects.get(sha256=path.rsplit("/", 1)[1].partition(".")[0]).artifact.open("rb").read()
            )
        answer = Client().get(path)
        if answer.status_code != 200:
            raise DownloadHTTPError(path, answer.status_code)
        return answer.content


class Till:
    """What a terminal remembers of the repository, and what stands between it and the server."""

    def __init__(self, folder: Path, root: str) -> None:
        self.folder, self.root, self.between = folder, root, Between()

    def fetch(self, release: Release, **other: object) -> bytes:
        """Return the release as the terminal would install it."""
        wanted = {
            "serial": "SN-1",
            "platform": release.platform,
            "target": release.target,
            "size_bytes": release.size_bytes,
            "sha256": release.sha256,
            "counter": 1,
        } | other
        assignment = Assignment(**wanted)  # type: ignore[arg-type]
        path = updates.fetch(
            assignment,
            root=self.root,
            metadata_url="http://tms.test/tuf/",
            url="http://tms.test/files",
            folder=self.folder,
            fetcher=self.between,
        )
        content = path.read_bytes()
        updates.forget(self.folder, assignment)
        return content


@pytest.fixture
def new_till(tmp_path: Path) -> Callable[[str], Till]:
    """Return a function that makes a terminal that trusts a root document."""
    numbers = iter(range(100))
    return lambda root: Till(tmp_path / str(next(numbers)), root)


@pytest.fixture(autouse=True)
def free_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test began to download and did not read keeps no slot."""
    monkeypatch.setattr(downloads, "slots", Slots(together=4, each=1))


def refusal(verb: Callable[..., Any], **arguments: Any) -> str:
    """Return the reason for which a verb refuses."""
    with pytest.raises(Refusal) as refused:
        verb(**arguments)
    return refused.value.reason


def running(terminal: Terminal, **versions: str) -> None:
    InstalledSoftware.objects.filter(terminal=terminal).delete()
    for component, version in versions.items():
        InstalledSoftware.objects.create(
            terminal=terminal, component=component, version=version, reported_at=timezone.now()
        )
