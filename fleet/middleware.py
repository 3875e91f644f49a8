"""What happens around every page and endpoint: refusals, the reader's language and zone, the content security policy."""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.contrib.admindocs.views import simplify_regex
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone, translation
from opentelemetry.trace import StatusCode

from firmware.releases import MAX_ARTIFACT_BYTES
from fleet.pages.preferences import Chosen, preferences_of
from terminals.common.tracing import traces

FORM_BYTES = 1024 * 1024  # of an upload, besides its file
PAGES = ("/admin/", "/api/")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Answering = Callable[[HttpRequest], HttpResponse]
# No inline script or style anywhere. The admin's Alpine evaluates the expressions of its own templates, hence unsafe-eval.
POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)


class TraceRequests:
    """A span around each page and API request where traces are collected; its name is the route, not the address."""

    def __init__(self, get_response: Answering) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if traces.tracer is None or not request.path.startswith(PAGES):
            return self._get_response(request)
        method = request.method if request.method in METHODS else "_OTHER"  # whoever asks may write anything there
        with traces.request(method, request.headers.get("traceparent", "")) as span:
            response = self._get_response(request)
            route = _template(request.resolver_match.route) if request.resolver_match else ""
            span.update_name(f"{method} {route}".strip())
            span.set_attributes({"http.request.method": method, "http.route": route})
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= 500:
                span.set_status(StatusCode.ERROR)
        return response


@lru_cache(maxsize=1000)
def _template(route: str) -> str:
    """Return a route as an address with names in it: the API's are regular expressions."""
    return str(simplify_regex(route))


class RefuseNullCharacters:
    """400 for an address with U+0000, which PostgreSQL's text cannot hold and no filter could ever match."""

    def __init__(self, get_response: Answering) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path or "\0" in unquote(request.META.get("QUERY_STRING", "")):
            detail = "the character U+0000 is not allowed in an address"
            problem = {"type": "about:blank", "title": "Bad request", "status": 400, "detail": detail}
            return JsonResponse(problem, status=400, content_type="application/problem+json")
        return self._get_response(request)


class RefuseTooLong:
    """413 for a request that says it is longer than a release with its form, before any of it is read or put on the disk."""

    def __init__(self, get_response: Answering) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdecimal() and int(length) > MAX_ARTIFACT_BYTES + FORM_BYTES:
            detail = f"the request has {int(length)} bytes; a release has at most {MAX_ARTIFACT_BYTES}"
            problem = {"type": "about:blank", "title": "Content too large", "status": 413, "detail": detail}
            return JsonResponse(problem, status=413, content_type="application/problem+json")
        return self._get_response(request)


class ContentSecurityPolicy:
    """Say on every answer what a browser may run and load: nothing that does not come from here as a file."""

    def __init__(self, get_response: Answering) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response


class ReadersLanguageAndZone:
    """After log-in an operator's own language and time zone apply, where they chose them; before it the browser's language."""

    def __init__(self, get_response: Answering) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Probes ask nothing of the database before they look at it themselves.
        chosen = preferences_of(request) if request.path.startswith(PAGES) else Chosen()
        if chosen.language:
            translation.activate(chosen.language)
            request.LANGUAGE_CODE = chosen.language
        with suppress(ZoneInfoNotFoundError):  # a zone that newer data no longer has is no reason to show nothing
            timezone.activate(ZoneInfo(chosen.time_zone or settings.TIME_ZONE))
        try:
            return self._get_response(request)
        finally:
            timezone.deactivate()
