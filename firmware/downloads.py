"""Artifact downloads for terminals: one signed link each, whole or by range, so that a cut download resumes.

Range as of RFC 9110 section 14: a single byte range; several in one request get the whole file. Behind nginx
(ARTIFACT_ACCEL_PREFIX) or before a bucket (ARTIFACT_REDIRECT) this view only checks the link and sends no byte itself.
"""

import logging
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from errno import ECONNRESET
from typing import IO

from django.conf import settings
from django.core.signing import BadSignature, SignatureExpired
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views.decorators.http import require_safe

from firmware.models import Release, ReleaseDelta
from firmware.rules import ReleaseState
from firmware.services import VALID_FOR, download_signer
from terminals.estate.models import Terminal
from terminals.estate.rules import LINKED_STATES

CHUNK_BYTES = 64 * 1024
# After which a terminal shall come back to a busy server, and where the file cannot be read now; up to twice as long, so that
# those who were refused together do not come back together.
RETRY_SECONDS, AWAY_SECONDS = 2, 30
logger = logging.getLogger(__name__)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@require_safe
def download_artifact(request: HttpRequest, token: str, target: str = "") -> HttpResponseBase:
    """Stream a release to the terminal that the link was made for: 200, 206, 302, 304, 403, 404, 416, 500 or 503.

    `target` is what a TUF client appends to the address; the link alone says which release it is.
    """
    try:
        release, device_id = _meant(token)
    except _Refused as refused:
        return refused.answer
    etag = f'"{release.sha256}"'
    if request.headers.get("If-None-Match") == etag:
        return HttpResponse(status=304)
    span = _wanted_range(request, etag, release.size_bytes)
    if span is None:
        response = HttpResponse(status=416)
        response["Content-Range"] = f"bytes */{release.size_bytes}"
        return response
    first, last, partial = span
    if settings.ARTIFACT_ACCEL_PREFIX:
        return _accelerated(release, etag)
    try:
        if settings.ARTIFACT_REDIRECT and request.method == "GET":  # a signed link is for GET alone; it knows ranges
            return HttpResponseRedirect(release.artifact.url)
        if request.method == "GET" and not slots.enter(device_id):
            return _come_back("too many downloads at once; come back", RETRY_SECONDS)
        body = _opened(release, first, last, device_id) if request.method == "GET" else iter(())
    except FileNotFoundError:
        logger.error("%s: its file %s is missing", release, release.artifact.name)
        # No 503: that says busy, and a terminal would come back for ever.
        return _refuse("the file is missing on the server", status=500, title="Internal server error")
    except OSError as error:
        logger.warning("%s: its file cannot be read now: %s", release, error)
        return _come_back("the file cannot be read now; come back", AWAY_SECONDS)
    answer = StreamingHttpResponse(body, status=206 if partial else 200, content_type="application/octet-stream")
    answer["Content-Length"] = str(last - first + 1)
    answer["Accept-Ranges"] = "bytes"
    answer["ETag"] = etag
    if partial:
        answer["Content-Range"] = f"bytes {first}-{last}/{release.size_bytes}"
    return answer


class _Refused(Exception):
    """A link that leads nowhere."""

    def __init__(self, detail: str, *, status: int = 403, title: str = "Forbidden") -> None:
        super().__init__(detail)
        self.answer = _refuse(detail, status=status, title=title)


def _meant(token: str) -> tuple[Release | ReleaseDelta, str]:
    """Return the file that a link means, and the device that it was made for."""
    try:
        what, _, device_id = download_signer().unsign(token, max_age=VALID_FOR).partition(":")
    except SignatureExpired:
        raise _Refused("the link has expired; a new install command brings a new one") from None
    except BadSignature:
        raise _Refused("the link is not one of this server's") from None
    if not Terminal.objects.filter(device_id=device_id, state__in=LINKED_STATES).exists():
        raise _Refused("the terminal is not in service")
    found = _file(what)
    if found is None:
        raise _Refused("there is no such release any more", status=404, title="Not found")
    return found, device_id


def _file(what: str) -> Release | ReleaseDelta | None:
    """Return the release, or with a `d` before its number the delta, of a link."""
    if what.startswith("d"):
        deltas = ReleaseDelta.objects.exclude(new__state=ReleaseState.WITHDRAWN)
        return deltas.filter(pk=what[1:], size_bytes__gt=0).first()
    return Release.objects.exclude(state=ReleaseState.WITHDRAWN).filter(pk=what).first()


def _wanted_range(request: HttpRequest, etag: str, size: int) -> tuple[int, int, bool] | None:
    """Return first and last byte to send and whether a range was asked for; None where it lies outside of the file."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or request.headers.get("If-Range", etag) != etag or match[0] == "bytes=-":
        return 0, size - 1, False
    first, last = match[1], match[2]
    begin, end = (int(first), min(int(last or size - 1), size - 1)) if first else (max(size - int(last), 0), size - 1)
    return (begin, end, True) if begin <= end else None


class Slots:
    """How many downloads a web process serves at once: few of its threads, and fewer for one terminal.

    Slow readers hold their threads; the others stay free for pages, the API and enrolment.
    """

    def __init__(self, *, together: int, each: int) -> None:
        self._together, self._each = together, each
        self._busy: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, device_id: str) -> bool:
        """Take a slot for a terminal; return False where there is none."""
        with self._lock:
            if self._busy.total() >= self._together or self._busy[device_id] >= self._each:
                return False
            self._busy[device_id] += 1
            return True

    def leave(self, device_id: str) -> None:
        with self._lock:
            self._busy[device_id] -= 1
            self._busy += Counter()  # forget the zeros


slots = Slots(together=settings.DOWNLOADS_PER_PROCESS, each=settings.DOWNLOADS_PER_TERMINAL)


class Pace:
    """How many bytes a second a web process hands to all terminals together, in no burst above a second's; 0: as they come."""

    def __init__(self, bytes_per_second: int) -> None:
        self.bytes_per_second = bytes_per_second
        self._free_at = 0.0
        self._lock = threading.Lock()

    def wait_for(self, number: int, now: float) -> float:
        """Book so many bytes, and return in how many seconds they may go; `now` by the monotonic clock."""
        if not self.bytes_per_second:
            return 0.0
        with self._lock:
            turn = max(self._free_at, now - 1)
            self._free_at = turn + number / self.bytes_per_second
        return max(0.0, turn - now)


pace = Pace(settings.DOWNLOAD_KB_PER_SECOND * 1000)


class Download:
    """The bytes of a file from first to last; gives its slot back when it is closed, read to its end or not."""

    def __init__(self, file: IO[bytes], first: int, last: int, device_id: str) -> None:
        file.seek(first)
        self._file, self._left, self._device_id = file, last - first + 1, device_id
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        try:
            while self._left > 0 and (chunk := self._file.read(min(CHUNK_BYTES, self._left))):
                self._left -= len(chunk)
                time.sleep(pace.wait_for(len(chunk), time.monotonic()))
                yield chunk
        except OSError as error:
            logger.warning("a download for %s ends early: %s", self._device_id, error)
            # The web server hangs up at this one, without a traceback; the terminal resumes.
            raise ConnectionResetError(ECONNRESET, "where releases lie went away") from error
        finally:
            self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._file.close()
            slots.leave(self._device_id)


def _opened(release: Release | ReleaseDelta, first: int, last: int, device_id: str) -> Download:
    """Return the bytes to send; a file that cannot be opened must not keep its slot."""
    try:
        return Download(release.artifact.open("rb"), first, last, device_id)
    except BaseException:
        slots.leave(device_id)
        raise


def _accelerated(release: Release | ReleaseDelta, etag: str) -> HttpResponse:
    """Let the proxy in front send the file (nginx: an internal location under ARTIFACT_ACCEL_PREFIX); it knows ranges."""
    answer = HttpResponse(content_type="application/octet-stream")
    answer["X-Accel-Redirect"] = f"{settings.ARTIFACT_ACCEL_PREFIX.rstrip('/')}/{release.artifact.name}"
    answer["ETag"] = etag
    if pace.bytes_per_second:
        answer["X-Accel-Limit-Rate"] = str(pace.bytes_per_second)  # of each: nginx has none for all together
    return answer


def _come_back(detail: str, seconds: int) -> JsonResponse:
    answer = _refuse(detail, status=503, title="Busy")
    answer["Retry-After"] = str(seconds + secrets.randbelow(seconds + 1))
    return answer


def _refuse(detail: str, *, status: int = 403, title: str = "Forbidden") -> JsonResponse:
    return JsonResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": detail},
        status=status,
        content_type="application/problem+json",
    )
