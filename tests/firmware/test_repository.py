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

from firmware.fitness import unfit_for
from firmware.models import Release, RepositoryDocument
from firmware.releases import approve_release, withdraw_release
from firmware.tuf import documents, services
from firmware.tuf.__main__ import make_key, signer_of
from firmware.tuf.documents import Delegation
from firmware.tuf.store import latest_versions
from fleet.local import custody
from terminals.bulk.fitness import refused_among
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


def till_document(role: str) -> bytes:
    return RepositoryDocument.objects.filter(role=role).latest("version").content.encode()


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
    assert after.version > before.version
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


def test_a_platforms_key_speaks_for_its_platform_alone(release: Release, new_till: NewTill) -> None:
    store = services.open_store()
    document: Any = store.open("platform.linux-arm64")
    document.signed.targets["android/9-evil.bin"] = TargetFile(4, {"sha256": "0" * 64}, "android/9-evil.bin")
    document.signed.version += 1
    document.sign(services.signers()["platform."])
    with pytest.raises(Refusal, match="not an approved release"):
        services.take_in([documents.written(document)], actor="ops")
    # Whoever has the server's other key, too, can let a snapshot name it; no terminal looks for android's files there.
    store.close("platform.linux-arm64", document)
    services._publish(store)
    till = new_till(services.root_document())
    assert till.fetch(release) == b"software 1.0.0"
    assert any("platform.linux-arm64.json" in path for path in till.between.asked)
    with pytest.raises(NotTrusted, match="does not list"):
        till.fetch(release, target="android/9-evil.bin", size_bytes=4, sha256="0" * 64)
    [delegated] = documents.delegations(services.present("targets").signed).values()  # type: ignore[union-attr]
    assert delegated.is_delegated_path("linux-arm64/1-pay-1.0.0.bin")
    assert not delegated.is_delegated_path("android/9-evil.bin")


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
        documents.sign(root, custody._signers("root")[number])
    assert services.take_in([documents.written(root)], actor="ops") == ["root 2"]
    assert till.fetch(release) == b"software 1.0.0"
    assert new_till(first).fetch(release) == b"software 1.0.0", "one that was switched off meanwhile follows, too"
    third = documents.next_root(root, now=timezone.now())
    with pytest.raises(Refusal, match="bears 0 good signatures"):
        services.take_in([signed(third, 0, 1)], actor="ops")  # those who left


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
    assert (waiting.state, waiting.listed_at, services.waiting()[0]) == ("approved", None, 1)
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
        (till_document("timestamp"), "bad_document"),
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
    with django_assert_num_queries(2):
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


def test_a_platform_that_is_delegated_again_lists_what_is_approved_then(till: Till, release: Release) -> None:
    bad = ready("1.1.0")
    ended = documents.next_targets(services.present("targets"), withdraw=["linux-arm64"], now=timezone.now())
    services.take_in([signed(ended, 0, 1, role="targets")], actor="ops")
    release.refresh_from_db()
    assert release.listed_at is None
    assert {one.role for one in services.documents_standing(timezone.now())} == {
        "root",
        "targets",
        "snapshot",
        "timestamp",
    }
    withdraw_release(release=bad, actor="ops", reason="it breaks printers")
    custody.hold_ceremony(["linux-arm64"])
    release.refresh_from_db()
    bad.refresh_from_db()
    assert (release.listed_at is not None, bad.listed_at) == (True, None)
    assert till.fetch(release) == b"software 1.0.0"
    with pytest.raises(NotTrusted, match="does not list"):
        till.fetch(bad)


def test_a_withdrawal_on_a_custodians_platform_waits_for_them_and_says_so(db: None, settings: Any) -> None:
    built = draft("3.0.0")
    custody.hold_ceremony([])
    keys = [one.public_key for one in custody._signers("targets")]
    delegated = documents.next_targets(
        services.present("targets"), delegate=[Delegation("linux-arm64", keys, 2)], now=timezone.now()
    )
    services.take_in([signed(delegated, 0, 1, role="targets")], actor="ops")
    approve_release(release=built, actor=APPROVER, sha256=built.sha256)
    services.take_in([signed(services.draft_platform("linux-arm64"), 0, 1, role="targets")], actor="ops")
    withdrawn = withdraw_release(release=built, actor="ops", reason="it breaks printers")
    assert withdrawn.listed_at is not None
    assert services.waiting() == (0, 1)
    services.take_in([signed(services.draft_platform("linux-arm64"), 0, 1, role="targets")], actor="ops")
    assert services.waiting() == (0, 0)


def test_terminals_go_on_after_the_database_was_restored(till: Till, release: Release) -> None:
    backup = set(RepositoryDocument.objects.values_list("pk", flat=True))
    with time_machine.travel(later(minutes=1)):
        till.fetch(ready("2.0.0"))
    RepositoryDocument.objects.exclude(pk__in=backup).delete()
    with time_machine.travel(later(minutes=2)):
        Release.objects.filter(version="2.0.0").delete()
        restored = ready("2.1.0")
        assert till.fetch(restored) == b"software 2.1.0"


def test_an_online_key_that_root_does_not_name_signs_nothing(release: Release, settings: Any, tmp_path: Any) -> None:
    make_key(tmp_path / "new.pem", "")
    settings.TUF_ONLINE_KEY_FILE = str(tmp_path / "new.pem")
    with pytest.raises(Refusal, match="names another online key"), time_machine.travel(later(hours=13)):
        services.renew(timezone.now())
    built = draft("2.0.0")
    with pytest.raises(Refusal, match="names another online key"):
        approve_release(release=built, actor=APPROVER, sha256=built.sha256)
    built.refresh_from_db()
    assert built.state == "draft"


def test_nothing_is_sent_while_the_repository_has_expired(register: Callable[[str], Any], release: Release) -> None:
    terminal = register("SN-1")
    with time_machine.travel(later(hours=25)):
        found = refused_among([terminal.pk], unfit_for(release))
        assert found[terminal.pk].reason == "repository_expired"
        services.renew(timezone.now())
        assert refused_among([terminal.pk], unfit_for(release)) == {}


@pytest.mark.parametrize("platform", ["*", "?inux-arm64", "../x", "a/b", ""])
def test_a_platform_of_odd_characters_is_not_delegated(release: Release, platform: str) -> None:
    with pytest.raises(Refusal, match="cannot be a platform"):
        documents.next_targets(
            services.present("targets"),
            delegate=[Delegation(platform, [services.platform_key()], 1)],
            now=timezone.now(),
        )
    assert custody.hold_ceremony([platform]) == []
