"""The life of a release: built by one, approved by another, listed in the repository, deprecated, withdrawn."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.files import File
from django.db import IntegrityError, transaction
from django.utils import timezone

from firmware import archives, digests, moving, rules
from firmware.models import Package, Release
from firmware.rules import ReleaseState, ReleaseTransition
from firmware.selectors import moving_campaigns, that_move
from firmware.services import locked_release
from firmware.tuf import services as repository
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.states import Transition
from terminals.estate.models import TerminalModel
from terminals.estate.services import hold

logger = logging.getLogger(__name__)
UPLOAD_RELEASE = "firmware.add_release"
APPROVE_RELEASE = "firmware.approve_release"  # approving, deprecating and withdrawing alike
MAX_ARTIFACT_BYTES = 10**9


@transaction.atomic
def publish_release(
    *, package: Package, version: str, platform: str, artifact: "File[bytes]", actor: str, **told: Any
) -> Release:
    """Store an artifact with its digest as a draft that somebody else must approve.

    `told`: notes, models_only (models), requires and conflicts (component -> version), expires_at. Raises Refusal, with nothing
    stored, for a version that is none or exists, an unknown platform, an empty or too large file, what must not be
    unpacked or is no software (firmware/archives), and where the storage fails.
    """
    rules.check_version(version)
    _check_platform(platform)
    if Release.objects.filter(package=package, version=version, platform=platform).exists():
        raise _exists(package, version, platform)  # before its file is stored
    size_bytes, sha256 = _checked_artifact(artifact)
    models_only = _checked_models(told.pop("models_only", ()), platform)
    for name in ("requires", "conflicts"):
        told[name] = rules.checked_beside(name, told.get(name) or {})
    artifact.name = (
        f"{sha256}-{secrets.token_hex(4)}.bin"  # of its own: who loses a race must not delete another's file
    )
    release = Release(
        package=package,
        version=version,
        platform=platform,
        artifact=artifact,
        size_bytes=size_bytes,
        sha256=sha256,
        created_by=actor,
        narrowed=bool(models_only),
        **told,
    )
    _save(release)
    release.models_only.set(models_only)
    detail = {"release": str(release), "sha256": sha256, "size_bytes": size_bytes}
    audit.record(actor=actor, action="release.publish", subject=subject_of(release), detail=detail)
    return release


def _save(release: Release) -> None:
    """Store a release with its file; where that fails, the file goes again."""
    try:
        with transaction.atomic():
            release.save(force_insert=True)
    except IntegrityError:  # somebody published the same meanwhile
        _drop_file(release)
        raise _exists(release.package, release.version, release.platform) from None
    except OSError as error:  # of the storage: the row was not written yet
        logger.warning("%s: its file could not be stored: %s", release, error)
        raise Refusal(
            "not_stored",
            "the file could not be stored, as where releases lie is full or away; nothing was kept, try again later",
        ) from error
    except BaseException:
        _drop_file(release)
        raise


def _drop_file(release: Release) -> None:
    """Remove a file that no row names; one that cannot be removed now stays, and the log says so."""
    try:
        release.artifact.delete(save=False)
    except OSError as error:
        logger.warning("%s: its file stays behind: %s", release, error)


def _checked_artifact(artifact: "File[bytes]") -> tuple[int, str]:
    """Return an artifact's size and digest; one of a size that no release has is refused before a byte of it is read."""
    if not 0 < artifact.size <= MAX_ARTIFACT_BYTES:
        raise Refusal(
            "bad_artifact",
            "the file has %(size_bytes)s bytes; a release has 1 to %(max_artifact_bytes)s",
            size_bytes=artifact.size,
            max_artifact_bytes=MAX_ARTIFACT_BYTES,
        )
    archives.check(artifact)
    return digests.digest_file(artifact)


def _exists(package: Package, version: str, platform: str) -> Refusal:
    return Refusal(
        "release_exists",
        "%(package)s %(version)s for %(platform)s exists already; give the new file a new version",
        package=package,
        version=version,
        platform=platform,
    )


def _check_platform(platform: str) -> None:
    known = TerminalModel.objects.order_by("platform").values_list("platform", flat=True).distinct()
    if not rules.PLATFORM.fullmatch(platform) or platform not in known:
        raise Refusal(
            "unknown_platform",
            "no terminal model has the platform %(platform)s; choose one of %(known)s",
            platform=repr(platform[:60]),
            known=", ".join(known[:10]) or "none",
        )


def _checked_models(models: Sequence[TerminalModel], platform: str) -> Sequence[TerminalModel]:
    foreign = [str(model) for model in models if model.platform != platform]
    if foreign:
        raise Refusal(
            "wrong_platform",
            "%(foreign)s: the platform is not %(platform)s",
            foreign=", ".join(foreign),
            platform=platform,
        )
    return models


@transaction.atomic
def approve_release(*, release: Release, actor: str, sha256: str) -> Release:
    """Agree to a release that somebody else built, and let the repository list it; return it as it is then.

    `sha256` is the digest of what was looked at. Raises Refusal for one's own release, other bytes, another state, or where the
    repository cannot list it.
    """
    # Before the release: whoever lists a platform's releases changes the rows of others, too.
    store = repository.open_store()
    release = locked_release(release)
    _refuse_own(release, actor)
    if release.sha256 != sha256:
        raise Refusal("other_bytes", "the file that you looked at is not this release's; look at it again")
    _move(release, ReleaseTransition.approve, actor, approved_by=actor, approved_at=timezone.now())
    repository.list_releases(release.platform, store)
    release.refresh_from_db()
    return release


@transaction.atomic
def deprecate_release(*, release: Release, actor: str, reason: str = "") -> Release:
    """Say that nobody should choose this release any more; it stays in the repository for whom it was promised."""
    release = locked_release(release)
    _move(release, ReleaseTransition.deprecate, actor, state_reason=_checked_reason(reason))
    return release


@transaction.atomic
def reinstate_release(*, release: Release, actor: str) -> Release:
    """Take a deprecation back; raise Refusal for one's own release."""
    release = locked_release(release)
    _refuse_own(release, actor)
    _move(release, ReleaseTransition.reinstate, actor, state_reason="")
    return release


@transaction.atomic
def withdraw_release(*, release: Release, actor: str, reason: str) -> Release:
    """Take a release out of the repository for good: the server gives it to nobody any more. Where custodians list its platform
    it stays listed until they sign the next list (`listed_at` says so), and whoever has the file may still install it.

    Raises Refusal without a reason, and while campaigns keep terminals at it.
    """
    if not (said := _checked_reason(reason)):
        raise Refusal("no_reason", "say why this release is withdrawn")
    hold(moving.under_way(release))
    store = repository.open_store()
    release = locked_release(release)
    keeping = moving_campaigns().filter(that_move(release), settings__follows=True)
    if names := list(keeping.order_by("pk").values_list("name", flat=True)):
        raise Refusal(
            "is_followed",
            "campaigns keep terminals at it: %(campaigns)s; cancel them first, or let one with another release take over",
            campaigns=", ".join(names),
        )
    was_listed = release.listed_at is not None
    _move(release, ReleaseTransition.withdraw, actor, state_reason=said)
    if was_listed:
        repository.list_releases(release.platform, store)
    moving.take_back_withdrawn(release)
    release.refresh_from_db()
    return release


def _refuse_own(release: Release, actor: str) -> None:
    if release.created_by == actor:
        raise Refusal("own_release", "you built this release; somebody else must approve it")


def _checked_reason(reason: str) -> str:
    if not reason.isprintable() or len(reason) > 200:
        raise Refusal("bad_reason", "a reason has at most 200 printable characters")
    return reason.strip()


def _move(release: Release, transition: Transition[ReleaseState], actor: str, **columns: Any) -> None:
    if not transition.leaves(release.state):
        raise Refusal(
            "wrong_state",
            "a release that is %(state)s cannot do that; look at it again",
            state=release.state,
        )
    before = release.state
    release.state = transition.after(release.state)
    for name, value in columns.items():
        setattr(release, name, value)
    release.save(update_fields=["state", *columns])
    detail: Mapping[str, Any] = {
        "release": str(release),
        "old": {"state": before},
        "new": {"state": str(release.state), "reason": release.state_reason},
    }
    audit.record(actor=actor, action=f"release.{transition.name}", subject=subject_of(release), detail=dict(detail))
