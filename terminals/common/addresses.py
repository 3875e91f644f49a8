"""Where a request comes from, and whose name it bears: what a lock-out goes by."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """Return where a request comes from: behind our proxy what it says in the last place, which nobody else can write."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_PROXY else ""
    told = forwarded.rpartition(",")[2].strip()
    try:
        return str(ip_address(told))
    except ValueError:
        return str(request.META.get("REMOTE_ADDR", ""))


def username_of(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Return the operator's name in a log-in: as it was looked at, or as the form has it."""
    return str((credentials or {}).get("username") or request.POST.get("login", ""))
