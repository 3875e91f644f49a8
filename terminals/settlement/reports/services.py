"""Reports made in the background or sent by a schedule, and days that are closed."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Q, Sum
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from psycopg.errors import QueryCanceled

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.refusals import columns_of
from terminals.common.scope import reach_of
from terminals.common.transitions import move
from terminals.estate.models import Organisation, Store
from terminals.estate.rules import check_time_zone
from terminals.settlement.plans.cycles import Cycle, check_crontab, next_instants
from terminals.settlement.reports import figures, files
from terminals.settlement.reports.figures import Change, Row, rows_of
from terminals.settlement.reports.models import DailyClose, DailyFigure, Report, ReportSchedule
from terminals.settlement.reports.rules import (
    FORMATS,
    MOST_RECIPIENTS,
    SUMS,
    Figures,
    Period,
    ReportTransition,
    Spec,
    spec_of,
)

logger = logging.getLogger(__name__)
SEE = "settlement.view_dailyfigure"  # what a report needs: the figures of what stands within it
CLOSE = "settlement.add_dailyclose"  # what closing a day needs
SCHEDULE = "settlement.add_reportschedule"  # what having reports sent needs
AT_ONCE = 5000  # rows that a page's file may have; larger ones are made in the background
AT_ONCE_PDF = 1000  # a PDF's row costs 1.5 ms
MOST_PDF = 20_000  # rows of a PDF; nobody prints more
LEASE = timedelta(minutes=30)
MOST_TIME = timedelta(minutes=5)  # of a report's figures, and of one statement among them
MOST_ROWS = 1_000_000  # of a file; a spreadsheet has no more
TRY_AGAIN_AFTER = timedelta(minutes=15)


# --- made in the background ------------------------------------------------------------------------------------------
def request_report(*, spec: Mapping[str, Any], file_format: str, user: Any) -> Report:
    """Let a report be made in the background. Raises Refusal for one that is none, PermissionDenied for a place out of reach."""
    if file_format not in FORMATS:
        raise Refusal("bad_format", "%(format)s is none of %(known)s", format=repr(file_format[:10]), known=FORMATS)
    asked = spec_of(spec, timezone.localdate())
    paths = figures.places(reach_of(user, SEE), asked.node)
    if not paths:
        raise PermissionDenied
    # Days are written out: "yesterday" is the asker's, whenever the worker comes to it.
    said = {**spec, "first": asked.period.first.isoformat(), "last": asked.period.last.isoformat()}
    language = translation.get_language() or "en"
    return Report.objects.create(requested_by=user, spec=said, format=file_format, paths=paths, language=language)


def make_next_report() -> bool:
    """Make the oldest report that nobody makes; return whether there was one."""
    now = timezone.now()
    free = Q(leased_until=None) | Q(leased_until__lt=now)
    job = (
        Report.objects.filter(free, state__in=[s.value for s in ReportTransition.start.sources]).order_by("pk").first()
    )
    if job is None:
        return False
    mine = Report.objects.filter(free, pk=job.pk)
    if not move(mine, ReportTransition.start, leased_until=now + LEASE, percent=5):
        return False
    held = Report.objects.filter(pk=job.pk, leased_until=now + LEASE)
    try:
        content = _content_of(job, held)
    except (OperationalError, InterfaceError):  # the database is away: it is made again
        raise
    except Refusal as refusal:
        move(held, ReportTransition.fail, finished_at=timezone.now(), leased_until=None, **columns_of(refusal))
        return True
    except Exception:
        logger.exception("report %s cannot be made", job.pk)
        failed = columns_of(Refusal("unmade", "the report could not be made; the worker's log says more"))
        move(held, ReportTransition.fail, finished_at=timezone.now(), leased_until=None, **failed)
        return True
    move(
        held,
        ReportTransition.finish,
        content=content,
        percent=100,
        finished_at=timezone.now(),
        leased_until=None,
    )
    return True


def _content_of(job: Report, held: Any) -> bytes:
    """Return a report's file in the language of whoever asked for it. Raises Refusal for more than is printed."""
    with translation.override(job.language):
        spec = spec_of(job.spec, timezone.localdate())
        rows = _rows_by_day(spec, job.paths, held)
        if job.format == "pdf" and len(rows) > MOST_PDF:
            raise Refusal("too_large", "more than %(most)s rows are not printed; ask for CSV or XLSX", most=MOST_PDF)
        return files.content_of(spec, rows, job.format)


def _rows_by_day(spec: Spec, paths: Sequence[str], held: Any) -> list[Row]:
    """Work out a report's rows; one that tells each day is worked out day by day, and says how far it is. Raises Refusal where it
    takes too long: after its lease another worker would begin it, too."""
    if not spec.by_day:
        return _rows(spec, paths)
    first, last = spec.period
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    rows: list[Row] = []
    until = timezone.now() + MOST_TIME
    for number, day in enumerate(days, start=1):
        rows += _rows(spec._replace(period=Period(day, day)), paths)
        held.update(percent=5 + 85 * number // len(days))
        if timezone.now() > until or len(rows) > MOST_ROWS:
            raise _too_large()
    return rows


def _too_large() -> Refusal:
    return Refusal(
        "too_large", "it is too large, or takes too long; ask for fewer days at a time, or for a row of each merchant"
    )


def _rows(spec: Spec, paths: Sequence[str]) -> list[Row]:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, true)", [f"{MOST_TIME / timedelta(milliseconds=1):.0f}ms"]
            )
            rows = rows_of(spec, paths, most=MOST_ROWS + 1)
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise _too_large() from None
        raise
    if len(rows) > MOST_ROWS:
        raise _too_large()
    return rows


def forget_old_reports(now: datetime) -> None:
    """Drop the files that nobody will fetch any more."""
    Report.objects.filter(requested_at__lt=now - timedelta(days=7)).delete()


# --- sent by a schedule ----------------------------------------------------------------------------------------------
def checked_schedule(schedule: ReportSchedule, user: Any) -> ReportSchedule:
    """Return a schedule with its next instant; raise Refusal for one that could not be sent, and for one that would send what
    whoever sets it may not see."""
    if schedule.enabled and not settings.EMAIL_URL:
        raise Refusal("no_mail_server", "no mail server is known: set EMAIL_URL, and restart web and worker")
    if not schedule.name.isprintable():
        raise Refusal("bad_name", "a name has characters that can be printed")
    spec = spec_of(schedule.spec, timezone.localdate())
    if not figures.places(reach_of(user, SEE), spec.node):
        raise Refusal("not_allowed", "%(owner)s may not see this report any more", owner=user.get_username())
    if schedule.spec.get("first") or schedule.spec.get("last"):
        raise Refusal("bad_period", "a schedule names its period by where it lies, for example yesterday")
    check_crontab(schedule.crontab)
    check_time_zone(schedule.time_zone)
    if not 1 <= len(schedule.recipients) <= MOST_RECIPIENTS:
        raise Refusal("bad_recipients", "write 1 to %(most)s addresses", most=MOST_RECIPIENTS)
    for address in schedule.recipients:
        try:
            validate_email(address)
        except ValidationError:
            raise Refusal("bad_recipients", "%(text)s is no e-mail address", text=repr(address[:80])) from None
    schedule.next_at = _next_at(schedule, timezone.now())
    return schedule


def _next_at(schedule: ReportSchedule, now: datetime) -> datetime | None:
    if not schedule.enabled:
        return None
    (instant,) = next_instants(Cycle(schedule.crontab, schedule.time_zone), [timedelta(0)], now=now)
    return instant


def send_due(now: datetime) -> int:
    """Send the reports that are due; return how many. Each is moved on before it is sent, so that two workers send it once; one
    that fails is tried again until its next time."""
    sent = 0
    while True:
        with transaction.atomic():
            due = ReportSchedule.objects.filter(next_at__lte=now).order_by("next_at")
            schedule = due.select_for_update(skip_locked=True, of=("self",)).select_related("owner").first()
            if schedule is None:
                return sent
            following = _next_at(schedule, now)
            schedule.next_at = following
            schedule.save(update_fields=["next_at"])
        sent += _send(schedule, now, following)


def _send(schedule: ReportSchedule, now: datetime, following: datetime | None) -> bool:
    mine = ReportSchedule.objects.filter(pk=schedule.pk)
    try:
        _mail(schedule, now)
    except Refusal as refusal:
        mine.update(**columns_of(refusal))
        return False
    except OSError as error:  # smtplib's errors are OSErrors
        again = min(filter(None, (now + TRY_AGAIN_AFTER, following)))
        failed = columns_of(Refusal("not_sent", "the mail server did not take it: %(error)s", error=str(error)[:200]))
        mine.update(next_at=again, **failed)
        return False
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # one report that cannot be made stands in no other's way
        logger.exception("scheduled report %s cannot be sent", schedule.pk)
        mine.update(**columns_of(Refusal("unmade", "the report could not be made; the worker's log says more")))
        return False
    mine.update(sent_at=now, reason="", template="", values={})
    detail = {"recipients": schedule.recipients, "format": schedule.format}
    audit.record(actor=schedule.owner.get_username(), action="report.send", subject=subject_of(schedule), detail=detail)
    return True


def _mail(schedule: ReportSchedule, now: datetime) -> None:
    spec = spec_of(schedule.spec, now.astimezone(ZoneInfo(schedule.time_zone)).date())
    owner = schedule.owner
    paths = figures.places(reach_of(owner, SEE), spec.node) if owner.is_active else None
    if not paths:
        raise Refusal("not_allowed", "%(owner)s may not see this report any more", owner=owner.get_username())
    with translation.override(schedule.language):
        content = files.content_of(spec, rows_of(spec, paths), schedule.format)
        message = EmailMessage(
            f"{schedule.name}: {files.title_of(spec)}",
            _("The report is attached. It was made by Tillwarden for %(owner)s.") % {"owner": owner.get_username()},
            settings.DEFAULT_FROM_EMAIL,
            schedule.recipients,
        )
        message.attach(files.name_of(spec, schedule.format), content, files.TYPES[schedule.format].partition(";")[0])
    message.send()


# --- days that are closed --------------------------------------------------------------------------------------------
@transaction.atomic
def close_day(*, organisation: Organisation | None, day: date, actor: str) -> DailyClose:
    """Keep a day's figures as they are now. Raises Refusal for a day that is not over, or was closed before."""
    if not _is_over(day, organisation):
        raise Refusal("not_over", "%(day)s is not over; close it tomorrow", day=day.isoformat())
    try:
        with transaction.atomic():
            close = DailyClose.objects.create(organisation=organisation, day=day, closed_by=actor)
    except IntegrityError:
        raise Refusal("closed_before", "%(day)s was closed before", day=day.isoformat()) from None
    rows = _of_day(organisation, day)
    DailyFigure.objects.bulk_create(
        (DailyFigure(close=close, terminal_id=row.key or 0, **row.figures._asdict()) for row in rows), batch_size=2000
    )
    sums = [one._asdict() for one in figures.totals_of(rows)]
    detail = {"day": day.isoformat(), "terminals": len({row.key for row in rows}), "sums": sums}
    audit.record(actor=actor, action="day.close", subject=subject_of(close), detail=detail)
    return close


def _is_over(day: date, organisation: Organisation | None) -> bool:
    """Whether a day is over by the clock of every store that it concerns, whoever asks."""
    stores = Store.objects.filter(path__startswith=organisation.path if organisation is not None else "")
    zones = set(stores.values_list("time_zone", flat=True).distinct()) | {"UTC"}
    return all(day < timezone.now().astimezone(ZoneInfo(zone)).date() for zone in zones)


def _of_day(organisation: Organisation | None, day: date) -> list[Row]:
    path = organisation.path if organisation is not None else ""
    return rows_of(Spec("terminal", Period(day, day)), [path])


def frozen_totals(close: DailyClose) -> list[Figures]:
    """Return a closed day's sums as they were, a currency each: one statement."""
    rows = close.figures.order_by("currency").values_list("currency").annotate(*(Sum(name) for name in SUMS))
    return [Figures(*row) for row in rows]


def changes_since(close: DailyClose, most: int = AT_ONCE) -> tuple[int, list[Change]]:
    """Return how many terminals' figures of a closed day are others by now, and the first of them."""
    path = close.organisation.path if close.organisation is not None else ""
    return figures.changed(Spec("terminal", Period(close.day, close.day)), [path], close.pk, most)
