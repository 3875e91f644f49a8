"""Who holds which permission where: an account's own permissions and roles everywhere, its memberships' below their nodes."""

from collections import defaultdict
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission
from django.db.models import Model, Q
from django.db.models.functions import Coalesce

from terminals.common.scope import EVERYWHERE_PATH, Grants, Reach, grants_of, holds
from terminals.estate.models import Membership

NODE_PATH = Coalesce("organisation__path", "merchant__path", "store__path")


def read_grants(user: Any) -> Grants:
    """Return where a user holds which permission: two queries, however many roles."""
    found: dict[str, set[str]] = defaultdict(set)
    everywhere = Permission.objects.order_by().filter(Q(user=user) | Q(group__user=user))
    for app, name in everywhere.values_list("content_type__app_label", "codename"):
        found[f"{app}.{name}"].add(EVERYWHERE_PATH)
    permission = "role__permissions"
    somewhere = Membership.objects.filter(user=user, role__permissions__isnull=False)
    for path, app, name in somewhere.values_list(
        NODE_PATH, f"{permission}__content_type__app_label", f"{permission}__codename"
    ):
        found[f"{app}.{name}"].add(path)
    return {name: Reach.over(paths) for name, paths in found.items()}


class PlacedBackend(ModelBackend):
    """Django's accounts and passwords; a permission is asked for anywhere, or for an object, where it stands in the tree."""

    def get_all_permissions(self, user_obj: Any, obj: Model | None = None) -> set[str]:
        if not user_obj.is_active or user_obj.is_anonymous:
            return set()
        if user_obj.is_superuser:
            return super().get_all_permissions(user_obj)
        return {name for name in grants_of(user_obj) if obj is None or holds(user_obj, name, obj)}

    def has_perm(self, user_obj: Any, perm: str, obj: Model | None = None) -> bool:
        return holds(user_obj, perm, obj)
