"""The release repository: documents taken in from its custodians, releases listed, and what the server signs kept fresh."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Metadata, Root, Targets

from firmware.models import Release, RepositoryDocument
from firmware.rules import OFFERED, ReleaseState
from firmware.tuf import documents, listing
from firmware.tuf.documents import PLATFORM_PREFIX, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, life_of, platform_of, role_of
from firmware.tuf.store import Store
from terminals.common.audit import services as audit
from terminals.common.errors import Refusal
from terminals.link.protocol import signing

# A document of the server's is made anew after half of its life; of the custodians', they are reminded in time for a ceremony.
REMIND = {ROOT: timedelta(days=60), TARGETS: timedelta(days=21)}
REMIND_PLATFORM = timedelta(days=21)
KEEP_SUPERSEDED = timedelta(days=7)  # a terminal that read a snapshot may still ask for what it names


def _signer(path: str) -> CryptoSigner:
    return CryptoSigner(signing.private_key(path))


def signers() -> dict[str, CryptoSigner]:
    """Return what the server signs with: snapshot and timestamp, and platforms where it holds their key."""
    online = _signer(settings.TUF_ONLINE_KEY_FILE)
    own = {SNAPSHOT: online, TIMESTAMP: online}
    if settings.TUF_PLATFORM_KEY_FILE:
        own[PLATFORM_PREFIX] = _signer(settings.TUF_PLATFORM_KEY_FILE)
    return own


def online_key() -> Key:
    """Return the public key of snapshot and timestamp, for the root document."""
    return _signer(settings.TUF_ONLINE_KEY_FILE).public_key


def platform_key() -> Key:
    """Return the public key by which the server lists releases by itself; raise Refusal where it has none."""
    if not settings.TUF_PLATFORM_KEY_FILE:
        raise Refusal("no_platform_key", "the server holds no key for platforms; name the custodians' keys")
    return _signer(settings.TUF_PLATFORM_KEY_FILE).public_key


def open_store() -> Store:
    """Return the repository, locked until the transaction ends."""
    return Store(now=timezone.now(), signers=signers())


def root_document() -> str:
    """Return the present root document, which terminals get when they enrol; nothing before there is one."""
    latest = RepositoryDocument.objects.filter(role=ROOT).order_by("-version").values_list("content", flat=True)
    return latest.first() or ""


def present(role: str) -> Metadata[Any] | None:
    """Return the present version of a document; None before its first."""
    row = RepositoryDocument.objects.filter(role=role).order_by("-version").first()
    return Metadata.from_bytes(row.content.encode()) if row else None


# --- documents that custodians signed --------------------------------------------------------------------------------
@transaction.atomic
def take_in(contents: Iterable[bytes], *, actor: str) -> list[str]:
    """Publish documents that bear enough signatures, and a snapshot and timestamp with them; return what was taken.

    Raises Refusal, with nothing taken, where one of them is not the next version or is signed by too few.
    """
    store = open_store()
    read = sorted((documents.read(content) for content in contents), key=lambda one: _order(one.signed))
    if not read:
        raise Refusal("no_document", "name at least one document")
    taken = []
    for document in read:
        role = _take(store, document)
        taken.append(f"{role} {document.signed.version}")
    if store.version_of(TARGETS):
        _settle(store)
    audit.record(actor=actor, action="repository.publish", subject="repository:tuf", detail={"documents": taken})
    return taken


def _order(signed: Root | Targets) -> int:
    return 0 if isinstance(signed, Root) else 1 if signed.delegations is not None else 2


def _take(store: Store, document: Metadata[Any]) -> str:
    if document.signed.is_expired():
        raise Refusal("expired", "this document has expired already; draft it anew")
    if isinstance(document.signed, Root):
        documents.check_root(document, store.open(ROOT) if store.version_of(ROOT) else None)
        store.keep(ROOT, document)
        return ROOT
    if not store.version_of(ROOT):
        raise Refusal("no_root", "the repository has no root document yet; publish that first")
    if document.signed.delegations is not None:
        documents.check_targets(TARGETS, document, store.version_of(TARGETS), store.root())
        store.keep(TARGETS, document)
        _forget_withdrawn(document.signed)
        return TARGETS
    platform = listing.platform_named(document.signed)
    documents.check_targets(role_of(platform), document, store.version_of(role_of(platform)), store.targets())
    listing.check_listed(platform, document.signed)
    store.keep(role_of(platform), document)
    listing.note_listed(platform, document.signed)
    return role_of(platform)


def _settle(store: Store) -> None:
    """After a change above: whatever stands below must still be signed by whom the documents name now. What the server signs
    it signs anew; raises Refusal where custodians must."""
    _check_stands(store.root(), TARGETS, store)
    for platform in documents.delegations(store.targets()):
        _settle_platform(store, platform)
    _publish(store)


def _settle_platform(store: Store, platform: str) -> None:
    role = role_of(platform)
    stands = store.version_of(role) and _stands(store.targets(), role, store)
    if stands and store.targets(role).targets == listing.wanted(platform):
        listing.note_listed(platform, store.targets(role))
    elif not list_releases(platform, store) and store.version_of(role):
        _check_stands(store.targets(), role, store)
        listing.check_listed(platform, store.targets(role))
        listing.note_listed(platform, store.targets(role))


def _stands(judge: Root | Targets, role: str, store: Store) -> bool:
    present = store.open(role)
    return judge.get_verification_result(role, present.signed_bytes, present.signatures).verified


def _check_stands(judge: Root | Targets, role: str, store: Store) -> None:
    if not _stands(judge, role, store):
        raise Refusal(
            "left_unsigned",
            "the present %(role)s is not signed by those who may sign it now; publish its next version together with this",
            role=role,
        )


def _forget_withdrawn(targets: Targets) -> None:
    """A platform that is no longer delegated lists nothing."""
    listed = Release.objects.filter(listed_at__isnull=False)
    listed.exclude(platform__in=documents.delegations(targets)).update(listed_at=None)


def _publish(store: Store, *, snapshot: bool = False, timestamp: bool = False) -> None:
    """Make snapshot and timestamp follow what is there; `snapshot` and `timestamp` make them anew in any case."""
    made, _removed = store.do_snapshot(force=snapshot)
    store.do_timestamp(force=timestamp or made)


# --- releases --------------------------------------------------------------------------------------------------------
def list_releases(platform: str, store: Store | None = None) -> bool:
    """Make the platform's document say what is approved, if the server may sign it; return whether it did. In a transaction.

    Raises Refusal where there is no repository yet, or it does not delegate the platform.
    """
    store = store or open_store()
    if not store.version_of(TARGETS):
        raise Refusal("no_repository", "there is no release repository yet: its custodians begin it (docs/releases.md)")
    delegated = documents.delegations(store.targets()).get(platform)
    if delegated is None:
        raise Refusal(
            "platform_not_delegated",
            "the release repository does not delegate %(platform)s yet: its custodians do (docs/releases.md)",
            platform=platform,
        )
    own = signers().get(PLATFORM_PREFIX)
    if own is None or delegated.threshold != 1 or own.public_key.keyid not in delegated.keyids:
        return False
    with store.edit_targets(role_of(platform)) as document:
        document.targets = listing.wanted(platform)
        listing.name_platform(document, platform)
    _publish(store)
    listing.note_listed(platform, document)
    return True


def draft_platform(platform: str) -> Metadata[Targets]:
    """Return the next version of a platform's document, without signatures, for its custodians."""
    with transaction.atomic():
        store = open_store()
        document: Metadata[Targets] = store.open(role_of(platform))
    document.signed.version += 1
    document.signed.expires = (timezone.now() + life_of(role_of(platform))).replace(microsecond=0)
    document.signed.targets = listing.wanted(platform)
    listing.name_platform(document.signed, platform)
    document.signatures.clear()
    return document


# --- time ------------------------------------------------------------------------------------------------------------
def renew(now: datetime) -> list[str]:
    """Make anew what the server signs and has lived half of its life; forget what is superseded. Returns the renewed roles.

    Two statements where nothing is due.
    """
    standing = {one.role: one for one in documents_standing(now)}
    if ROOT not in standing or TARGETS not in standing:
        return []
    due = {
        role
        for role, one in standing.items()
        if role not in (ROOT, TARGETS) and one.expires_at - now < life_of(role) / 2
    }
    due |= {SNAPSHOT, TIMESTAMP} - standing.keys()
    return _renew(due, now) if due else []


@transaction.atomic
def _renew(due: set[str], now: datetime) -> list[str]:
    store = open_store()
    platforms = [platform_of(role) for role in sorted(due) if role.startswith(PLATFORM_PREFIX)]
    renewed = [
        role_of(platform) for platform in platforms if _delegated(store, platform) and list_releases(platform, store)
    ]
    _publish(store, snapshot=SNAPSHOT in due, timestamp=TIMESTAMP in due)
    _forget_superseded(now)
    return [*renewed, *sorted(due & {SNAPSHOT, TIMESTAMP})]


def _delegated(store: Store, platform: str) -> bool:
    return platform in documents.delegations(store.targets())


def _forget_superseded(now: datetime) -> None:
    """Forget versions that no terminal asks for: all but the roots, from which a terminal walks to the present one."""
    later = RepositoryDocument.objects.filter(
        role=OuterRef("role"), version__gt=OuterRef("version"), made_at__lt=now - KEEP_SUPERSEDED
    )
    RepositoryDocument.objects.filter(Exists(later)).exclude(role=ROOT).delete()


class Standing(NamedTuple):
    """How a document of the repository stands. `late`: who signs it should have done so anew by now."""

    role: str
    version: int
    expires_at: datetime
    late: bool


def documents_standing(now: datetime) -> Sequence[Standing]:
    """Return how the present documents stand, but for those of platforms that are delegated no more: two statements."""
    targets = present(TARGETS)
    platforms = documents.delegations(targets.signed) if targets else {}
    rows = RepositoryDocument.objects.order_by("role", "-version").distinct("role")
    return [
        Standing(role, version, expires_at, expires_at - now < _reminded_before(role))
        for role, version, expires_at in rows.values_list("role", "version", "expires_at")
        if not role.startswith(PLATFORM_PREFIX) or platform_of(role) in platforms
    ]


def _reminded_before(role: str) -> timedelta:
    """The server renews after half of a life; what is left with a quarter of it, the server failed to renew."""
    if role in (SNAPSHOT, TIMESTAMP):
        return life_of(role) / 4
    return REMIND.get(role, REMIND_PLATFORM)


def expired(platform: str, now: datetime) -> str:
    """Return the document that keeps terminals of a platform from taking any release, because its time is over; one statement."""
    roles = (ROOT, TARGETS, role_of(platform), SNAPSHOT, TIMESTAMP)
    rows = RepositoryDocument.objects.filter(role__in=roles).order_by("role", "-version").distinct("role")
    return next((role for role, ends in rows.values_list("role", "expires_at") if ends <= now), "")


def waiting() -> tuple[int, int]:
    """Return how many approved releases wait for the custodians of their platform to list them, and how many withdrawn ones for
    them to list them no more."""
    return (
        Release.objects.filter(state__in=OFFERED, listed_at=None).count(),
        Release.objects.filter(state=ReleaseState.WITHDRAWN, listed_at__isnull=False).count(),
    )
