"""The repository's documents for terminals, caches and mirrors: signed, so they need no log-in and no secret address.

What bears a version never changes and may be kept by a cache; `timestamp.json` says what is new.
"""

import re

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import condition, require_safe

from firmware.models import RepositoryDocument
from firmware.tuf.documents import TIMESTAMP

NEWEST_SECONDS = 30  # how long a cache may answer with an earlier timestamp
_VERSIONED = re.compile(r"([1-9][0-9]{0,17})\.([A-Za-z0-9_.-]{1,80})\.json")


@require_safe
def repository_document(request: HttpRequest, name: str) -> HttpResponse:
    """Return a document: 200, 304 or 404."""
    row = _named(name)
    if row is None:
        return JsonResponse({"title": "Not found", "status": 404}, status=404, content_type="application/problem+json")

    @condition(etag_func=lambda request: f'"{row.role}-{row.version}"')
    def answered(request: HttpRequest) -> HttpResponse:
        answer = HttpResponse(row.content, content_type="application/json")
        fresh = f"max-age={NEWEST_SECONDS}" if name == f"{TIMESTAMP}.json" else "max-age=31536000, immutable"
        answer["Cache-Control"] = f"public, {fresh}"
        return answer

    return answered(request)


def _named(name: str) -> RepositoryDocument | None:
    rows = RepositoryDocument.objects.all()
    if name == f"{TIMESTAMP}.json":
        return rows.filter(role=TIMESTAMP).order_by("-version").first()
    match = _VERSIONED.fullmatch(name)
    return rows.filter(role=match[2], version=int(match[1])).first() if match else None
