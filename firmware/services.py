"""Sending releases to terminals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.signing import TimestampSigner
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext_noop

from firmware import assignments, deltas
from firmware.fitness import check_sendable, unfit_for
from firmware.models import Installation, Release, ReleaseDelta
from terminals.bulk.fitness import refused_among
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.sql import id_set
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Assignment, Conditions, Install
from terminals.link.services import CommandRequest, Target, create_commands, targets_of

ASSIGN_RELEASE = "firmware.add_installation"  # what sending a release to terminals needs
VALID_FOR = timedelta(days=3)
AGAIN = "runs_it_already"
# What is said of several terminals, where what is said of one would not name them.
TOGETHER = {
    "wrong_platform": gettext_noop("the platform of %(serials)s is not %(platform)s"),
    "wrong_model": gettext_noop("the model of %(serials)s is none of %(models)s"),
    "requires": gettext_noop("%(serials)s: %(component)s %(version)s or newer does not run there"),
    "conflicts": gettext_noop("%(serials)s: %(component)s %(version)s runs there, beside which this does not run"),
    "installation_under_way": gettext_noop("an installation is under way on %(serials)s; wait for its end"),
    "downgrade": gettext_noop("a newer version runs on %(serials)s; say that an older one may replace it"),
}


@transaction.atomic
def assign_release(
    *, release: Release, terminals: Iterable[Terminal], actor: str, downgrade: bool = False
) -> list[Installation]:
    """Send a release to terminals; raise Refusal, and send it to none, where one of them cannot take it.

    `downgrade`: it may replace a newer version.
    """
    chosen = list({terminal.pk: terminal for terminal in terminals}.values())
    if not chosen:
        raise Refusal("no_terminal", "no terminal was named; name at least one")
    targets = targets_of(chosen)
    release = locked_release(release)
    check_sendable(release, timezone.now())
    refused = refused_among([terminal.pk for terminal in chosen], unfit_for(release, downgrade=downgrade))
    refused = {pk: why for pk, why in refused.items() if why.reason != AGAIN}  # by hand it may be installed once more
    if refused:
        raise _not_fitting(chosen, refused)
    installations = install([(target, release) for target in targets], requested_by=actor)
    audit.record_many(
        actor=actor, action="release.assign", subjects=map(subject_of, chosen), detail={"release": str(release)}
    )
    return installations


def locked_release(release: Release) -> Release:
    """Return a release as it is, and keep it so until the transaction ends: nobody withdraws it meanwhile."""
    return Release.objects.select_related("package").select_for_update(of=("self",), no_key=True).get(pk=release.pk)


def _not_fitting(chosen: Sequence[Terminal], refused: Mapping[int, Refusal]) -> Refusal:
    """Return the first reason, with the terminals that it concerns."""
    first = next(iter(refused.values()))
    concerned = [one.serial for one in chosen if one.pk in refused and refused[one.pk].reason == first.reason]
    template = TOGETHER.get(first.reason, first.template)
    return Refusal(first.reason, template, **{**first.values, "serials": ", ".join(concerned[:5])})


def install(
    wanted: Iterable[tuple[Target, Release]],
    *,
    requested_by: str,
    valid_for: timedelta = VALID_FOR,
    conditions: Conditions | None = None,
    activate_at: datetime | None = None,
) -> list[Installation]:
    """Queue `install` commands with their installations; the same few statements for any number of terminals."""
    wanted = list(wanted)
    ids = [target.terminal_id for target, _release in wanted]
    serials = dict(Terminal.objects.filter(pk__in=id_set(ids)).values_list("pk", "serial"))
    counters = _next_counters(ids)
    smaller = _deltas(wanted)
    requests = []
    for target, release in wanted:
        pk = target.terminal_id
        body = install_body(release, target, serials[pk], counters[pk], conditions, smaller.get(pk))
        body.activate_at = activate_at
        requests.append(CommandRequest(target, "install", body, valid_for))
    commands = create_commands(requests, requested_by=requested_by)
    return Installation.objects.bulk_create(
        Installation(
            terminal_id=target.terminal_id,
            release=release,
            command=command,
            counter=counters[target.terminal_id],
            assigned_by=requested_by,
        )
        for (target, release), command in zip(wanted, commands, strict=True)
    )


def _deltas(wanted: Iterable[tuple[Target, Release]]) -> dict[int, ReleaseDelta]:
    """Return terminal -> the delta that it could use; two statements a release."""
    by_release: dict[Release, list[int]] = defaultdict(list)
    for target, release in wanted:
        by_release[release].append(target.terminal_id)
    found: dict[int, ReleaseDelta] = {}
    for release, ids in by_release.items():
        found |= deltas.offered(release, ids)
    return found


def _next_counters(terminal_ids: Sequence[int]) -> dict[int, int]:
    """Return the counter of each terminal's next assignment: the time in milliseconds, or one above its last. It goes on
    rising after the database was restored from a backup, as terminals remember what they took since."""
    now = int(timezone.now().timestamp() * 1000)
    last = Installation.objects.filter(terminal__in=id_set(terminal_ids)).order_by().values("terminal")
    known = dict(last.annotate(last=Max("counter")).values_list("terminal", "last"))
    return {pk: max(now, known.get(pk, 0) + 1) for pk in terminal_ids}


def install_body(
    release: Release,
    target: Target,
    serial: str,
    counter: int,
    conditions: Conditions | None = None,
    delta: ReleaseDelta | None = None,
) -> Install:
    """Return what a terminal needs to fetch and check a release; the links are its own and end with the command."""
    assignment = Assignment(
        serial=serial,
        platform=release.platform,
        target=release.target,
        size_bytes=release.size_bytes,
        sha256=release.sha256,
        counter=counter,
    )
    return Install(
        release_id=release.pk,
        package=release.package.name,
        component=release.package.component,
        version=release.version,
        sha256=release.sha256,
        size_bytes=release.size_bytes,
        metadata_url=f"{settings.PUBLIC_URL}/tuf/",
        assignment=assignments.sign(assignment),
        url=link_to(str(release.pk), target),
        conditions=conditions,
        delta=deltas.told(delta, link_to(f"d{delta.pk}", target)) if delta else None,
    )


def link_to(what: str, target: Target) -> str:
    """Return a terminal's own link to a release (its id) or a delta (`d` and its id)."""
    token = download_signer().sign(f"{what}:{target.device_id}")
    return f"{settings.PUBLIC_URL}/artifacts/{token}"


def download_signer() -> TimestampSigner:
    return TimestampSigner(salt="tillwarden.artifact")
