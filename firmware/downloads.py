"""Artifact downloads for terminals: one signed link each, whole or by range, so that a cut download resumes.

Range as of RFC 9110 section 14: a single byte range; several in one request get the whole file. When artifacts lie
behind a CDN, `url` points there instead and this view idles.
"""

import re
from collections.abc import Iterator
from typing import IO

from django.core.signing import BadSignature, SignatureExpired
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from firmware.models import Release
from firmware.services import VALID_FOR, download_signer
from terminals.estate.models import Terminal
from terminals.estate.rules import LINKED_STATES

CHUNK_BYTES = 64 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@require_safe
def download_artifact(request: HttpRequest, token: str) -> HttpResponseBase:
    """Stream a release to the terminal that the link was made for: 200, 206, 304, 403, 404 or 416."""
    try:
        release_id, _, device_id = download_signer().unsign(token, max_age=VALID_FOR).partition(":")
    except SignatureExpired:
        return _refuse("the link has expired; a new install command brings a new one")
    except BadSignature:
        return _refuse("the link is not one of this server's")
    if not Terminal.objects.filter(device_id=device_id, state__in=LINKED_STATES).exists():
        return _refuse("the terminal is not in service")
    release = Release.objects.filter(pk=release_id).first()
    if release is None:
        return JsonResponse({"title": "Not found", "status": 404}, status=404)
    etag = f'"{release.sha256}"'
    if request.headers.get("If-None-Match") == etag:
        return HttpResponse(status=304)
    span = _wanted_range(request, etag, release.size_bytes)
    if span is None:
        response = HttpResponse(status=416)
        response["Content-Range"] = f"bytes */{release.size_bytes}"
        return response
    first, last, partial = span
    body = _stream(release.artifact.open("rb"), first, last) if request.method == "GET" else iter(())
    answer = StreamingHttpResponse(body, status=206 if partial else 200, content_type="application/octet-stream")
    answer["Content-Length"] = str(last - first + 1)
    answer["Accept-Ranges"] = "bytes"
    answer["ETag"] = etag
    if partial:
        answer["Content-Range"] = f"bytes {first}-{last}/{release.size_bytes}"
    return answer


def _wanted_range(request: HttpRequest, etag: str, size: int) -> tuple[int, int, bool] | None:
    """Return first and last byte to send and whether a range was asked for; None where it lies outside of the file."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or request.headers.get("If-Range", etag) != etag or match[0] == "bytes=-":
        return 0, size - 1, False
    first, last = match[1], match[2]
    begin, end = (int(first), min(int(last or size - 1), size - 1)) if first else (max(size - int(last), 0), size - 1)
    return (begin, end, True) if begin <= end else None


def _stream(file: IO[bytes], first: int, last: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk


def _refuse(detail: str) -> JsonResponse:
    return JsonResponse(
        {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": detail},
        status=403,
        content_type="application/problem+json",
    )
