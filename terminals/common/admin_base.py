"""What the admin pages share: changes go with their audit entry, records are only looked at, lists never count all."""

from typing import Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import models, transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from terminals.common.api.base import COUNT_LIMIT
from terminals.common.audit.services import record_change, record_deletions, stored_values
from terminals.common.errors import Refusal
from terminals.common.words import TONES, sentence


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than COUNT_LIMIT, so that a list of a million rows opens like one of a hundred."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, models.QuerySet):
            return rows.order_by().values("pk")[:COUNT_LIMIT].count()
        return len(rows)


class SortableAsSaid(ChangeList):  # type: ignore[misc]
    """Sorts by nothing but `sortable_by`, whatever the address asks for: Django only hides the arrows."""

    def get_ordering_field(self, field_name: str) -> Any:
        allowed = self.model_admin.sortable_by
        return super().get_ordering_field(field_name) if allowed is None or field_name in allowed else None


class Labels(dict[str, str]):
    """The colours of badges; unfold would show the bare value of a state that has none instead of its word."""

    def __missing__(self, state: str) -> None:
        return None


class StateAdmin(ModelAdmin):  # type: ignore[misc]
    """What every list and form shares: a state is a badge, a refusal is told."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SortableAsSaid

    @display(description=gettext_lazy("state"), label=Labels(TONES), ordering="state")  # type: ignore[untyped-decorator]
    def shown_state(self, obj: Any) -> tuple[str, str]:
        return obj.state, obj.get_state_display()

    @admin.display(description=gettext_lazy("state"))
    def state_in_words(self, obj: Any) -> str:
        """For forms, which show no badges."""
        return str(obj.get_state_display())

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """What a service refuses is told on the page that asked; nothing was changed."""
        try:
            return super().changeform_view(request, *args, **kwargs)  # type: ignore[no-any-return]
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
            return redirect(request.get_full_path())


class AuditedAdmin(StateAdmin):
    """An editable object: every change is audited in the admin's own transaction."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """What is about to be saved is locked first: a save writes all columns, and must not undo another's change."""
        obj = super().get_object(request, object_id, from_field)
        if obj is not None and request.method == "POST":
            self.lock(obj.pk)
            obj = super().get_object(request, object_id, from_field)
        return obj

    def lock(self, pk: Any) -> None:
        """Keep a row as it is until the transaction ends."""
        self.model._default_manager.select_for_update(of=("self",), no_key=True).filter(pk=pk).first()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        old = stored_values(obj) if change else {}
        super().save_model(request, obj, form, change)
        self._record(request, obj, "update" if change else "create", old=old, new=stored_values(obj))

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        record_deletions(actor=request.user.get_username(), instances=[obj])
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        record_deletions(actor=request.user.get_username(), instances=list(queryset))
        super().delete_queryset(request, queryset)

    def _record(
        self, request: HttpRequest, obj: models.Model, verb: str, *, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        action = f"{obj._meta.model_name}.{verb}"
        record_change(actor=request.user.get_username(), action=action, instance=obj, old=old, new=new)


class RecordAdmin(StateAdmin):
    """A record of what happened: nobody adds, changes or deletes it here. The latest first, and in no other order: there
    are too many to sort."""

    sortable_by = ()

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
