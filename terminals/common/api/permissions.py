"""Who may do what in the API: the same model permissions that the admin asks for."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

_VERBS = {"GET": "view", "HEAD": "view", "OPTIONS": "view", "POST": "add", "PUT": "change", "PATCH": "change"}


class StaffWithPermission(BasePermission):
    """Staff who hold the model's view, add, change or delete permission; what acts on terminals needs to change them.

    A view may name what its POST needs in `post_permission`, where that is not to add a row of its own model.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        user = request.user
        return bool(
            user.is_authenticated and getattr(user, "is_staff", False) and user.has_perm(_needed(request, view))
        )


def _needed(request: Request, view: Any) -> str:
    if request.method == "POST" and getattr(view, "action", "create") != "create":
        return "terminals.change_terminal"
    if request.method == "POST" and hasattr(view, "post_permission"):
        return str(view.post_permission)
    meta = view.queryset.model._meta
    return f"{meta.app_label}.{_VERBS.get(str(request.method), 'delete')}_{meta.model_name}"
