"""Which terminals a release does not fit, and why: asked when it is sent by hand, in bulk and in campaigns alike."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import semver
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from firmware.models import Installation, InstalledSoftware, Release
from firmware.rules import OFFERED, OPEN
from firmware.tuf.services import expired
from terminals.bulk.verbs import Unfit
from terminals.common.errors import Refusal
from terminals.estate.targets.fields import version_numbers

MINE = OuterRef("pk")


def check_sendable(release: Release, now: datetime) -> None:
    """Raise Refusal unless terminals may be sent a release: approved, listed in the repository, not expired."""
    if release.state not in OFFERED:
        raise Refusal(
            "not_approved", "%(release)s is %(state)s; it must be approved", release=release, state=release.state
        )
    if release.listed_at is None:
        raise Refusal(
            "not_listed",
            "%(release)s waits for the custodians of its platform to list it (docs/releases.md)",
            release=release,
        )
    if release.expires_at is not None and release.expires_at <= now:
        raise Refusal("release_expired", "%(release)s expired; choose a newer one", release=release)


def _having(rows: QuerySet[Installation] | QuerySet[InstalledSoftware]) -> Q:
    return Q(Exists(rows.filter(terminal=MINE).order_by()))


def _numbers(version: str) -> list[int]:
    """Return what is compared in the database: of a semantic version its three numbers, a pre-release counts as its release."""
    plain = version.partition("-")[0].partition("+")[0]
    return [int(part) for part in plain.split(".")]


def unfit_for(release: Release, *, downgrade: bool = False) -> Sequence[Unfit]:
    """Return whom a release must not be sent to, the first reason that holds. `downgrade`: it may replace a newer one."""
    found = [*_of_release(release), *_of_hardware(release), *_beside(release)]
    running = InstalledSoftware.objects.filter(component=release.package.component)
    under_way = Installation.objects.filter(state__in=OPEN)
    found.append(Unfit("installation_under_way", "an installation is under way", _having(under_way)))
    found.append(
        Unfit("runs_it_already", "it runs this version already", _having(running.filter(version=release.version)))
    )
    if not downgrade and semver.Version.is_valid(release.version):
        newer = running.alias(numbers=version_numbers("version")).filter(numbers__gt=_numbers(release.version))
        found.append(
            Unfit("downgrade", "it runs a newer version; say that an older one may replace it", _having(newer))
        )
    return found


def _of_release(release: Release) -> list[Unfit]:
    """A release that nobody may be sent fits nobody, nor does any while the repository has expired."""
    now = timezone.now()
    try:
        check_sendable(release, now)
    except Refusal as refusal:
        return [Unfit(refusal.reason, refusal.template, Q(pk__isnull=False), refusal.values)]
    if role := expired(release.platform, now):
        told = "the release repository has expired (%(role)s): terminals take nothing before it is signed anew"
        return [Unfit("repository_expired", told, Q(pk__isnull=False), {"role": role})]
    return []


def _of_hardware(release: Release) -> list[Unfit]:
    platform = release.platform
    found = [
        Unfit(
            "wrong_platform", "its platform is not %(platform)s", ~Q(model__platform=platform), {"platform": platform}
        )
    ]
    chosen = list(release.models_only.all())
    if release.narrowed or chosen:
        names = ", ".join(str(model) for model in chosen[:5])
        found.append(Unfit("wrong_model", "its model is none of %(models)s", ~Q(model__in=chosen), {"models": names}))
    return found


def _beside(release: Release) -> list[Unfit]:
    found = []
    for component, version in release.requires.items():
        enough = InstalledSoftware.objects.filter(component=component).alias(numbers=version_numbers("version"))
        values: Mapping[str, object] = {"component": component, "version": version}
        found.append(
            Unfit(
                "requires",
                "it does not run %(component)s %(version)s or newer",
                ~_having(enough.filter(numbers__gte=_numbers(version))),
                values,
            )
        )
    for component, version in release.conflicts.items():
        there = InstalledSoftware.objects.filter(component=component, version=version)
        values = {"component": component, "version": version}
        found.append(
            Unfit(
                "conflicts", "it runs %(component)s %(version)s, beside which this does not run", _having(there), values
            )
        )
    return found
