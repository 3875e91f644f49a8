"""Bringing a file, looking at what it would add, and letting it be added in the background, a chunk in a transaction."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.core.files import File
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Count, Model
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.scope import holds, narrow, reach_of
from terminals.common.states import Transition
from terminals.common.transitions import move
from terminals.estate.models import Merchant, Store, TerminalModel
from terminals.estate.registering import register_terminals
from terminals.estate.services import REGISTER
from terminals.importing.files import MOST_BYTES, Line, lines_of
from terminals.importing.judging import ASKED, Estate, Verdict, estate_of, is_new, judge, unknown_model
from terminals.importing.models import Import, ImportRow
from terminals.importing.rules import COLUMNS, ImportState, ImportTransition, Row, RowState, RowTransition, read_row

logger = logging.getLogger(__name__)
IMPORT = REGISTER  # what bringing a file needs; what each row adds is asked besides
CHUNK = 500
ATTEMPTS = 3
LONGEST_NAME = 200
Refused = dict[int, Sequence[Refusal]]


class Overtaken(Exception):
    """Somebody else registered the same while a chunk was being judged."""


@transaction.atomic
def bring(*, file: "File[Any]", user: Any) -> Import:
    """Read a file and judge its rows; nothing is added yet. Raise Refusal for a file that cannot be read as a whole."""
    if not holds(user, IMPORT):
        raise PermissionDenied
    name = file.name or ""
    lines = lines_of(name, file.read(MOST_BYTES + 1))
    shown = "".join(c for c in name if c.isprintable())[-LONGEST_NAME:]
    job = Import.objects.create(file_name=shown, requested_by=user, total=len(lines), permissions=_held(user))
    _estate, _rows, verdicts, refused = _judged(lines, user)
    made = (_row_of(job, line, verdicts.get(line.number), refused.get(line.number)) for line in lines)
    ImportRow.objects.bulk_create(made, batch_size=2000)
    detail = {"file": shown, "rows": len(lines)}
    audit.record(actor=user.get_username(), action="import.bring", subject=subject_of(job), detail=detail)
    return job


def _held(user: Any) -> list[str]:
    """Return what somebody may do anywhere, of what an import asks."""
    return [permission for permission in ASKED if holds(user, permission)]


class Judged(NamedTuple):
    """By the rows' numbers: those that can be read, what each of these adds, and why others are refused."""

    estate: Estate
    rows: dict[int, Row]
    verdicts: dict[int, Verdict]
    refused: Refused


def _judged(lines: Sequence[Line], user: Any) -> Judged:
    """Read rows and hold them against the estate. A row is refused for all that its cells tell, else for the first thing
    that the estate tells."""
    read = {line.number: read_row(line.cells) for line in lines}
    faults = {line.number: [line.refusal] if line.refusal else read[line.number][1] for line in lines}
    rows = {number: row for number, (row, _faults) in read.items() if not faults[number]}
    estate = estate_of(list(rows.values()), user)
    verdicts = {number: judge(estate, row) for number, row in rows.items()}
    refused: Refused = {number: one.refusals for number, one in verdicts.items() if one.refusals}
    for number, found in faults.items():
        if found:
            refused[number] = [*found, *unknown_model(estate, read[number][0])]
    return Judged(estate, rows, verdicts, refused)


def _row_of(job: Import, line: Line, verdict: Verdict | None, faults: Sequence[Refusal] | None) -> ImportRow:
    row = ImportRow(job=job, number=line.number, cells=line.cells)
    if faults:
        row.state = RowState.REFUSED
        row.refuse(faults)
    elif verdict is not None:
        row.adds, row.terminal = list(verdict.adds), verdict.terminal
        row.state = RowState.READY if verdict.adds else RowState.UNCHANGED
    return row


def _named(job: Import) -> Any:
    return Import.objects.filter(pk=job.pk)


@transaction.atomic
def start(*, job: Import, user: Any) -> None:
    """Let what a file adds be added in the background; only who brought it may."""
    if job.requested_by_id != user.pk:
        raise PermissionDenied
    # Whoever starts it with a narrower token than the one that brought it adds no more than that one may.
    held = sorted({*job.permissions} & {*_held(user)})
    if not move(_named(job), ImportTransition.start, permissions=held):
        raise Refusal("not_waiting", "this import was started or cancelled before")
    audit.record(actor=user.get_username(), action="import.start", subject=subject_of(job), detail={"total": job.total})
    job.refresh_from_db()


def may_cancel(job: Import, user: Any) -> bool:
    return job.requested_by_id == user.pk or reach_of(user, IMPORT).everywhere


@transaction.atomic
def cancel(*, job: Import, user: Any) -> int:
    """Stop an import; what was added stays. Return how many rows were spared."""
    if not may_cancel(job, user):
        raise PermissionDenied
    if not move(_named(job), ImportTransition.cancel, finished_at=timezone.now()):
        raise Refusal("not_running", "this import has ended before")
    spared = move(ImportRow.objects.filter(job=job), RowTransition.cancel)
    detail = {"cancelled": spared}
    audit.record(actor=user.get_username(), action="import.cancel", subject=subject_of(job), detail=detail)
    return spared


def run_imports(until: float) -> int:
    """Go on with running imports in turns, as long as there is time (`until` by the monotonic clock)."""
    done = 0
    waiting = list(Import.objects.filter(state=ImportState.RUNNING).order_by("pk"))
    while waiting and time.monotonic() < until:
        handled = {job.pk: _run_or_fail(job) for job in waiting}
        done += sum(handled.values())
        waiting = [job for job in waiting if handled[job.pk]]
    return done


def _run_or_fail(job: Import) -> int:
    """Run a chunk; an import that cannot go on fails, with what was not added yet left alone."""
    for attempt in range(ATTEMPTS):
        try:
            return run_chunk(job)
        except (OperationalError, InterfaceError):  # the database is away, or a deadlock: it is tried again
            raise
        except (IntegrityError, Overtaken):  # somebody else added the same at this moment: judged anew, the row says so
            if attempt < ATTEMPTS - 1:
                continue
            logger.exception("import %s cannot go on", job.pk)
        except Exception:
            logger.exception("import %s cannot go on", job.pk)
            break
    with transaction.atomic():
        if move(_named(job), ImportTransition.fail, finished_at=timezone.now()):
            move(ImportRow.objects.filter(job=job), RowTransition.cancel)
    return 0


@transaction.atomic
def run_chunk(job: Import) -> int:
    """Judge the next rows anew and add what they add; return how many were closed. One worker at a time has an import."""
    if not _named(job).filter(state=ImportState.RUNNING).select_for_update(skip_locked=True).exists():
        return 0
    waiting = {row.number: row for row in job.rows.filter(state=RowState.READY).order_by("number")[:CHUNK]}
    if not waiting:
        move(_named(job), ImportTransition.finish, finished_at=timezone.now())
        return 0
    user = get_user_model().objects.get(pk=job.requested_by_id)
    narrow(user, set(_named(job).values_list("permissions", flat=True)[0]))
    lines = [Line(number, row.cells) for number, row in waiting.items()]
    estate, rows, verdicts, refused = _judged(lines, user)
    _add_shops(estate, user.get_username())
    adding = {number: rows[number] for number, one in verdicts.items() if "terminal" in one.adds}
    made, left_out = _add_terminals(estate, adding, user.get_username())
    if left_out:  # somebody was quicker: nothing of this chunk stands, and it is judged anew
        raise Overtaken
    _close(waiting, verdicts, made, refused)
    return len(waiting)


def _add_shops(estate: Estate, actor: str) -> None:
    """Make the merchants and stores that rows add, each with its audit entry."""
    _make(Merchant, [one for one in estate.merchants.values() if is_new(one)], actor)
    _make(Store, [one for one in estate.stores.values() if is_new(one)], actor)


def _make(kind: type[Model], new: Sequence[Any], actor: str) -> None:
    kind._default_manager.bulk_create(new)
    entries = ((subject_of(one), {"shown": str(one), "new": audit.values_of(one)}) for one in new)
    audit.record_each(actor=actor, action=f"{kind._meta.model_name}.create", entries=entries)


def _add_terminals(estate: Estate, adding: Mapping[int, Row], actor: str) -> tuple[dict[int, int], Refused]:
    """Register the terminals that rows add; return row -> terminal's id, and why some could not be."""
    numbers = list(adding)
    wanted = [
        {
            "serial": row.serial,
            "model": estate.models[row.model].pk,
            "store": estate.stores[row.merchant, row.store].pk,
            "tid": row.tid,
            "mid": row.terminal_mid,
            "tags": list(row.tags),
        }
        for row in adding.values()
    ]
    if not wanted:
        return {}, {}
    done = register_terminals(wanted, stores=Store.objects.all(), models=TerminalModel.objects.all(), actor=actor)
    made = {numbers[place]: terminal.pk for place, terminal in done.made.items()}
    return made, {numbers[place]: [refusal] for place, refusal in done.refused.items()}


def _close(
    waiting: Mapping[int, ImportRow], verdicts: Mapping[int, Verdict], made: Mapping[int, int], refused: Refused
) -> None:
    """Note what became of rows: one statement for what is told of them, one for each kind of end."""
    ends: dict[Transition[RowState], list[ImportRow]] = {one: [] for one in RowTransition.all}
    for number, row in waiting.items():
        if number in refused:
            row.adds = []
            row.refuse(refused[number])
            ends[RowTransition.refuse].append(row)
            continue
        verdict = verdicts[number]
        found = verdict.terminal.pk if verdict.terminal is not None else None
        row.adds, row.terminal_id = list(verdict.adds), made.get(number) or found
        ends[RowTransition.make if verdict.adds else RowTransition.find].append(row)
    ImportRow.objects.bulk_update(waiting.values(), ["adds", "terminal", "reason", "template", "values", "also"])
    for transition, rows in ends.items():
        move(ImportRow.objects.filter(pk__in=[row.pk for row in rows]), transition)


def progress(job: Import) -> dict[str, int]:
    """Return how many rows of an import are in which state."""
    counts = dict.fromkeys((state.value for state in RowState), 0)
    return counts | dict(job.rows.order_by().values_list("state").annotate(n=Count("pk")))


def additions(job: Import) -> dict[str, int]:
    """Return how many merchants, stores and terminals an import adds or has added."""
    counted: Counter[str] = Counter({"merchant": 0, "store": 0, "terminal": 0})
    adding = job.rows.filter(state__in=(RowState.READY, RowState.MADE)).order_by()
    for adds, number in adding.values_list("adds").annotate(n=Count("pk")):
        counted.update(dict.fromkeys(adds, number))
    return dict(counted)


def report(job: Import) -> Iterator[list[str]]:
    """Yield a header and what became of each row, in the reader's language, with the cells as they were brought."""
    yield ["row", "state", "adds", "why", *COLUMNS]
    for row in job.rows.order_by("number").iterator(chunk_size=2000):
        told = [str(row.number), row.get_state_display(), ", ".join(row.adds), row.why()]
        yield told + [row.cells.get(column, "") for column in COLUMNS]
