"""Releases in a bucket: stored, approved, fetched by ranges or by the bucket's own links, and what happens when it is away."""

import hashlib
import os
import random
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from django.utils.module_loading import import_string

from firmware import deltas, downloads
from firmware.bucket import PART_BYTES, PIECE_BYTES, ReleaseBucket
from firmware.models import Package, Release, ReleaseDelta
from firmware.services import install_body
from firmware.tuf import services as repository
from fleet import artifacts
from fleet.env import MissingSetting
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Assignment
from terminals.link.services import target_of
from terminals.simulator import updates
from tests import bucket as buckets
from tests.bucket import BUCKET, Bucket
from tests.conftest import deliver, enrolled_device, working_device
from tests.faults.test_slow_readers import web as web  # a real web process
from tests.releases import draft, ready, row

SIZE = 3 * PIECE_BYTES + 1000
CONTENT = random.Random(1).randbytes(SIZE)
Register = Callable[[str], Terminal]


@pytest.fixture(scope="session")  # pytest-django sorts tests across modules
def server() -> Iterator[Bucket]:
    with buckets.running() as bucket:
        yield bucket


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Bucket) -> pytest.MonkeyPatch:
    """What an operator sets."""
    secret = tmp_path / "secret"
    secret.write_text(buckets.SECRET + "\n")
    server.away = False
    for name, value in {
        "STORAGE": "s3",
        "S3_BUCKET": BUCKET,
        "S3_ENDPOINT": server.endpoint,
        "S3_REGION": buckets.REGION,
        "S3_PREFIX": "tms/one",
        "S3_KEY_ID": buckets.KEY_ID,
        "S3_SECRET_FILE": str(secret),
    }.items():
        monkeypatch.setenv(f"ARTIFACT_{name}", value)
    return monkeypatch


def store_in(monkeypatch: pytest.MonkeyPatch) -> ReleaseBucket:
    """Let releases and deltas lie where the environment says."""
    entry = artifacts.storage(Path("unused"))
    storage: ReleaseBucket = import_string(entry["BACKEND"])(**entry["OPTIONS"])
    for model in (Release, ReleaseDelta):
        monkeypatch.setattr(model._meta.get_field("artifact"), "storage", storage)
    return storage


@pytest.fixture
def bucket(environment: pytest.MonkeyPatch, server: Bucket, db: None) -> Bucket:
    """The server, in which releases lie; what it was asked is counted from here on."""
    store_in(environment)
    server.asked.clear()
    return server


@pytest.fixture
def link(bucket: Bucket, register: Register) -> str:
    """The path at which SN-1 fetches a release."""
    terminal = register("SN-1")
    working_device(terminal)
    terminal.refresh_from_db()
    path = link_of(terminal, ready(content=CONTENT))
    bucket.asked.clear()
    return path


def link_of(terminal: Terminal, release: Release) -> str:
    return "/" + install_body(release, target_of(terminal), terminal.serial, 1).url.split("/", 3)[3]


def fetch(client: Client, link: str, wanted: str = "") -> tuple[int, bytes]:
    answer: Any = client.get(link, headers={"Range": wanted} if wanted else {})
    return answer.status_code, b"".join(answer.streaming_content) if answer.streaming else answer.content


# --- stored and fetched ----------------------------------------------------------------------------------------------
def test_a_release_lies_in_the_bucket_for_nobody_and_comes_back_by_ranges(
    bucket: Bucket, client: Client, link: str
) -> None:
    release = Release.objects.get()
    key = f"tms/one/{release.artifact.name}"
    stored = bucket.client().head_object(Bucket=BUCKET, Key=key)
    assert (stored["ContentLength"], stored["ContentType"]) == (SIZE, "application/octet-stream")
    grants = bucket.client().get_object_acl(Bucket=BUCKET, Key=key)["Grants"]
    assert not [grant for grant in grants if "URI" in grant["Grantee"]], "it is public for no group"
    middle = SIZE // 2
    parts = [fetch(client, link, f"bytes=0-{middle - 1}"), fetch(client, link, f"bytes={middle}-")]
    assert [code for code, _ in parts] == [206, 206]
    assert hashlib.sha256(parts[0][1] + parts[1][1]).hexdigest() == release.sha256


def test_a_range_costs_one_piece_of_the_object_wherever_it_lies(bucket: Bucket, client: Client, link: str) -> None:
    assert fetch(client, link, "bytes=2000000-2000009") == (206, CONTENT[2_000_000:2_000_010])
    spans = [asked for asked in bucket.asked if asked.startswith("GET")]
    assert spans == [f"GET bytes=2000000-{2_000_000 + PIECE_BYTES - 1}"]


def test_a_file_of_the_bucket_is_one_of_pythons(bucket: Bucket) -> None:
    release = draft(content=CONTENT)
    with release.artifact.open("rb") as file:
        assert file.size == SIZE
        assert file.read() == CONTENT
        assert file.seek(-10, os.SEEK_END) == SIZE - 10
        assert (file.read(), file.read(1)) == (CONTENT[-10:], b"")
    with release.artifact.open("rb") as file:
        assert file.read(5) == CONTENT[:5], "it can be opened again"
    with pytest.raises(ValueError, match="written as a whole"):
        release.artifact.storage.open(str(release.artifact.name), "wb")


def test_a_large_upload_goes_part_by_part(bucket: Bucket) -> None:
    content = random.Random(2).randbytes(2 * PART_BYTES + 10)
    release = draft(content=content)
    assert [asked for asked in bucket.asked if asked.startswith("PUT")] == [
        f"PUT {PART_BYTES}",
        f"PUT {PART_BYTES}",
        "PUT 10",
    ]
    assert release.sha256 == hashlib.sha256(content).hexdigest()
    with release.artifact.open("rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == release.sha256


def test_deltas_lie_there_too(bucket: Bucket, register: Register, client: Client) -> None:
    terminal = register("SN-1")
    working_device(terminal)
    terminal.refresh_from_db()
    old, new = ready("1.0.0", CONTENT), ready("2.0.0", CONTENT + b"more")
    delta = deltas.make(CONTENT, CONTENT + b"more")
    assert deltas._make_one(deltas.Pair(old, new)) == 1
    made = ReleaseDelta.objects.get()
    body = install_body(new, target_of(terminal), terminal.serial, 1, None, made)
    assert body.delta is not None
    assert fetch(client, "/" + body.delta.url.split("/", 3)[3]) == (200, delta)


def test_a_row_that_cannot_be_written_leaves_no_object(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ReleaseBucket._save

    def overtaken(storage: ReleaseBucket, name: str, content: Any) -> str:
        row(Package.objects.get(), "1.0.0")
        return store(storage, name, content)

    monkeypatch.setattr(ReleaseBucket, "_save", overtaken)
    with pytest.raises(Refusal, match="exists already"):
        draft("1.0.0", b"unwanted")
    key = f"tms/one/releases/{hashlib.sha256(b'unwanted').hexdigest()}"
    assert "PUT 8" in bucket.asked
    assert bucket.client().list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"] == 0


# --- the bucket's own links ------------------------------------------------------------------------------------------
def test_a_link_to_the_bucket_serves_all_and_ranges_until_it_ends(
    bucket: Bucket, client: Client, link: str, settings: Any
) -> None:
    settings.ARTIFACT_REDIRECT = True
    answer = client.get(link)
    assert answer.status_code == 302
    address = answer["Location"]
    assert bucket.asked == [], "nothing is asked for a link"
    assert httpx.get(address).content == CONTENT
    part = httpx.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    assert httpx.get(address.replace("X-Amz-Expires=300", "X-Amz-Expires=999")).status_code == 403
    assert httpx.delete(address).status_code == 403
    with time_machine.travel(timezone.now() + timedelta(seconds=artifacts.LINK_SECONDS + 1)):
        assert httpx.get(address).status_code == 403
        assert httpx.get(client.get(link)["Location"]).content == CONTENT, "the terminal's own link brings another"


def test_before_a_bucket_a_question_for_the_head_is_answered_here(client: Client, link: str, settings: Any) -> None:
    settings.ARTIFACT_REDIRECT = True
    answer = client.head(link)
    assert (answer.status_code, answer["Content-Length"]) == (200, str(SIZE))


class Wire:
    """A web process with the environment's settings, and a terminal that fetches a release by the TUF client of all terminals."""

    def __init__(self, port: int, terminal: Terminal, folder: Path) -> None:
        self._here, self._terminal, self._folder = f"http://127.0.0.1:{port}", terminal, folder

    def fetch(self, content: bytes, progress: updates.Progress = lambda _bytes: None) -> bytes:
        release = ready(content=content)
        body = install_body(release, target_of(self._terminal), self._terminal.serial, 1)
        told = body.url.split("/artifacts/")[0]
        with httpx.Client(timeout=10) as http:
            path = updates.fetch(
                Assignment("SN-1", release.platform, release.target, release.size_bytes, release.sha256, 1),
                root=repository.root_document(),
                metadata_url=body.metadata_url.replace(told, self._here),
                url=body.url.replace(told, self._here),
                folder=self._folder,
                fetcher=updates.ResumingFetcher(http, random.Random(1), progress),
            )
        return path.read_bytes()


@pytest.fixture
def wire(
    transactional_db: None, bucket: Bucket, register: Register, request: pytest.FixtureRequest, tmp_path: Path
) -> Wire:
    port: int = request.getfixturevalue("web")  # only now: it reads the environment
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    terminal.refresh_from_db()
    return Wire(port, terminal, tmp_path / "till")


@pytest.fixture
def led_away(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ARTIFACT_REDIRECT", "yes")


def test_a_terminal_follows_to_the_bucket(led_away: None, wire: Wire, bucket: Bucket) -> None:
    assert wire.fetch(CONTENT) == CONTENT
    assert [asked for asked in bucket.asked if asked.startswith("GET")] == ["GET"], "once and whole, by the terminal"


def test_a_terminal_resumes_when_the_bucket_is_back(
    wire: Wire, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def away_once(received_bytes: int) -> None:
        bucket.away = bucket.away or (received_bytes > PIECE_BYTES and not pauses)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        bucket.away = False

    monkeypatch.setattr("terminals.simulator.updates.time.sleep", pause)
    content = CONTENT * 12  # more than the sockets between them hold
    assert wire.fetch(content, away_once) == content
    assert len(pauses) >= 1, "the web process hung up, and the terminal came back"


# --- when it is away -------------------------------------------------------------------------------------------------
def test_a_missing_object_is_an_error_of_ours(client: Client, link: str) -> None:
    release = Release.objects.get()
    release.artifact.storage.delete(str(release.artifact.name))
    for _ in range(6):
        assert client.get(link).status_code == 500, "a 503 would say: busy, come back"
    assert downloads.slots.enter("SN-1"), "no slot is kept"


def test_a_bucket_that_is_away_asks_the_terminal_to_come_back(
    bucket: Bucket, client: Client, link: str, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.away = True
    for _ in range(6):
        answer = client.get(link)
        assert answer.status_code == 503
        assert downloads.AWAY_SECONDS <= int(answer["Retry-After"]) <= 2 * downloads.AWAY_SECONDS
    told = [record for record in caplog.records if record.name == "firmware.downloads"]
    assert [record.exc_info for record in told] == [None] * 6, "a line each, and no traceback"
    bucket.away = False
    assert fetch(client, link) == (200, CONTENT)


def test_a_bucket_that_goes_away_cuts_the_download_and_frees_its_place(
    bucket: Bucket, client: Client, link: str
) -> None:
    answer: Any = client.get(link)
    pieces = iter(answer.streaming_content)
    received = [next(pieces)]
    bucket.away = True
    with pytest.raises(ConnectionResetError):
        received.extend(pieces)
    assert b"".join(received) == CONTENT[:PIECE_BYTES]
    bucket.away = False
    assert fetch(client, link, f"bytes={PIECE_BYTES}-") == (206, CONTENT[PIECE_BYTES:])


def test_a_server_that_is_not_there_takes_no_upload_and_no_row_is_kept(
    environment: pytest.MonkeyPatch, api: Any, shop: dict[str, int]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    environment.setenv("ARTIFACT_S3_ENDPOINT", f"http://127.0.0.1:{port}")
    store_in(environment)
    package = Package.objects.create(name="pay")
    form = {"package": package.pk, "version": "1.0.0", "platform": "linux-arm64"}
    answer = api.post("/api/v1/releases/", form | {"artifact": SimpleUploadedFile("pay.bin", b"x")}, format="multipart")
    assert (answer.status_code, answer.json()["reason"]) == (409, "not_stored")
    assert not Release.objects.exists()


# --- settings --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STORAGE", "s4", "write files, s3, or the dotted path"),
        ("S3_BUCKET", "", "ARTIFACT_S3_BUCKET is not set"),
        ("S3_BUCKET", "https://releases", "a bucket's name alone"),
        ("S3_ENDPOINT", "minio:9000", "write https://host"),
        ("S3_ENDPOINT", "https://minio/releases", "without the bucket's name"),
        ("S3_LINK_SECONDS", "10", "write 30 to 3600"),
        ("S3_LINK_SECONDS", "a day", "write a whole number"),
        ("S3_KEY_ID", "", "go together"),
        ("S3_SECRET_FILE", "", "go together"),
        ("S3_SECRET_FILE", "/nowhere", "cannot be read"),
        ("S3_SECRET_FILE", "/dev/null", "the secret access key alone"),
        ("S3_PATH_STYLE", "maybe", "write yes or no"),
        ("ACCEL_PREFIX", "/internal", "take it away"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_to_do(
    environment: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    environment.setenv(f"ARTIFACT_{name}", value)
    with pytest.raises(MissingSetting, match=told):
        artifacts.storage(Path("unused"))


def test_without_an_endpoint_the_region_must_be_said_and_the_host_names_the_bucket(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delenv("ARTIFACT_S3_ENDPOINT")
    storage = store_in(environment)
    assert storage.url("releases/x").startswith(
        f"https://{BUCKET}.s3.{buckets.REGION}.amazonaws.com/tms/one/releases/x?"
    )
    environment.delenv("ARTIFACT_S3_REGION")
    with pytest.raises(MissingSetting, match="like eu-central-1"):
        artifacts.storage(Path("unused"))


def test_the_machines_own_role_needs_no_key(environment: pytest.MonkeyPatch) -> None:
    for name in ("KEY_ID", "SECRET_FILE"):
        environment.delenv(f"ARTIFACT_S3_{name}")
    assert "secret_key" not in artifacts.storage(Path("unused"))["OPTIONS"]


def test_files_stay_the_default_and_have_no_address_to_lead_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ARTIFACT_STORAGE", raising=False)
    assert artifacts.storage(tmp_path)["OPTIONS"] == {"location": tmp_path}
    monkeypatch.setenv("ARTIFACT_REDIRECT", "yes")
    with pytest.raises(MissingSetting, match="wants a bucket"):
        artifacts.storage(tmp_path)
