"""How long a session lasts, how many an operator has, and whether a second factor is asked for."""

import time
from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from allauth.usersessions.models import UserSession
from allauth.usersessions.views import ListUserSessionsView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from fleet.middleware import Answering
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.fresh import is_fresh

ACTIVE_AT, NOTED_EVERY_SECONDS = "active_at", 60
HAS_SECOND_FACTOR = "has_second_factor"


class SessionRules:
    """Ends a session that nobody used for SESSION_IDLE_MINUTES: a page that refreshes itself is no use. Where a second factor is
    required, who has none sees nothing before they have one."""

    def __init__(self, get_response: Answering) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(("/admin/", "/api/")) or not request.user.is_authenticated:
            return self._get_response(request)  # a program with a token has no session
        if self._is_idle(request) or self._is_stale(request):
            logout(request)
        elif settings.REQUIRE_SECOND_FACTOR and not self._is_open(request) and not self._has_second_factor(request):
            return redirect("mfa_index") if request.path.startswith("/admin/") else _no_second_factor()
        return self._get_response(request)

    def _is_idle(self, request: HttpRequest) -> bool:
        now, session = time.time(), request.session
        active_at = session.get(ACTIVE_AT, now)
        if now - active_at > settings.SESSION_IDLE_MINUTES * 60:
            return True
        refreshes_itself = request.method == "GET" and "HX-Request" in request.headers
        if ACTIVE_AT not in session or (not refreshes_itself and now - active_at > NOTED_EVERY_SECONDS):
            session[ACTIVE_AT] = now
        return False

    def _is_stale(self, request: HttpRequest) -> bool:
        """Whether a session is too old to change second factors: whoever only signs on elsewhere has no other proof to give."""
        return request.method == "POST" and request.path.startswith(reverse("mfa_index")) and not is_fresh(request)

    def _is_open(self, request: HttpRequest) -> bool:
        """Whether a page serves to get a second factor, or to leave."""
        always = map(reverse, ("account_reauthenticate", "account_logout", "admin:logout"))
        return request.path.startswith(reverse("mfa_index")) or request.path in always

    def _has_second_factor(self, request: HttpRequest) -> bool:
        if not request.session.get(HAS_SECOND_FACTOR) and is_mfa_enabled(request.user):
            request.session[HAS_SECOND_FACTOR] = True
        return bool(request.session.get(HAS_SECOND_FACTOR))


def _no_second_factor() -> HttpResponse:
    detail = _("get a second factor first: on your page, in a browser")
    problem = {"type": "about:blank", "title": _("Not allowed"), "status": 403, "detail": detail}
    return JsonResponse(problem, status=403, content_type="application/problem+json")


class OwnSessions(ListUserSessionsView):  # type: ignore[misc]
    """The library's page ends all other sessions of an operator; this one can end a single one, too."""

    @transaction.atomic
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        chosen = request.POST.get("end", "")
        others = UserSession.objects.filter(user=request.user.pk).exclude(session_key=request.session.session_key)
        if "others" in request.POST:
            self._record(others.count())
            return super().post(request, *args, **kwargs)  # type: ignore[no-any-return]
        session = others.filter(pk=int(chosen)).first() if chosen.isdecimal() and len(chosen) < 19 else None
        if session is None:
            messages.info(request, _("That session has ended before."))
        else:
            self._record(1)
            session.end()
            messages.success(request, _("That session has ended."))
        return redirect("usersessions_list")

    def _record(self, number: int) -> None:
        user: Any = self.request.user
        audit.record(
            actor=user.get_username(), action="session.end", subject=subject_of(user), detail={"ended": number}
        )


own_sessions = OwnSessions.as_view()


def end_oldest_sessions(user: Any, keep: int, *, besides: str | None) -> None:
    """End an operator's oldest sessions, so that besides the present one no more than `keep` are open."""
    for session in UserSession.objects.filter(user=user).exclude(session_key=besides).order_by("-created_at")[keep:]:
        session.end()
