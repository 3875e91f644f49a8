"""Releases: publish one, send it to terminals, name it a model's baseline."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.conf import settings
from django.core.files import File
from django.core.signing import TimestampSigner
from django.db import IntegrityError, transaction
from django.utils import timezone

from firmware import manifests
from firmware.models import Baseline, Installation, Package, Release
from firmware.rules import OPEN
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal, TerminalModel
from terminals.link.protocol import signing
from terminals.link.protocol.messages.software import Conditions, Install
from terminals.link.services import CommandRequest, Target, create_commands, targets_of

ASSIGN_RELEASE = "firmware.add_installation"  # what sending a release to terminals needs
VALID_FOR = timedelta(days=3)
SET_BASELINE = "firmware.change_baseline"  # what making a release its models' baseline needs
MAX_ARTIFACT_BYTES = 10**9


@transaction.atomic
def publish_release(*, package: Package, version: str, platform: str, artifact: "File[bytes]", actor: str) -> Release:
    """Store an artifact with its digest and signed manifest; raise Refusal for an empty or repeated one."""
    if Release.objects.filter(package=package, version=version, platform=platform).exists():
        raise _exists(package, version, platform)  # before its file is stored
    size_bytes, sha256 = manifests.digest_file(artifact)
    if not 0 < size_bytes <= MAX_ARTIFACT_BYTES:
        raise Refusal(
            "bad_artifact",
            "the file has %(size_bytes)s bytes; a release has 1 to %(max_artifact_bytes)s",
            size_bytes=size_bytes,
            max_artifact_bytes=MAX_ARTIFACT_BYTES,
        )
    manifest = manifests.sign(
        package=package.name, version=version, platform=platform, size_bytes=size_bytes, sha256=sha256
    )
    artifact.name = f"{sha256}.bin"
    release = Release(
        package=package,
        version=version,
        platform=platform,
        artifact=artifact,
        size_bytes=size_bytes,
        sha256=sha256,
        manifest=manifest,
        created_by=actor,
    )
    try:
        with transaction.atomic():
            release.save(force_insert=True)
    except IntegrityError:  # somebody published the same meanwhile
        release.artifact.delete(save=False)
        raise _exists(package, version, platform) from None
    detail = {"release": str(release), "sha256": sha256, "size_bytes": size_bytes}
    audit.record(actor=actor, action="release.publish", subject=subject_of(release), detail=detail)
    return release


def _exists(package: Package, version: str, platform: str) -> Refusal:
    return Refusal(
        "release_exists",
        "%(package)s %(version)s for %(platform)s exists already; give the new file a new version",
        package=package,
        version=version,
        platform=platform,
    )


@transaction.atomic
def resign_releases(*, actor: str) -> int:
    """Sign every release's manifest with the present release key, after a change of it; return how many. Bytes stay."""
    releases = list(Release.objects.select_related("package").select_for_update(of=("self",)))
    for release in releases:
        release.manifest = manifests.sign(
            package=release.package.name,
            version=release.version,
            platform=release.platform,
            size_bytes=release.size_bytes,
            sha256=release.sha256,
        )
    Release.objects.bulk_update(releases, ["manifest"], batch_size=500)
    detail = {"key": signing.release_signing_key().key_id}
    audit.record_many(actor=actor, action="release.resign", subjects=map(subject_of, releases), detail=detail)
    return len(releases)


@transaction.atomic
def assign_release(*, release: Release, terminals: Iterable[Terminal], actor: str) -> list[Installation]:
    """Send a release to terminals; raise Refusal, and send it to none, where one of them cannot take it."""
    chosen = list({terminal.pk: terminal for terminal in terminals}.values())
    targets = targets_of(chosen)
    _refuse_unfit(release, chosen)
    installations = install([(target, release) for target in targets], requested_by=actor)
    audit.record_many(
        actor=actor, action="release.assign", subjects=map(subject_of, chosen), detail={"release": str(release)}
    )
    return installations


def _refuse_unfit(release: Release, terminals: Sequence[Terminal]) -> None:
    if not terminals:
        raise Refusal("no_terminal", "no terminal was named; name at least one")
    models = TerminalModel.objects.in_bulk({terminal.model_id for terminal in terminals})
    foreign = [t.serial for t in terminals if models[t.model_id].platform != release.platform]
    if foreign:
        raise Refusal(
            "wrong_platform",
            "%(release)s does not fit the platform of %(foreign)s",
            release=release,
            foreign=", ".join(foreign[:5]),
        )
    busy = Installation.objects.filter(terminal__in=terminals, state__in=OPEN).values_list(
        "terminal__serial", flat=True
    )
    if busy:
        raise Refusal(
            "installation_under_way",
            "an installation is under way on %(busy)s; wait for its end",
            busy=", ".join(busy[:5]),
        )


def install(
    wanted: Iterable[tuple[Target, Release]],
    *,
    requested_by: str,
    valid_for: timedelta = VALID_FOR,
    conditions: Conditions | None = None,
) -> list[Installation]:
    """Queue `install` commands with their installations; two inserts for any number of terminals."""
    wanted = list(wanted)
    requests = [
        CommandRequest(target, "install", install_body(release, target, conditions), valid_for)
        for target, release in wanted
    ]
    commands = create_commands(requests, requested_by=requested_by)
    return Installation.objects.bulk_create(
        Installation(terminal_id=target.terminal_id, release=release, command=command, assigned_by=requested_by)
        for (target, release), command in zip(wanted, commands, strict=True)
    )


def install_body(release: Release, target: Target, conditions: Conditions | None = None) -> Install:
    """Return what a terminal needs to fetch and check a release; the link is its own and ends with the command."""
    token = download_signer().sign(f"{release.pk}:{target.device_id}")
    return Install(
        release_id=release.pk,
        package=release.package.name,
        version=release.version,
        sha256=release.sha256,
        size_bytes=release.size_bytes,
        manifest=release.manifest,
        url=f"{settings.PUBLIC_URL}/artifacts/{token}",
        conditions=conditions,
    )


def download_signer() -> TimestampSigner:
    return TimestampSigner(salt="tillwarden.artifact")


@transaction.atomic
def set_baseline(*, model: TerminalModel, release: Release, actor: str, instead_of: int | None = None) -> Baseline:
    """Make a release the one that every terminal of a model shall run.

    `instead_of` (a baseline's id) ends where it was another model's or another package's.
    """
    if model.platform != release.platform:
        raise Refusal(
            "wrong_platform",
            "%(release)s does not fit %(model)s, whose platform is %(platform)s",
            release=release,
            model=model,
            platform=model.platform,
        )
    left = Baseline.objects.filter(pk__in=[instead_of] if instead_of else []).exclude(
        model=model, package=release.package
    )
    audit.record_deletions(actor=actor, instances=left)
    left.delete()
    before = Baseline.objects.select_for_update().filter(model=model, package=release.package).first()
    baseline, _ = Baseline.objects.update_or_create(
        model=model, package=release.package, defaults={"release": release, "set_at": timezone.now()}
    )
    detail = {"old": {"release": str(before.release) if before else None}, "new": {"release": str(release)}}
    audit.record(actor=actor, action="release.baseline", subject=subject_of(model), detail=detail)
    return baseline


@transaction.atomic
def replace_baselines(*, model: TerminalModel, gone: Sequence[int], releases: Sequence[Release], actor: str) -> None:
    """End some baselines of a model (by id) and make these releases its baselines; the others stay as they are."""
    left = Baseline.objects.filter(model=model, pk__in=gone).exclude(release__in=releases)
    audit.record_deletions(
        actor=actor, instances=left.exclude(package__in=[release.package_id for release in releases])
    )
    left.delete()
    for release in releases:
        set_baseline(model=model, release=release, actor=actor)
