"""Who may do what in the API: the permissions that stand beside the services, which pages and admin ask, too."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from terminals.common.scope import opens

_VERBS = {"GET": "view", "HEAD": "view", "OPTIONS": "view", "POST": "add", "PUT": "change", "PATCH": "change"}


class StaffWithPermission(BasePermission):
    """Staff who hold what the operation needs: the view's `needs` names it by action, else it is the model's own.

    Which objects they find then is `scope.within`'s business; what has no place in the tree asks more of who changes it.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        user = request.user
        return bool(
            user.is_authenticated
            and getattr(user, "is_staff", False)
            and opens(user, needed(view, str(request.method), view.action), view.queryset.model)
        )


def needed(view: Any, method: str, action: str | None) -> str:
    """Return the permission that an operation of a viewset (instance or class) needs."""
    named = getattr(view, "needs", {}).get(action)
    if named:
        return str(named)
    meta = view.queryset.model._meta
    return f"{meta.app_label}.{_VERBS.get(method, 'delete')}_{meta.model_name}"
