"""Pages of the API's lists: by cursor, and with a count that costs no more for a million rows."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

COUNT_LIMIT = 1_000  # counting further took most of the time of a filtered list (bench/pages.py)


class CappedCountCursorPagination(CursorPagination):
    """Pages by cursor, at most 1000 a page. `count` is exact up to COUNT_LIMIT, so its cost does not grow with the fleet."""

    page_size = 100
    max_page_size = 1000
    page_size_query_param = "page_size"
    ordering = "-id"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        self.count = queryset.order_by().values("pk")[: COUNT_LIMIT + 1].count()
        try:
            with transaction.atomic():
                return super().paginate_queryset(queryset, request, view)
        except (ValueError, DjangoValidationError, DataError):  # a position that is no value of the column
            raise exceptions.NotFound(self.invalid_cursor_message) from None

    def decode_cursor(self, request: Request) -> Any:
        """Refuse a cursor that no database could compare with."""
        cursor = super().decode_cursor(request)
        if cursor is not None and "\0" in str(cursor.position):
            raise exceptions.NotFound(self.invalid_cursor_message)
        return cursor

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        """Return the view's `ordering`, or one of its `ordering_fields` that `?ordering=` names: columns without
        ties, or a cursor backwards would lose rows."""
        allowed = _orderings(view)
        wanted = request.query_params.get("ordering", "")
        if wanted and wanted not in allowed:
            told = gettext("choose one of %(names)s") % {"names": ", ".join(allowed) or "-"}
            raise exceptions.ValidationError({"ordering": [told]})
        return (wanted or getattr(view, "ordering", self.ordering),)

    def get_schema_operation_parameters(self, view: Any) -> list[Any]:
        orderings = {"type": "string", "enum": list(_orderings(view))}
        ordering = {"name": "ordering", "in": "query", "required": False, "schema": orderings}
        return [*super().get_schema_operation_parameters(view), ordering]

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "count": min(self.count, COUNT_LIMIT),
                "count_is_exact": self.count <= COUNT_LIMIT,
                "next": self.get_next_link(),
                "previous": self.get_previous_link(),
                "results": data,
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        properties = {
            "count": {"type": "integer"},
            "count_is_exact": {"type": "boolean"},
            "next": link,
            "previous": link,
            "results": schema,
        }
        return {"type": "object", "required": list(properties), "properties": properties}


def _orderings(view: Any) -> tuple[str, ...]:
    """Return what a list can be ordered by, upwards and downwards: unique columns."""
    return tuple(sign + name for name in view.ordering_fields for sign in ("", "-"))
