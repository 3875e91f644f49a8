"""What the admin pages share: changes go with their audit entry, records are only looked at, lists never count all."""

from typing import Any

from django.core.paginator import Paginator
from django.db import models, transaction
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin

from terminals.common.api.base import COUNT_LIMIT
from terminals.common.audit.services import record_change, record_deletions, stored_values


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than COUNT_LIMIT, so that a list of a million rows opens like one of a hundred."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, models.QuerySet):
            return rows.order_by().values("pk")[:COUNT_LIMIT].count()
        return len(rows)


class AuditedAdmin(ModelAdmin):  # type: ignore[misc]
    """An editable object: every change is audited in the admin's own transaction."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        old = stored_values(obj) if change else {}
        super().save_model(request, obj, form, change)
        self._record(request, obj, "update" if change else "create", old=old, new=stored_values(obj))

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        self._record(request, obj, "delete", old=stored_values(obj), new={})
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        actor, action = request.user.get_username(), f"{queryset.model._meta.model_name}.delete"
        record_deletions(actor=actor, action=action, instances=list(queryset))
        super().delete_queryset(request, queryset)

    def _record(
        self, request: HttpRequest, obj: models.Model, verb: str, *, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        action = f"{obj._meta.model_name}.{verb}"
        record_change(actor=request.user.get_username(), action=action, instance=obj, old=old, new=new)


class RecordAdmin(ModelAdmin):  # type: ignore[misc]
    """A record of what happened: nobody adds, changes or deletes it here."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ServiceCreatedAdmin(AuditedAdmin):
    """An object that only a service can make and nobody edits: `create` calls the service, which audits."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def create(self, request: HttpRequest, form: "ModelForm[Any]") -> models.Model:
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Any, form: "ModelForm[Any]", change: bool) -> None:
        made = self.create(request, form)
        obj.pk = made.pk
        obj.refresh_from_db()
