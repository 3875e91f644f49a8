"""What is refused before any page or endpoint sees it."""

from collections.abc import Callable
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse, JsonResponse


class RefuseNullCharacters:
    """400 for an address with U+0000, which PostgreSQL's text cannot hold and no filter could ever match."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path or "\0" in unquote(request.META.get("QUERY_STRING", "")):
            detail = "the character U+0000 is not allowed in an address"
            problem = {"type": "about:blank", "title": "Bad request", "status": 400, "detail": detail}
            return JsonResponse(problem, status=400, content_type="application/problem+json")
        return self._get_response(request)
