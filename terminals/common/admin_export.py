"""A list of the admin as a file: the rows and columns that it shows, filtered and narrowed alike."""

import re
from datetime import datetime
from html import unescape
from typing import Any

from django.contrib.admin.utils import label_for_field, lookup_field
from django.db import models, transaction
from django.http import FileResponse, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.html import strip_tags
from django.utils.http import content_disposition_header

from terminals.common import exports
from terminals.common.audit.services import record
from terminals.common.errors import Refusal

SHORTENED = re.compile(r'<span title="([^"]+)"')  # what a list shortens stands whole in its title
SHOWN_TIME = re.compile(r'<time datetime="([^"]+)"')


def export(page: Any, request: HttpRequest, kind: str) -> HttpResponseBase:
    """Return a list as a file, and record that it was taken; raise Refusal for one that is too long."""
    listed = page.get_changelist_instance(request)
    if getattr(request, "refused_filter", ""):
        raise Refusal("bad_filter", "nothing was exported: the filter cannot be applied")
    columns = [name for name in listed.list_display if name != "action_checkbox"]
    header = [str(label_for_field(name, page.model, page)).strip() for name in columns]
    if listed.queryset[exports.MOST_ROWS : exports.MOST_ROWS + 1].exists():
        raise Refusal("too_many_rows", "a file takes %(most)s rows at most; filter the list", most=exports.MOST_ROWS)
    rows = ([_cell(page, name, row) for name in columns] for row in listed.queryset.iterator(chunk_size=2000))
    name = str(page.opts.verbose_name_plural)
    with transaction.atomic():
        record(
            actor=request.user.get_username(),
            action=f"{page.opts.model_name}.export",
            subject=f"list:{page.opts.model_name}",
            detail={"asked": request.GET.dict(), "kind": kind},
        )
    if kind == "csv":
        answer: HttpResponseBase = StreamingHttpResponse(
            exports.csv_lines(header, rows), content_type="text/csv; charset=utf-8"
        )
        answer["Content-Disposition"] = content_disposition_header(True, f"{name}.csv")
        return answer
    file = exports.xlsx_file(header, rows)
    return FileResponse(file, as_attachment=True, filename=f"{name}.xlsx", content_type=exports.XLSX_TYPE)


def _cell(page: Any, name: str, row: models.Model) -> str:
    """Return what a list's column shows, as text; instants as ISO 8601 with their offset."""
    field, _attribute, value = lookup_field(name, row, page)
    if isinstance(value, tuple):  # a badge: its colour and its words
        value = value[1]
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(timespec="seconds")
    if shown := SHOWN_TIME.match(str(value)):  # a page says how long ago; a file says when
        value = shown[1]
    elif whole := SHORTENED.match(str(value)):
        value = unescape(whole[1])
    if field is not None and getattr(field, "choices", None):
        value = getattr(row, f"get_{field.name}_display")()
    return "" if value is None else strip_tags(str(value))
