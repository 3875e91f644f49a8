"""What the admin pages share: changes go with their audit entry, records are only looked at, lists never count all."""

from typing import Any

from django.core.paginator import Paginator
from django.db import models
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin

from terminals.api_base import COUNT_LIMIT
from terminals.services import record_change


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

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        self._record(request, obj, "create", message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        self._record(request, obj, "update", message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        for obj in queryset:
            self._record(request, obj, "delete", [])
        return super().log_deletions(request, queryset)

    def _record(self, request: HttpRequest, obj: models.Model, verb: str, message: Any) -> None:
        detail = {"shown": str(obj), "changed": message if isinstance(message, list) else str(message)}
        name = request.user.get_username()
        record_change(actor=name, action=f"{obj._meta.model_name}.{verb}", instance=obj, detail=detail)


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

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        return None
