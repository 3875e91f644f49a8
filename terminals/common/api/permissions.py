"""Who may do what in the API: the permissions that stand beside the services, which pages and admin ask, too."""

from typing import Any

from django.utils.translation import gettext_lazy
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from terminals.common.fresh import freshness, is_fresh
from terminals.common.scope import opens

_VERBS = {"GET": "view", "HEAD": "view", "OPTIONS": "view", "POST": "add", "PUT": "change", "PATCH": "change"}


class StaffWithPermission(BasePermission):
    """Staff who hold what the operation needs: the view's `needs` names it by action, else it is the model's own.

    Which objects they find then is `scope.within`'s business; what has no place in the tree asks more of who changes it.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        user, permission = request.user, needed(view, str(request.method), view.action)
        allowed = bool(
            user.is_authenticated and getattr(user, "is_staff", False) and opens(user, permission, view.queryset.model)
        )
        if allowed:
            refuse_stale(request, permission)
        return allowed


def refuse_stale(request: Request, permission: str) -> None:
    """Raise NotFresh where a permission needs a fresh log-in and a browser's session is too old for it."""
    if permission in freshness.sensitive and _in_a_session(request) and not is_fresh(request):
        raise NotFresh


def _in_a_session(request: Request) -> bool:
    """Whether a browser's session says who it is, and no token."""
    return isinstance(request.successful_authenticator, SessionAuthentication)


class NotFresh(PermissionDenied):
    """The session is too old for what it asks."""

    default_detail = gettext_lazy(
        "log in again first: keys, releases, roles and tokens need a fresh log-in, or an API token"
    )
    default_code = "log_in_again"


def needed(view: Any, method: str, action: str | None) -> str:
    """Return the permission that an operation of a viewset (instance or class) needs."""
    named = getattr(view, "needs", {}).get(action)
    if named:
        return str(named)
    meta = view.queryset.model._meta
    return f"{meta.app_label}.{_VERBS.get(method, 'delete')}_{meta.model_name}"
