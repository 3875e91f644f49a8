"""Bodies of requests that devices send."""

from django.http import HttpRequest

from terminals.common.errors import Refusal


def body_of(request: HttpRequest, most: int) -> bytes:
    """Return a request's body, of at most so many bytes; raise Refusal before a longer one is read."""
    length = request.headers.get("Content-Length") or "0"
    if not (length.isascii() and length.isdigit()) or int(length) > most:
        raise Refusal("bad_request", "the body is longer than %(most)s bytes", most=most)
    return request.body
