"""Settlement reports in the browser: figures and charts on screen, files, and days that are closed."""

import json
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from fleet.pages.guards import staff_with
from terminals.common.errors import Refusal
from terminals.common.money import digits_of
from terminals.common.scope import holds, reach_of, within
from terminals.common.words import sentence, word
from terminals.estate.models import Organisation
from terminals.settlement.reports import figures, files, services
from terminals.settlement.reports.models import DailyClose, Report
from terminals.settlement.reports.rules import FORMATS, LEVELS, PERIODS, Figures, Period, Spec, added, spec_of

SHOWN = 200  # rows that a page shows; a file has all of them
IN_CHART = 12
PARAMETERS = ("level", "period", "first", "last", "by_day", "at")


def _asked(request: HttpRequest) -> dict[str, str]:
    said = {name: request.GET.get(name, "")[:40] for name in PARAMETERS}
    return {name: value for name, value in said.items() if value}


@staff_with(services.SEE)
@require_GET
def report_page(request: HttpRequest) -> HttpResponse:
    """Figures of a period on screen, or with `format` as a file."""
    asked, refused = _asked(request), ""
    try:
        spec = spec_of(asked, timezone.localdate())
    except Refusal as refusal:
        spec, refused = spec_of({}, timezone.localdate()), sentence(refusal)
    paths = figures.places(reach_of(request.user, services.SEE), spec.node)
    if paths is None:
        raise Http404
    rows = figures.rows_of(spec, paths, most=services.AT_ONCE + 1)
    file_format = request.GET.get("format", "")
    if file_format in FORMATS and not refused:
        return _file(request, spec, rows, file_format, asked)
    return render(request, "pages/report.html", _context(request, spec, rows, paths, asked, refused))


def _file(
    request: HttpRequest, spec: Spec, rows: list[figures.Row], file_format: str, asked: dict[str, str]
) -> HttpResponse:
    if len(rows) > (services.AT_ONCE_PDF if file_format == "pdf" else services.AT_ONCE):
        job = services.request_report(spec=asked, file_format=file_format, user=request.user)
        return redirect("report-job", pk=job.pk)
    return _download(files.content_of(spec, rows, file_format), files.name_of(spec, file_format), file_format)


def _download(content: bytes, name: str, file_format: str) -> HttpResponse:
    answer = HttpResponse(content, content_type=files.TYPES[file_format])
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _context(
    request: HttpRequest,
    spec: Spec,
    rows: list[figures.Row],
    paths: list[str],
    asked: dict[str, str],
    refused: str,
) -> dict[str, Any]:
    shown = list(files.lines_of(spec, rows[:SHOWN]))
    whole = spec._replace(level="organisation", by_day=False)
    of_all = figures.rows_of(whole, paths) if len(rows) > services.AT_ONCE else rows
    below = {"organisation": "merchant", "merchant": "store", "store": "terminal"}.get(spec.level)
    links = [
        "?" + urlencode({**asked, "level": below, "at": f"{spec.level}:{row.key}"}) if below and row.key else ""
        for row in rows[:SHOWN]
    ]
    return admin.site.each_context(request) | {
        "title": files.title_of(spec),
        "spec": spec,
        "asked": asked,
        "refused": refused,
        "header": files.header(spec),
        "rows": [(told, one, link) for (told, one), link in zip(shown, links, strict=True)],
        "row_count": len(rows),
        "shown": SHOWN,
        "totals": figures.totals_of(of_all),
        "place": _place_of(spec),
        "charts": charts_of(spec, rows),
        "levels": [(one, word(one)) for one in LEVELS],
        "periods": [(one, word(one)) for one in PERIODS],
        "files": [(one, "?" + urlencode({**asked, "format": one})) for one in FORMATS],
        "refreshed_at": timezone.now(),
        "closes": _closes(request, spec),
        "may_close": spec.period.first == spec.period.last < timezone.localdate()
        and holds(request.user, services.CLOSE)
        and not _closes(request, spec),
        "may_schedule": holds(request.user, services.SCHEDULE),
        # A schedule's period moves on with its day: two dates are none.
        "to_schedule": urlencode({name: value for name, value in asked.items() if name not in ("first", "last")}),
    }


def _place_of(spec: Spec) -> str:
    if spec.node is None:
        return ""
    name, where = figures.names_of(spec.node[0], [spec.node[1]]).get(spec.node[1], ("", ""))
    return f"{name} ({where})" if where else name


def charts_of(spec: Spec, rows: list[figures.Row]) -> list[tuple[str, str]]:
    """Return a chart of each currency, as Chart.js takes it: settled, by day where the report tells days, else by object."""
    charts = []
    for currency in sorted({row.figures.currency for row in rows}):
        mine = [row for row in rows if row.figures.currency == currency]
        points = _by_day(spec, mine) if spec.by_day else _largest(spec, mine)
        data = {
            "labels": [label for label, _one in points],
            "datasets": [
                _dataset(_("Settled"), [one.settled_minor for _label, one in points], currency, "--color-primary-600"),
                _dataset(
                    _("Credited"), [one.credited_minor for _label, one in points], currency, "--color-primary-300"
                ),
            ],
        }
        charts.append((currency, json.dumps(data)))
    return charts


def _dataset(label: str, amounts: list[int], currency: str, colour: str) -> dict[str, Any]:
    values = [digits_of(amount, currency).replace(",", "") for amount in amounts]
    return {"label": f"{label} ({currency})", "data": values, "backgroundColor": f"var({colour})"}


def _by_day(spec: Spec, rows: list[figures.Row]) -> list[tuple[str, Figures]]:
    days: dict[date, Figures] = {}
    for row in rows:
        if row.day is not None:
            days[row.day] = added(days[row.day], row.figures) if row.day in days else row.figures
    return [(day.isoformat(), days[day]) for day in sorted(days)]


def _largest(spec: Spec, rows: list[figures.Row]) -> list[tuple[str, Figures]]:
    largest = sorted(rows, key=lambda row: -abs(row.figures.settled_minor))[:IN_CHART]
    names = figures.names_of(spec.level, {row.key for row in largest})
    return [(names.get(row.key or 0, ("-", ""))[0], row.figures) for row in largest]


# --- days that are closed --------------------------------------------------------------------------------------------
def _closes(request: HttpRequest, spec: Spec) -> list[DailyClose]:
    """Return the closes of a report's one day, where it tells one."""
    if spec.period.first != spec.period.last:
        return []
    return list(
        within(DailyClose.objects.filter(day=spec.period.first), request.user, "settlement.view_dailyclose")[:10]
    )


@staff_with(services.CLOSE)
def close_page(request: HttpRequest) -> HttpResponse:
    """What a day's close would freeze, and on a press of the button, the close."""
    organisations = list(within(Organisation.objects.order_by("name"), request.user, services.CLOSE)[:200])
    everywhere = reach_of(request.user, services.CLOSE).everywhere
    said = request.POST if request.method == "POST" else request.GET
    try:
        day = spec_of({"first": said.get("day"), "last": said.get("day")}, timezone.localdate()).period.first
    except Refusal as refusal:
        if request.method == "POST":
            messages.error(request, sentence(refusal))
            return redirect("close-day")
        day = timezone.localdate() - timedelta(days=1)
    chosen = next((one for one in organisations if str(one.pk) == said.get("organisation")), None)
    if chosen is None and said.get("organisation"):
        raise Http404
    if chosen is None and not everywhere:
        chosen = organisations[0] if organisations else None
        if chosen is None:
            raise PermissionDenied
    if request.method == "POST":
        try:
            close = services.close_day(organisation=chosen, day=day, actor=request.user.get_username())
            return redirect("day-closed", pk=close.pk)
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
    rows = figures.rows_of(Spec("terminal", Period(day, day)), [chosen.path if chosen else ""])
    context = admin.site.each_context(request) | {
        "title": _("Close a day"),
        "day": day,
        "organisations": organisations,
        "everywhere": everywhere,
        "chosen": chosen,
        "totals": figures.totals_of(rows),
        "terminals": len({row.key for row in rows}),
    }
    return render(request, "pages/close_day.html", context)


@staff_with("settlement.view_dailyclose")
@require_GET
def closed_page(request: HttpRequest, pk: int) -> HttpResponse:
    """A closed day: its figures as they were, and what changed since."""
    rows = within(DailyClose.objects.select_related("organisation"), request.user, "settlement.view_dailyclose")
    close: DailyClose = get_object_or_404(rows, pk=pk)
    count, changed = services.changes_since(close, SHOWN)
    names = figures.names_of("terminal", [one.terminal_id for one in changed])
    context = admin.site.each_context(request) | {
        "title": _("Close of %(day)s") % {"day": close.day},
        "close": close,
        "totals": services.frozen_totals(close),
        "changed": [(names.get(one.terminal_id, ("-", ""))[0], one.then, one.now) for one in changed],
        "change_count": count,
        "shown": SHOWN,
        "refreshed_at": timezone.now(),
    }
    return render(request, "pages/day_closed.html", context)


# --- reports that are made in the background -------------------------------------------------------------------------
def _job(request: HttpRequest, pk: int) -> Report:
    found: Report = get_object_or_404(Report.objects.filter(requested_by=request.user.pk), pk=pk)
    return found


@staff_with(services.SEE)
@require_GET
def job_page(request: HttpRequest, pk: int) -> HttpResponse:
    context = admin.site.each_context(request) | {"title": _("Report %(number)s") % {"number": pk}}
    return render(request, "pages/report_job.html", context | {"job": _job(request, pk)})


@staff_with(services.SEE)
@require_GET
def job_panel(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "pages/report_job_panel.html", {"job": _job(request, pk)})


@staff_with(services.SEE)
@require_GET
def job_file(request: HttpRequest, pk: int) -> HttpResponse:
    """Hand the file to whoever asked for it, as long as they may see it."""
    job = _job(request, pk)
    reach = reach_of(request.user, services.SEE)
    if job.content is None or not all(reach.covers(path) for path in job.paths):
        raise Http404
    spec = spec_of(job.spec, timezone.localdate())
    return _download(bytes(job.content), files.name_of(spec, job.format), job.format)
