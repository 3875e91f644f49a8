"""The release repository against whoever stands between it and a terminal, and against a single custodian."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from tuf.api.metadata import Metadata, TargetFile

from firmware.models import Release, RepositoryDocument
from firmware.releases import approve_release, withdraw_release
from firmware.tuf import documents, services
from firmware.tuf.__main__ import make_key, signer_of
from firmware.tuf.documents import Delegation
from firmware.tuf.store import latest_versions
from fleet.local import custody
from terminals.common.errors import Refusal
from terminals.simulator.updates import NotFetched, NotTrusted
from tests.firmware.conftest import Till
from tests.releases import APPROVER, draft, ready

NewTill = Callable[[str], Till]


@pytest.fixture
def release(db: None) -> Release:
    return ready("1.0.0")


@pytest.fixture
def till(release: Release, new_till: NewTill) -> Till:
    """A terminal that has fetched the release once."""
    made = new_till(services.root_document())
    assert made.fetch(release) == b"software 1.0.0"
    return made


def stored(role: str, version: int) -> bytes:
    return RepositoryDocument.objects.get(role=role, version=version).content.encode()


def later(**ahead: Any) -> datetime:
    return datetime.now(UTC) + timedelta(**ahead)


def signed(document: Any, *numbers: int, role: str = "root") -> bytes:
    """Return a document signed by some of the demonstration's custodians."""
    for number in numbers:
        documents.sign(document, custody._signers(role)[number])
    return documents.written(document)


# --- who stands between ----------------------------------------------------------------------------------------------
def test_an_expired_timestamp_is_refused_and_a_renewed_one_taken(till: Till, release: Release) -> None:
    with time_machine.travel(later(hours=25)):
        with pytest.raises(NotTrusted, match="ExpiredMetadataError"):
            till.fetch(release)
        assert services.renew(timezone.now()) == ["timestamp"]
        assert till.fetch(release) == b"software 1.0.0"


def test_a_rollback_to_an_earlier_timestamp_is_refused(till: Till, release: Release) -> None:
    before = stored("timestamp", services.documents_standing(timezone.now())[-1].version)
    newer = ready("1.1.0")
    assert till.fetch(newer) == b"software 1.1.0"
    till.between.instead["/timestamp.json"] = lambda _: before
    with pytest.raises(NotTrusted, match="BadVersionNumberError"):
        till.fetch(release)


def test_who_freezes_a_terminal_at_an_old_state_does_so_for_a_day_at_most(till: Till, release: Release) -> None:
    frozen = till.between._answer("/tuf/timestamp.json")
    newer = ready("1.1.0")
    till.between.instead["/timestamp.json"] = lambda _: frozen
    with pytest.raises(NotTrusted, match="does not list"):
        till.fetch(newer)
    with time_machine.travel(later(hours=25)):
        services.renew(timezone.now())
        with pytest.raises(NotTrusted, match="ExpiredMetadataError"):
            till.fetch(release)


@pytest.mark.parametrize("role", ["platform.linux-arm64", "snapshot"])
def test_documents_of_two_states_are_not_mixed(till: Till, role: str) -> None:
    before = RepositoryDocument.objects.filter(role=role).latest("version")
    newer = ready("1.1.0")
    after = RepositoryDocument.objects.filter(role=role).latest("version")
    assert after.version == before.version + 1
    till.between.instead[f"/{after.version}.{role}.json"] = lambda _: before.content.encode()
    with pytest.raises(NotTrusted, match="BadVersionNumberError"):
        till.fetch(newer)


def test_a_root_that_too_few_custodians_signed_is_refused_by_terminal_and_server(till: Till, release: Release) -> None:
    root = documents.next_root(Metadata.from_bytes(stored("root", 1)), now=timezone.now())
    alone = signed(root, 0)
    with pytest.raises(Refusal, match="bears 1 good signatures and needs 2"):
        services.take_in([alone], actor="ops")
    RepositoryDocument.objects.create(role="root", version=2, content=alone.decode(), expires_at=later(days=365))
    with pytest.raises(NotTrusted, match="UnsignedMetadataError"):
        till.fetch(release)


def test_one_custodian_who_signs_twice_is_still_one(till: Till) -> None:
    root = documents.next_root(Metadata.from_bytes(stored("root", 1)), now=timezone.now())
    with pytest.raises(Refusal, match="needs 2"):
        services.take_in([signed(root, 1, 1)], actor="ops")
    with pytest.raises(Refusal, match="named twice"):
        documents.next_root(root, root=[custody._signers("root")[0].public_key] * 2, now=timezone.now())


@pytest.mark.parametrize("name", ["/timestamp.json", ".snapshot.json", ".targets.json", ".platform.linux-arm64.json"])
def test_a_flipped_bit_in_a_document_is_refused(release: Release, new_till: NewTill, name: str) -> None:
    till = new_till(services.root_document())
    till.between.instead[name] = lambda content: content.replace(b'"expires":"2', b'"expires":"3', 1)
    with pytest.raises(NotTrusted):
        till.fetch(release)


def test_a_flipped_bit_in_a_release_is_refused(till: Till, release: Release) -> None:
    till.between.instead[".bin"] = lambda content: bytes([content[0] ^ 1]) + content[1:]
    with pytest.raises(NotTrusted, match="LengthOrHashMismatchError"):
        till.fetch(release)
    assert not list(till.folder.glob("*.bin")), "nothing is left of it"


@pytest.mark.parametrize("name", ["/timestamp.json", ".snapshot.json", ".targets.json", ".bin"])
def test_endless_data_ends(release: Release, new_till: NewTill, name: str) -> None:
    till = new_till(services.root_document())
    till.between.instead[name] = lambda content: content + bytes(6_000_000)
    with pytest.raises(NotFetched, match="DownloadLengthMismatchError"):
        till.fetch(release)


def test_a_platforms_key_speaks_for_its_platform_alone(till: Till, release: Release) -> None:
    stolen = services.signers()["platform."]
    document: Any = Metadata.from_bytes(
        stored("platform.linux-arm64", 2 if latest_versions()["platform.linux-arm64"] > 1 else 1)
    )
    document.signed.version += 1
    document.signed.targets["android/9-evil.bin"] = TargetFile(4, {"sha256": "0" * 64}, "android/9-evil.bin")
    document.sign(stolen)
    with pytest.raises(Refusal, match="not an approved release"):
        services.take_in([documents.written(document)], actor="ops")
    till.between.instead["platform.linux-arm64.json"] = lambda _: documents.written(document)
    release.platform = "android"
    with pytest.raises(NotTrusted, match="does not list"):
        till.fetch(release)


def test_an_assignment_that_means_other_bytes_is_refused(till: Till, release: Release) -> None:
    with pytest.raises(NotTrusted, match="other bytes"):
        till.fetch(release, sha256="0" * 64)


# --- custodians ------------------------------------------------------------------------------------------------------
def test_custodians_change_and_terminals_follow_from_root_to_root(
    till: Till, release: Release, new_till: NewTill, tmp_path: Any
) -> None:
    first = services.root_document()
    paths = [tmp_path / f"new-{n}.pem" for n in range(3)]
    for path in paths:
        make_key(path, "")
    new = [signer_of(str(path), "") for path in paths]
    root = documents.next_root(
        Metadata.from_bytes(first.encode()), root=[one.public_key for one in new], now=timezone.now()
    )
    for signer in new[:2]:
        documents.sign(root, signer)
    with pytest.raises(Refusal, match="needs 2"):
        services.take_in([documents.written(root)], actor="ops")  # those who leave must agree, too
    for number in (0, 2):
        root.sign(custody._signers("root")[number], append=True)
    assert services.take_in([documents.written(root)], actor="ops") == ["root 2"]
    assert till.fetch(release) == b"software 1.0.0"
    assert new_till(first).fetch(release) == b"software 1.0.0", "one that was switched off meanwhile follows, too"
    third = documents.next_root(root, now=timezone.now())
    with pytest.raises(Refusal, match="does not name this key"):
        signed(third, 0)


def test_new_targets_custodians_must_sign_the_present_targets_in_the_same_go(release: Release) -> None:
    present = Metadata.from_bytes(stored("root", 1))
    others = [one.public_key for one in custody._signers("root")]
    root = documents.next_root(present, targets=others, now=timezone.now())
    content = signed(root, 0, 1)
    with pytest.raises(Refusal, match="publish its next version together"):
        services.take_in([content], actor="ops")
    assert latest_versions()["root"] == 1
    targets = documents.next_targets(services.present("targets"), now=timezone.now())
    both = [signed(targets, 0, 2, role="root"), content]
    assert services.take_in(both, actor="ops") == ["root 2", "targets 2"]


def test_a_platform_of_custodians_lists_nothing_without_them(db: None, settings: Any, new_till: NewTill) -> None:
    settings.TUF_PLATFORM_KEY_FILE, kept = "", settings.TUF_PLATFORM_KEY_FILE
    built = draft("3.0.0")
    custody.hold_ceremony([])
    keys = [one.public_key for one in custody._signers("targets")]
    delegated = documents.next_targets(
        services.present("targets"), delegate=[Delegation("linux-arm64", keys, 2)], now=timezone.now()
    )
    services.take_in([signed(delegated, 0, 1, role="targets")], actor="ops")
    waiting = approve_release(release=built, actor=APPROVER, sha256=built.sha256)
    assert (waiting.state, waiting.listed_at, services.unlisted()) == ("approved", None, 1)
    listed = services.draft_platform("linux-arm64")
    with pytest.raises(Refusal, match="bears 1 good signatures"):
        services.take_in([signed(listed, 0, role="targets")], actor="ops")
    services.take_in([signed(listed, 2, role="targets")], actor="ops")
    waiting.refresh_from_db()
    assert waiting.listed_at is not None
    assert new_till(services.root_document()).fetch(waiting) == b"software 3.0.0"
    settings.TUF_PLATFORM_KEY_FILE = kept
    assert not services.list_releases("linux-arm64"), "a key that the custodians did not name lists nothing"


def test_a_withdrawn_release_is_not_to_be_had_any_more(till: Till, release: Release) -> None:
    withdrawn = withdraw_release(release=release, actor="ops", reason="it breaks printers")
    assert (withdrawn.state, withdrawn.listed_at) == ("withdrawn", None)
    with pytest.raises(NotTrusted, match="does not list"):
        till.fetch(release)


def test_documents_that_do_not_follow_are_refused(release: Release) -> None:
    for content, reason in (
        (b"{}", "bad_document"),
        (b"\xff", "bad_document"),
        (stored("timestamp", 1), "bad_document"),
        (stored("root", 1), "wrong_version"),
        (stored("targets", 1), "wrong_version"),
    ):
        with pytest.raises(Refusal) as refused:
            services.take_in([content], actor="ops")
        assert refused.value.reason == reason
    with pytest.raises(Refusal, match="at least one"):
        services.take_in([], actor="ops")


# --- time and size ---------------------------------------------------------------------------------------------------
def test_what_the_server_signs_is_renewed_at_half_its_life_and_old_versions_go(
    release: Release, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        assert services.renew(timezone.now()) == []
    with time_machine.travel(later(hours=13)):
        assert services.renew(timezone.now()) == ["timestamp"]
    with time_machine.travel(later(days=4)):
        assert services.renew(timezone.now()) == ["snapshot", "timestamp"]
    with time_machine.travel(later(days=46)):
        assert services.renew(timezone.now()) == ["platform.linux-arm64", "snapshot", "timestamp"]
    RepositoryDocument.objects.update(made_at=timezone.now() - timedelta(days=8))
    with time_machine.travel(later(days=47)):
        services.renew(timezone.now())
    versions = RepositoryDocument.objects.values_list("role", "version")
    assert sum(role == "timestamp" for role, _ in versions) == 1
    assert ("root", 1) in versions


def test_custodians_are_reminded_before_their_documents_end(release: Release) -> None:
    def late(days: int) -> set[str]:
        return {one.role for one in services.documents_standing(timezone.now() + timedelta(days=days)) if one.late}

    assert late(0) == set()
    assert late(70) >= {"targets", "timestamp"}
    assert "root" in late(310)
    assert "root" not in late(300)


def test_a_listing_costs_the_statements_of_one_release(release: Release, django_assert_max_num_queries: Any) -> None:
    built = [draft(f"2.{n}.0") for n in range(20)]
    for one in built[1:]:
        Release.objects.filter(pk=one.pk).update(state="approved", approved_by=APPROVER)
    with django_assert_max_num_queries(30):
        approve_release(release=built[0], actor=APPROVER, sha256=built[0].sha256)
    assert Release.objects.filter(listed_at=None).count() == 0


def test_documents_are_served_for_caches(release: Release, client: Client) -> None:
    newest = client.get("/tuf/timestamp.json")
    assert newest["Cache-Control"] == "public, max-age=30"
    assert client.get("/tuf/timestamp.json", headers={"If-None-Match": newest["ETag"]}).status_code == 304
    root = client.get("/tuf/1.root.json")
    assert root["Cache-Control"] == "public, max-age=31536000, immutable"
    assert json.loads(root.content)["signed"]["consistent_snapshot"] is True
    for name in (
        "root.json",
        "9.root.json",
        "0.root.json",
        "1.root",
        "x",
        "1.%2e%2e.json",
        f"{10**12}.root.json",
    ):
        assert client.get(f"/tuf/{name}").status_code == 404, name
    assert client.post("/tuf/timestamp.json").status_code == 405
