"""Previewing, starting, running and cancelling bulk work.

The one who asks must hold the verb's permission where each terminal stands; others of the target are left out. A job keeps the
ids of its terminals from the start; whom the verb leaves out is asked again when a chunk runs, with its terminals held.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import EmptyResultSet, PermissionDenied
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from terminals.bulk.fitness import SHOWN, LeftOut, left_out_of, refused_among, without_unfit
from terminals.bulk.models import BulkItem, BulkJob
from terminals.bulk.rules import ItemState, ItemTransition, JobState, JobTransition, ranges
from terminals.bulk.verbs import Arguments, BulkVerb, verbs
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.refusals import columns_of
from terminals.common.scope import holds, reach_of, within
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.services import hold
from terminals.estate.targets.choosing import matching

logger = logging.getLogger(__name__)
VIEW = "terminals.view_terminal"
CHUNK = 1000
NO_TERMINAL = Refusal("no_terminal", "no terminal passes the filter where you may do this")
NOT_ALLOWED = Refusal("not_allowed", "you may not do this where it stands")


class Preview(NamedTuple):
    """What a verb would do to a target."""

    total: int
    ready: int
    left_out: list[LeftOut]
    warnings: list[str]
    serials: list[str]
    told: str
    final: bool


def preview(*, verb: str, arguments: Arguments, text: str, user: Any) -> Preview:
    """Return what would be done to the terminals that pass a filter, and who would be left out and why. Changes nothing."""
    chosen, arguments, terminals = _asked(verb, arguments, text, user)
    total = terminals.count()
    fit = within(terminals, user, chosen.permission)
    allowed = fit.count()
    strangers = terminals.exclude(pk__in=fit.order_by().values("pk"))
    foreign = left_out_of(NOT_ALLOWED, strangers) if allowed < total else None
    fit, unfit = without_unfit(fit, chosen.unfit(arguments))
    allowed -= sum(one.number for one in unfit)
    return Preview(
        total=total,
        ready=allowed,
        left_out=[foreign, *unfit] if foreign else unfit,
        warnings=chosen.warnings(fit, arguments) if allowed else [],
        serials=list(fit.order_by("serial").values_list("serial", flat=True)[:SHOWN]),
        told=chosen.told(arguments),
        final=chosen.final,
    )


def _asked(verb: str, arguments: Arguments, text: str, user: Any) -> tuple[BulkVerb, Arguments, QuerySet[Terminal]]:
    """Return the verb, its arguments as they are kept, and the target; raise Refusal where one of them cannot be."""
    chosen = verbs.named(verb)
    if not holds(user, chosen.permission):
        raise PermissionDenied
    if not text.strip():
        raise Refusal("no_target", "say which terminals: a filter, for example state = active")
    checked = chosen.check(arguments, user)
    return chosen, checked, matching(within(Terminal.objects.order_by(), user, VIEW), text, user)


# Raw: the ORM has no INSERT ... SELECT, and 100,000 ids need not travel.
CHOOSE = "INSERT INTO bulk_bulkitem (job_id, terminal_id, state, reason, template, values) SELECT %s, id, %s, '', '', '{}' FROM"


@transaction.atomic
def start(*, verb: str, arguments: Arguments, text: str, user: Any, expected: int | None = None) -> BulkJob:
    """Fix the target and let the verb be done to it in the background; one audit entry names the filter and the ids.

    Each terminal to which it is done gets an entry of its own besides, so that whoever audits a part of the tree finds it.
    `expected` is how many terminals a preview counted; where there are others by now, it is refused.
    """
    chosen, arguments, terminals = _asked(verb, arguments, text, user)
    fit = within(terminals, user, chosen.permission)
    job = BulkJob.objects.create(verb=chosen.name, arguments=dict(arguments), filter=text, requested_by=user, total=0)
    try:
        query, parameters = fit.values("pk").query.sql_with_params()
    except EmptyResultSet:  # Django knows it without asking
        raise NO_TERMINAL.again() from None
    with connection.cursor() as cursor:
        cursor.execute(f"{CHOOSE} ({query}) AS target(id)", [job.pk, ItemState.WAITING.value, *parameters])
        job.total = cursor.rowcount
    if not job.total:
        raise NO_TERMINAL.again()
    if expected is not None and job.total != expected:
        raise Refusal(
            "target_changed",
            "meanwhile %(number)s terminals pass the filter where you may do this; look once more at what would happen",
            number=job.total,
        )
    job.save(update_fields=["total"])
    ids = job.items.values_list("terminal_id", flat=True)
    detail = {"verb": chosen.name, "arguments": dict(arguments), "filter": text, "total": job.total, "ids": ranges(ids)}
    audit.record(actor=user.get_username(), action=f"bulk.{chosen.name}", subject=subject_of(job), detail=detail)
    return job


def run_jobs(until: float) -> int:
    """Run chunks of the running jobs in turns, as long as there is time (`until` by the monotonic clock)."""
    done = 0
    waiting = list(BulkJob.objects.filter(state=JobState.RUNNING).order_by("pk"))
    while waiting and time.monotonic() < until:
        handled = {job.pk: _run_or_fail(job) for job in waiting}
        done += sum(handled.values())
        waiting = [job for job in waiting if handled[job.pk]]
    return done


def _run_or_fail(job: BulkJob) -> int:
    """Run a chunk; a job that cannot go on fails, and holds up nobody else's."""
    try:
        return run_chunk(job)
    except (OperationalError, InterfaceError):  # the database is away, or a deadlock: it is tried again
        raise
    except Exception:  # whatever a verb's service fails on: its traceback is for us, the others' jobs go on
        logger.exception("bulk job %s cannot go on", job.pk)
        with transaction.atomic():
            if move(BulkJob.objects.filter(pk=job.pk), JobTransition.fail, finished_at=timezone.now()):
                move(BulkItem.objects.filter(job=job), ItemTransition.cancel)
        return 0


@transaction.atomic
def run_chunk(job: BulkJob) -> int:
    """Do the verb to the next terminals of a job; return how many items were closed. Two workers take different ones.

    Everything is asked again, as it is now: what the operator may do and where, whom the verb leaves out, and what its
    arguments name.
    """
    waiting = job.items.filter(state=ItemState.WAITING).order_by("terminal_id").select_for_update(skip_locked=True)
    items = dict(waiting.values_list("terminal_id", "pk")[:CHUNK])
    if not items:
        _finish(job)
        return 0
    user, chosen = get_user_model().objects.get(pk=job.requested_by_id), verbs.named(job.verb)
    held = hold(items)
    try:
        arguments = chosen.check(job.arguments, user)
    except Refusal as refusal:
        _close(items, dict.fromkeys(items, refusal))
        return len(items)
    allowed = within(Terminal.objects.order_by().filter(pk__in=held), user, chosen.permission)
    refused: dict[int, Refusal] = dict.fromkeys(held.keys() - set(allowed.values_list("pk", flat=True)), NOT_ALLOWED)
    refused |= refused_among(held.keys() - refused.keys(), chosen.unfit(arguments))
    fit = sorted(held.keys() - refused.keys())
    if fit:
        refused |= chosen.run(fit, arguments, user.get_username())
        subjects = [f"terminal:{held[pk].serial}" for pk in fit if pk not in refused]
        audit.record_many(
            actor=user.get_username(), action=f"bulk.{job.verb}", subjects=subjects, detail={"job": job.pk}
        )
    _close(items, refused)
    return len(items)


def _close(items: Mapping[int, int], refused: Mapping[int, Refusal]) -> None:
    """Note what became of items (terminal id -> item id): done, or left out and why; a statement for each reason."""
    done = [item for terminal_id, item in items.items() if terminal_id not in refused]
    move(BulkItem.objects.filter(pk__in=done), ItemTransition.do)
    alike: dict[str, list[int]] = defaultdict(list)
    for terminal_id, refusal in refused.items():
        alike[json.dumps(columns_of(refusal))].append(items[terminal_id])
    for columns, left_out in alike.items():
        move(BulkItem.objects.filter(pk__in=left_out), ItemTransition.leave_out, **json.loads(columns))


def _finish(job: BulkJob) -> None:
    """A job is done when nobody of it waits, nor is just being handled by another worker."""
    if not job.items.filter(state=ItemState.WAITING).exists():
        move(BulkJob.objects.filter(pk=job.pk), JobTransition.finish, finished_at=timezone.now())


def may_cancel(job: BulkJob, user: Any) -> bool:
    return job.requested_by_id == user.pk or reach_of(user, verbs.named(job.verb).permission).everywhere


@transaction.atomic
def cancel(*, job: BulkJob, user: Any) -> int:
    """Stop a job: what was not done yet is not done any more. Return how many that are; what was done stays done.

    Whoever asked for it may stop it, and who may do the verb everywhere.
    """
    if not may_cancel(job, user):
        raise PermissionDenied
    if not move(BulkJob.objects.filter(pk=job.pk), JobTransition.cancel, finished_at=timezone.now()):
        raise Refusal("not_running", "this job is not running any more")
    cancelled = move(BulkItem.objects.filter(job=job), ItemTransition.cancel)
    audit.record(
        actor=user.get_username(), action="bulk.cancel", subject=subject_of(job), detail={"cancelled": cancelled}
    )
    return cancelled


def progress(job: BulkJob) -> dict[str, int]:
    """Return how many terminals of a job are in which state."""
    return progress_of([job])[job.pk]


def progress_of(jobs: Sequence[BulkJob]) -> dict[int, dict[str, int]]:
    """Return job id -> state -> number of terminals: one query."""
    counts = {job.pk: dict.fromkeys((state.value for state in ItemState), 0) for job in jobs}
    found = BulkItem.objects.filter(job__in=jobs).order_by().values_list("job_id", "state").annotate(n=Count("pk"))
    for job_id, state, number in found:
        counts[job_id][state] = number
    return counts
