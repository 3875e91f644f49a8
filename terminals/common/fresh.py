"""What a stolen session must not do: some permissions are used only by who proved lately who they are.

The project says which (`freshness.sensitive`). Pages, the admin and the API ask `require_fresh_login` before they do what such a
permission allows; a page then leads to the log-in and back. An API token is a proof of its own.
"""

import time
from dataclasses import dataclass

from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows
from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.http import HttpRequest

LOGGED_IN_AT = "logged_in_at"


@dataclass
class Freshness:
    """Which permissions need a fresh log-in; filled by the project."""

    sensitive: frozenset[str] = frozenset()


freshness = Freshness()


def is_fresh(request: HttpRequest) -> bool:
    """Whether the session's operator logged in, or proved again who they are, within FRESH_LOGIN_MINUTES."""
    proofs = [record["at"] for record in get_authentication_records(request, request.user)]
    latest = max([request.session.get(LOGGED_IN_AT, 0.0), *proofs])
    if time.time() - latest < settings.FRESH_LOGIN_MINUTES * 60:
        return True
    return not get_reauthentication_flows(request.user)  # one who only signs on elsewhere has no proof to give here


def require_fresh_login(request: HttpRequest, permission: str) -> None:
    """Raise ReauthenticationRequired, which leads to the log-in and back, where the permission needs a fresh log-in."""
    if permission in freshness.sensitive and not is_fresh(request):
        raise ReauthenticationRequired
