"""What a stolen session must not do: some permissions are used only by who proved lately who they are.

The project says which (`freshness.sensitive`). Pages, the admin and the API ask `require_fresh_login` before they do what such a
permission allows; a page then leads to the log-in and back. An API token is a proof of its own.
"""

import time
from dataclasses import dataclass

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows, suspend_request
from allauth.core.exceptions import ImmediateHttpResponse, ReauthenticationRequired
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

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
    return float(time.time() - latest) < settings.FRESH_LOGIN_MINUTES * 60


def require_fresh_login(request: HttpRequest, permission: str) -> None:
    """Raise ReauthenticationRequired, which leads to the log-in and back, where the permission needs a fresh log-in."""
    if permission not in freshness.sensitive or is_fresh(request):
        return
    if not get_reauthentication_flows(request.user):  # who only signs on elsewhere proves it there
        logout(request)
        raise ImmediateHttpResponse(redirect_to_login(request.path))
    if request.FILES or any("password" in name for name in request.POST):  # which must not lie in the session meanwhile
        query = urlencode({"next": request.path})
        raise ImmediateHttpResponse(redirect(f"{reverse('account_reauthenticate')}?{query}"))
    if request.method != "POST":
        raise ReauthenticationRequired
    proof = get_adapter().get_reauthentication_methods(request.user)[0]["url"]
    suspend_request(request, proof)
    # The library does afterwards what was asked only where `next` is its path, without the query that it would put there.
    raise ImmediateHttpResponse(redirect(f"{proof}?{urlencode({'next': request.path})}"))
