"""Deltas: made between what terminals run and what they are sent, checked, and never needed."""

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import msgspec
import pytest
from django.test import Client
from django.utils import timezone

from firmware import deltas, services
from firmware.models import InstalledSoftware, Release, ReleaseDelta
from firmware.releases import withdraw_release
from firmware.tuf import services as repository
from terminals.campaigns.models import Campaign
from terminals.campaigns.services import cancel
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Assignment, Delta, Install
from terminals.link.services import target_of
from terminals.simulator import updates
from tests.conftest import deliver, enrolled_device
from tests.firmware.conftest import Between
from tests.releases import keep_at, ready

OLD = random.Random(1).randbytes(300_000)
NEW = OLD[:100_000] + random.Random(2).randbytes(5_000) + OLD[100_000:]


@pytest.fixture
def terminal(register: Callable[[str], Terminal]) -> Terminal:
    """A terminal that runs 1.0.0 and that a campaign moves to 2.0.0."""
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    device.memory.software = {"payment": "1.0.0"}
    deliver(device.hello())
    terminal.refresh_from_db()
    ready("1.0.0", OLD)
    keep_at(ready("2.0.0", NEW), "state = retired")
    return terminal


def test_a_delta_is_made_once_of_what_terminals_run(terminal: Terminal) -> None:
    ready("0.9.0", OLD[:200_000])  # nobody runs it
    assert deltas.make_missing() == 1
    made = ReleaseDelta.objects.get()
    assert (made.old.version, made.new.version) == ("1.0.0", "2.0.0")
    assert made.size_bytes < 6_000
    assert deltas.apply(OLD, made.artifact.open("rb").read(), len(NEW)) == NEW
    assert deltas.make_missing() == 0


def test_what_is_not_worth_it_is_not_tried_again(terminal: Terminal) -> None:
    other = ready("3.0.0", random.Random(3).randbytes(200_000))
    keep_at(other, "state = retired")
    assert deltas.make_missing() == 0
    assert ReleaseDelta.objects.get().size_bytes == 0
    assert deltas.make_missing() == 0
    assert deltas.offered(other, [terminal.pk]) == {}


def test_an_order_names_the_delta_and_a_withdrawal_ends_it(terminal: Terminal, client: Client) -> None:
    deltas.make_missing()
    release = Release.objects.get(version="2.0.0")
    [installation] = services.install([(target_of(terminal), release)], requested_by="ops")
    assert installation.command is not None
    body = msgspec.json.decode(bytes(installation.command.payload))["body"]
    said = msgspec.convert(body, Install)
    assert said.delta is not None
    path = "/" + said.delta.url.split("/", 3)[3]
    answer: Any = client.get(path)
    assert len(b"".join(answer.streaming_content)) == said.delta.size_bytes
    campaign = Campaign.objects.get()
    cancel(campaign=campaign, user=campaign.proposed_by)
    withdraw_release(release=release, actor="ops", reason="bad")
    assert client.get(path).status_code == 404


def test_terminals_of_other_versions_are_sent_no_delta(terminal: Terminal, register: Callable[[str], Terminal]) -> None:
    deltas.make_missing()
    other = register("SN-2")
    InstalledSoftware.objects.create(terminal=other, component="payment", version="1.5.0", reported_at=timezone.now())
    offered = deltas.offered(Release.objects.get(version="2.0.0"), [terminal.pk, other.pk])
    assert set(offered) == {terminal.pk}


# --- at the terminal -------------------------------------------------------------------------------------------------
class WithDelta(Between):
    """Serves one delta besides the repository."""

    def __init__(self, delta: bytes) -> None:
        super().__init__()
        self.delta = delta

    def _answer(self, path: str) -> bytes:
        return self.delta if path == "/delta" else super()._answer(path)


def fetched(release: Release, folder: Path, delta: bytes, kept: bytes = OLD) -> tuple[bytes, list[str]]:
    """Return what a terminal that kept a file makes of a release, and what it fetched besides documents."""
    folder.mkdir(exist_ok=True)
    (folder / updates.KEPT).write_bytes(kept)
    between = WithDelta(delta)
    path = updates.fetch(
        Assignment("SN-1", release.platform, release.target, release.size_bytes, release.sha256, 1),
        root=repository.root_document(),
        metadata_url="http://tms.test/tuf/",
        url="http://tms.test/files",
        folder=folder,
        fetcher=between,
        delta=Delta("http://tms.test/delta", len(delta), "0" * 64, Release.objects.get(version="1.0.0").sha256),
    )
    files = [path for path in between.asked if not path.endswith(".json")]
    return path.read_bytes(), ["delta" if path == "/delta" else "whole" for path in files]


def test_a_terminal_makes_the_release_of_the_delta(terminal: Terminal, tmp_path: Path) -> None:
    release = Release.objects.get(version="2.0.0")
    assert fetched(release, tmp_path / "a", deltas.make(OLD, NEW)) == (NEW, ["delta"])


def test_whatever_is_wrong_with_a_delta_the_whole_is_fetched(terminal: Terminal, tmp_path: Path) -> None:
    release = Release.objects.get(version="2.0.0")
    good = deltas.make(OLD, NEW)
    bomb = deltas.make(OLD, bytes(50_000_000))
    for number, delta in enumerate((b"", b"no zstd", good[:-10], deltas.make(OLD, NEW[:-1] + b"x"), bomb)):
        assert fetched(release, tmp_path / str(number), delta) == (NEW, ["delta", "whole"])
    assert fetched(release, tmp_path / "other", good, kept=b"something else") == (NEW, ["whole"])


@pytest.mark.parametrize("delta", [b"", b"no zstd", deltas.make(OLD, bytes(2_000_000)), deltas.make(OLD, NEW[:-1])])
def test_a_delta_that_makes_something_else_is_refused(delta: bytes) -> None:
    with pytest.raises(ValueError, match="delta"):
        deltas.apply(OLD, delta, len(NEW))


def test_a_wheel_of_a_later_version_costs_less_than_two_fifths() -> None:
    """Two real sets of files, as wheels pack them: a package, and the same with some of its modules changed."""

    def wheel(changed: int) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            modules = sorted((Path(django.__file__).parent / "db").rglob("*.py"))
            for number, module in enumerate(modules):
                text = module.read_text() + ("\n# changed\n" if number % 20 == 0 and changed else "")
                packed.writestr(zipfile.ZipInfo(str(module.relative_to(module.anchor))), text)
        return file.getvalue()

    old, new = wheel(0), wheel(1)
    delta = deltas.make(old, new)
    assert len(delta) < 0.4 * len(new)
    assert deltas.apply(old, delta, len(new)) == new
