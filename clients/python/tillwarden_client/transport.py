"""How requests reach the server: the token, refusals as exceptions, pages followed, and what may be sent again sent again."""

import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import uuid4

import httpx

ATTEMPTS = 4
LONGEST_PAUSE = 60.0  # seconds
NOT_TAKEN = (429, 503)  # the server says that it did nothing
BUSY = (*NOT_TAKEN, 502, 504)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Problem(Exception):
    """A refusal (RFC 9457), or an answer that is none of this API's. `reason` is a word for programs, where there is one;
    `errors` are sentences by field."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.title = str(body.get("title", ""))
        self.detail = str(body.get("detail", ""))
        self.reason = str(body.get("reason", ""))
        errors = body.get("errors")
        self.errors: dict[str, Any] = dict(errors) if isinstance(errors, Mapping) else {}
        self.body = dict(body)
        super().__init__(f"{status} {self.detail or self.title}{f' {self.errors}' if self.errors else ''}")


class Transport:
    """A connection to one installation. Every POST bears an Idempotency-Key, so that a repeat does nothing twice."""

    def __init__(self, url: str, token: str, *, timeout: float = 30.0, verify: Any = True) -> None:
        address = urlsplit(url)
        if address.scheme != "https" and not (address.scheme == "http" and address.hostname in LOOPBACK):
            raise ValueError(f"{url} would carry the token in the clear; use https")
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable():
            raise ValueError("the token is no token: it has one line of printable characters")
        self._http = httpx.Client(
            trust_env=address.scheme == "https",  # a proxy would get what is meant for this machine alone
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=timeout,
            verify=verify,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def call(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None, if_match: str = ""
    ) -> Any:
        """Return the answer's document, None where it has none; raise Problem for a refusal."""
        return self._document(self._send(method, path, query=query, body=body, if_match=if_match))

    def versioned(self, path: str) -> tuple[Any, str]:
        """Return an object and its ETag, for `if_match`."""
        answer = self._send("GET", path)
        return self._document(answer), answer.headers.get("ETag", "")

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Any]:
        """Return the objects of a list, a page at a time as they are asked for."""
        asked: Any = query
        seen = set[str]()
        while True:
            page = self.call("GET", path, query=asked)
            if not isinstance(page, dict) or not {"results", "next"} <= page.keys():
                raise Problem(200, {"title": "The answer is no page of a list"})
            yield from page["results"]
            if not page["next"]:
                return
            following = urlsplit(page["next"]).query
            if following in seen:
                raise Problem(200, {"title": "The list leads to the same page again"})
            seen.add(following)
            asked = dict(parse_qsl(following, keep_blank_values=True))

    def _send(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None, if_match: str = ""
    ) -> httpx.Response:
        headers = {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        if if_match:
            headers["If-Match"] = if_match
        files = {name: value for name, value in (body or {}).items() if hasattr(value, "read")}
        # A file is read once: what bears one is not sent again. Nor is what a second time would be refused because it was done.
        attempts = 1 if files else ATTEMPTS
        once = method == "DELETE" or bool(if_match)
        sent: dict[str, Any] = {"json": body} if body is not None else {}
        if files:
            sent = {"files": files, "data": {name: value for name, value in body.items() if name not in files}}
        for attempt in range(1, attempts + 1):
            try:
                answer = self._http.request(method, path, params=_said(query or {}), headers=headers, **sent)
            except (httpx.LocalProtocolError, httpx.UnsupportedProtocol):  # a fault of the caller's
                raise
            except httpx.TransportError:
                if attempt == attempts or once:
                    raise
                time.sleep(_pause(attempt, ""))
                continue
            if answer.status_code not in (NOT_TAKEN if once else BUSY) or attempt == attempts:
                break
            time.sleep(_pause(attempt, answer.headers.get("Retry-After", "")))
        return answer

    @staticmethod
    def _document(answer: httpx.Response) -> Any:
        if answer.status_code == 204:
            return None
        try:
            document = answer.json()
        except ValueError:
            raise Problem(answer.status_code, {"title": f"{answer.reason_phrase}: the answer is no JSON"}) from None
        if answer.is_success:
            return document
        raise Problem(answer.status_code, document if isinstance(document, dict) else {"title": answer.reason_phrase})


def segment(key: object) -> str:
    """Return an id as one part of a path, and no more; raise ValueError for what could be none."""
    text = str(key)
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no id")
    return quote(text, safe="")


def _said(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _pause(attempt: int, retry_after: str) -> float:
    """Return how many seconds to wait: what the server says, or ever longer, never just when everybody else does."""
    wait = float(retry_after) if retry_after.isdecimal() else 2.0 ** (attempt - 1)
    return float(min(wait + random.random(), LONGEST_PAUSE))  # noqa: S311 - jitter
