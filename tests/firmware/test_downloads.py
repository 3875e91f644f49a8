"""Artifact downloads: whole, by range, resumed, and only for the terminal that the link was made for."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.signing import BadSignature
from django.test import Client
from django.utils import timezone

from firmware import downloads
from firmware.downloads import Pace, Slots
from firmware.models import Release
from firmware.services import VALID_FOR, assign_release, download_signer
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Install
from tests.conftest import working_device
from tests.releases import ready

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def link(register: Callable[[str], Terminal]) -> str:
    """The path at which SN-1 fetches a release of 256,000 bytes."""
    terminal = register("SN-1")
    device = working_device(terminal)
    release = ready(content=CONTENT)
    terminal.refresh_from_db()
    assign_release(release=release, terminals=[terminal], actor="ops")
    device.receive("", bytes(terminal.commands.get(type="install").payload))
    assert device.pending_install is not None
    order: Install = device.pending_install.body
    assert (order.size_bytes, order.sha256) == (len(CONTENT), release.sha256)
    return "/" + order.url.split("/", 3)[3]


def fetch(client: Client, link: str, wanted: str | None = None, **headers: str) -> tuple[int, bytes, str]:
    answer: Any = client.get(link, headers={"Range": wanted, **headers} if wanted else headers)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, body, answer.get("Content-Range", "")


@pytest.mark.parametrize(
    ("wanted", "status", "first", "last"),
    [
        (None, 200, 0, 255_999),
        ("bytes=0-99", 206, 0, 99),
        ("bytes=100000-199999", 206, 100_000, 199_999),
        ("bytes=255999-", 206, 255_999, 255_999),
        ("bytes=-10", 206, 255_990, 255_999),
        ("bytes=255000-999999", 206, 255_000, 255_999),
        ("bytes=-999999", 206, 0, 255_999),
        ("bytes=0-1,5-6", 200, 0, 255_999),  # RFC 9110 lets a server ignore several ranges
        ("bytes=-", 200, 0, 255_999),
        ("lines=1-2", 200, 0, 255_999),
        ("bytes=٣-٤", 200, 0, 255_999),
    ],
)
def test_a_range_brings_exactly_its_bytes(
    client: Client, link: str, wanted: str | None, status: int, first: int, last: int
) -> None:
    code, body, content_range = fetch(client, link, wanted)
    assert (code, body) == (status, CONTENT[first : last + 1])
    assert content_range == (f"bytes {first}-{last}/256000" if status == 206 else "")


@pytest.mark.parametrize("wanted", ["bytes=256000-", "bytes=9-3", "bytes=-0"])
def test_a_range_outside_of_the_file_is_refused(client: Client, link: str, wanted: str) -> None:
    assert fetch(client, link, wanted) == (416, b"", "bytes */256000")


def test_a_resumed_download_of_another_file_begins_anew(client: Client, link: str) -> None:
    etag = client.head(link)["ETag"]
    assert fetch(client, link, "bytes=10-19", **{"If-Range": etag})[0] == 206
    assert fetch(client, link, "bytes=10-19", **{"If-Range": '"other"'})[0] == 200
    assert fetch(client, link, **{"If-None-Match": etag})[0] == 304


def test_a_forged_or_old_link_or_a_retired_terminal_gets_nothing(client: Client, link: str) -> None:
    assert fetch(client, link[:-1] + ("a" if link[-1] != "a" else "b"))[0] == 403
    with time_machine.travel(timezone.now() + VALID_FOR + timedelta(minutes=1)):
        assert fetch(client, link)[0] == 403
    Terminal.objects.update(state="retired")
    assert fetch(client, link)[0] == 403
    assert Release.objects.count() == 1


def test_a_terminal_reads_one_file_at_a_time_and_its_place_is_free_again_however_it_ends(
    client: Client, link: str
) -> None:
    slow: Any = client.get(link)
    assert slow.status_code == 200
    second = client.get(link)
    assert second.status_code == 503
    assert second["Retry-After"] in ("2", "3", "4"), "not all at the same instant"
    for closer in slow._resource_closers:  # as the server does where a reader leaves; this one never read a byte
        closer()
    assert fetch(client, link)[0] == 200


def test_slow_readers_of_many_links_leave_threads_for_everybody_else() -> None:
    slots = Slots(together=4, each=1)
    assert [slots.enter(f"SN-{n}") for n in range(24)] == [True] * 4 + [False] * 20
    slots.leave("SN-0")
    assert slots.enter("SN-9") is True


def test_a_proxy_may_send_the_file(client: Client, link: str, settings: Any) -> None:
    settings.ARTIFACT_ACCEL_PREFIX = "/internal-artifacts/"
    answer = client.get(link)
    assert answer["X-Accel-Redirect"] == f"/internal-artifacts/{Release.objects.get().artifact.name}"
    assert answer.content == b""


def test_a_file_that_cannot_be_opened_does_not_keep_its_slot(client: Client, link: str) -> None:
    release = Release.objects.get()
    release.artifact.delete(save=False)
    for _ in range(6):
        assert client.get(link).status_code == 500, "a 503 would say: busy, come back"
    assert downloads.slots.enter("SN-1")


def test_before_a_bucket_a_terminal_is_sent_to_its_signed_address(client: Client, link: str, settings: Any) -> None:
    settings.ARTIFACT_REDIRECT = True
    storage: Any = Release.objects.get().artifact.storage
    storage.base_url = "https://bucket.example.com/"
    answer = client.get(link)
    assert answer.status_code == 302
    assert answer["Location"].startswith("https://bucket.example.com/releases/")
    assert client.get(link[:-3] + "xyz").status_code == 403


def test_a_link_outlives_a_change_of_the_secret_key_while_the_old_one_is_named(settings: Any) -> None:
    old = settings.SECRET_KEY
    link = download_signer().sign("7:SN-1")
    settings.SECRET_KEY = "the-next-secret-key-of-this-installation"
    with pytest.raises(BadSignature):
        download_signer().unsign(link)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert download_signer().unsign(link) == "7:SN-1"


def test_all_downloads_of_a_process_together_keep_to_its_pace() -> None:
    pace = Pace(1000)
    assert pace.wait_for(1000, now=100.0) == 0.0, "a second's bytes may go at once"
    assert pace.wait_for(500, now=100.0) == 0.0
    assert pace.wait_for(500, now=100.0) == pytest.approx(0.5)
    assert pace.wait_for(1, now=100.0) == pytest.approx(1.0)
    assert pace.wait_for(1, now=200.0) == 0.0, "what nobody used for long does not add up"
    assert pace.wait_for(1000, now=200.0) == 0.0
    assert pace.wait_for(1, now=200.0) == pytest.approx(0.001)
    assert Pace(0).wait_for(10**9, now=0.0) == 0.0


def test_a_download_waits_for_its_turn(client: Client, link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(downloads, "pace", Pace(1))
    monkeypatch.setattr(time, "sleep", waited.append)
    answer: Any = client.get(link)
    assert b"".join(answer.streaming_content) == CONTENT
    answer = client.get(link)
    b"".join(answer.streaming_content)
    assert waited[-1] > 1
