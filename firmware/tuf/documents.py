"""What the documents of the release repository say, and who must have signed them (TUF 1.0, section 4). Pure.

root       names the keys of the four top roles; offline, several custodians
targets    delegates each platform to keys of its own; offline, several custodians; lists no file itself
platform.X lists the releases for platform X; by the server's platform key, or offline
snapshot   names the present version of targets and of every platform; online
timestamp  names the present snapshot; online
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

from cryptography.hazmat.primitives import serialization
from securesystemslib.signer import Key, Signer, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets
from tuf.api.serialization.json import JSONSerializer

from firmware.rules import PLATFORM
from terminals.common.errors import Refusal

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
PLATFORM_PREFIX = "platform."
# How long a document holds (NIST-like periods; an offline one must outlast the custodians' holidays).
LIFE = {
    ROOT: timedelta(days=365),
    TARGETS: timedelta(days=90),
    SNAPSHOT: timedelta(days=7),
    TIMESTAMP: timedelta(hours=24),
}
PLATFORM_LIFE = timedelta(days=90)
SERIALIZER = JSONSerializer(compact=True)
RootDocument: TypeAlias = Metadata[Root]
TargetsDocument: TypeAlias = Metadata[Targets]


class Delegation(NamedTuple):
    """Who may list the releases of a platform: so many of these keys."""

    platform: str
    keys: Sequence[Key]
    threshold: int


def role_of(platform: str) -> str:
    return f"{PLATFORM_PREFIX}{platform}"


def platform_of(role: str) -> str:
    return role.removeprefix(PLATFORM_PREFIX)


def life_of(role: str) -> timedelta:
    return LIFE.get(role, PLATFORM_LIFE)


def public_key(pem: bytes) -> Key:
    """Return a custodian's public key (PEM: EC P-256, P-384, Ed25519 or RSA); raise Refusal for anything else."""
    try:
        return SSlibKey.from_crypto(serialization.load_pem_public_key(pem))
    except (ValueError, TypeError) as error:
        raise Refusal("bad_key", "this is no public key in PEM: %(error)s", error=error) from None


def first_root(
    *, root: Sequence[Key], targets: Sequence[Key], online: Key, threshold: int, now: datetime
) -> RootDocument:
    """Return version 1 of the root document, without signatures; raise Refusal where its keys cannot do what it asks."""
    document = Root(version=1, expires=_ending(ROOT, now), consistent_snapshot=True)
    _set_keys(document, ROOT, root, threshold)
    _set_keys(document, TARGETS, targets, threshold)
    for role in (SNAPSHOT, TIMESTAMP):
        _set_keys(document, role, [online], 1)
    return Metadata(document)


def next_root(
    present: RootDocument,
    *,
    root: Sequence[Key] = (),
    targets: Sequence[Key] = (),
    online: Key | None = None,
    threshold: int | None = None,
    now: datetime,
) -> RootDocument:
    """Return the next version of the root document, without signatures: with other keys where some are named, else with the
    same for another year. The custodians of the present version and those of the next must sign it."""
    document = deepcopy(present.signed)
    document.version += 1
    document.expires = _ending(ROOT, now)
    for role, keys in ((ROOT, root), (TARGETS, targets)):
        if keys:
            _set_keys(document, role, keys, threshold or document.roles[role].threshold)
    if online is not None:
        for role in (SNAPSHOT, TIMESTAMP):
            _set_keys(document, role, [online], 1)
    return Metadata(document)


def _set_keys(document: Root, role: str, keys: Sequence[Key], threshold: int) -> None:
    _check_threshold(role, keys, threshold)
    for keyid in list(document.roles[role].keyids):
        document.revoke_key(keyid, role)
    for key in keys:
        document.add_key(key, role)
    document.roles[role].threshold = threshold


def _check_threshold(role: str, keys: Sequence[Key], threshold: int) -> None:
    different = len({key.keyid for key in keys})
    if different != len(keys):
        raise Refusal("same_key_twice", "%(role)s: one key is named twice; each custodian has a key", role=role)
    if not 1 <= threshold <= different:
        raise Refusal(
            "bad_threshold",
            "%(role)s: %(threshold)s of %(number)s keys cannot sign; name more keys or ask for fewer",
            role=role,
            threshold=threshold,
            number=different,
        )


def next_targets(
    present: TargetsDocument | None, *, delegate: Sequence[Delegation] = (), withdraw: Sequence[str] = (), now: datetime
) -> TargetsDocument:
    """Return the next version of the top targets document, without signatures: the present delegations (none before the first
    version), with those that are named added or replaced, and without those of the platforms that are withdrawn."""
    document = deepcopy(present.signed) if present else Targets()
    document.version = present.signed.version + 1 if present else 1
    document.expires = _ending(TARGETS, now)
    known = document.delegations or Delegations({}, {})
    roles = dict(known.roles or {})
    for platform in withdraw:
        if roles.pop(role_of(platform), None) is None:
            raise Refusal("unknown_platform", "%(platform)s is not delegated", platform=platform)
    keys = dict(known.keys)
    for one in delegate:
        if not PLATFORM.fullmatch(one.platform):
            raise Refusal(
                "unknown_platform", "%(platform)s cannot be a platform's name", platform=repr(one.platform[:60])
            )
        _check_threshold(role_of(one.platform), one.keys, one.threshold)
        keys |= {key.keyid: key for key in one.keys}
        roles[role_of(one.platform)] = DelegatedRole(
            role_of(one.platform),
            [key.keyid for key in one.keys],
            one.threshold,
            terminating=True,
            paths=[f"{one.platform}/*"],
        )
    used = {keyid for role in roles.values() for keyid in role.keyids}
    document.delegations = Delegations({keyid: key for keyid, key in keys.items() if keyid in used}, roles)
    return Metadata(document)


def _ending(role: str, now: datetime) -> datetime:
    return (now + life_of(role)).replace(microsecond=0)


def check_root(next_one: RootDocument, present: RootDocument | None) -> None:
    """Hold a root document against the present one (TUF 1.0, 5.3.4 and 5.3.5); raise Refusal where it does not follow."""
    wanted = present.signed.version + 1 if present else 1
    _check_version(ROOT, next_one.signed.version, wanted)
    for judge in [present, next_one] if present else [next_one]:
        _check_signed(judge.signed, ROOT, next_one)


def check_targets(role: str, next_one: TargetsDocument, present_version: int, judge: Root | Targets) -> None:
    """Hold a targets document against the document that delegates to it; raise Refusal where it may not stand."""
    _check_version(role, next_one.signed.version, present_version + 1)
    _check_signed(judge, role, next_one)


def _check_version(role: str, version: int, wanted: int) -> None:
    if version != wanted:
        raise Refusal(
            "wrong_version",
            "%(role)s: this is version %(version)s, the next one is %(wanted)s; draft it anew",
            role=role,
            version=version,
            wanted=wanted,
        )


def _check_signed(judge: Root | Targets, role: str, document: RootDocument | TargetsDocument) -> None:
    try:
        result = judge.get_verification_result(role, document.signed_bytes, document.signatures)
    except ValueError:
        raise Refusal("not_delegated", "nobody may sign %(role)s; delegate it first", role=role) from None
    if not result.verified:
        raise Refusal(
            "too_few_signatures",
            "%(role)s bears %(number)s good signatures and needs %(threshold)s; let another custodian sign it",
            role=role,
            number=len(result.signed),
            threshold=result.threshold,
        )


def read(content: bytes) -> RootDocument | TargetsDocument:
    """Read a document that custodians sign; raise Refusal where it is none."""
    try:
        document: RootDocument | TargetsDocument = Metadata.from_bytes(content)
    except RepositoryError as error:
        raise Refusal("bad_document", "this is no TUF document: %(error)s", error=error) from None
    if not isinstance(document.signed, Root | Targets):
        raise Refusal("bad_document", "%(role)s is signed by the server alone", role=document.signed.type)
    return document


def written(document: RootDocument | TargetsDocument) -> bytes:
    """Return a document's bytes as they are served."""
    return document.to_bytes(SERIALIZER)


def sign(document: RootDocument | TargetsDocument, signer: Signer) -> None:
    """Add a custodian's signature. A root document is signed by those who leave, too: whether a signature counts is judged when
    it is published (`check_root`)."""
    document.sign(signer, append=True)


def delegations(document: Targets) -> Mapping[str, DelegatedRole]:
    """Return who may list releases, by platform."""
    roles = (document.delegations.roles or {}) if document.delegations else {}
    return {platform_of(name): role for name, role in roles.items()}
