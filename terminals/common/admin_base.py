"""What the admin pages share: changes go with their audit entry, records are only looked at, lists never count all."""

import json
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import FieldDoesNotExist, PermissionDenied, ValidationError
from django.core.paginator import Page, Paginator
from django.db import DataError, IntegrityError, OperationalError, connection, models, transaction
from django.forms import ModelForm
from django.forms.fields import InvalidJSONInput
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
)
from django.shortcuts import redirect
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy
from psycopg.errors import DeadlockDetected
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from terminals.common import admin_export
from terminals.common.api.parsers import parse_json
from terminals.common.audit.services import record_change, record_deletions, stored_values
from terminals.common.errors import Refusal
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import holds, opens, placed_by, reach_of, within
from terminals.common.words import TONES, sentence

COUNT_LIMIT = 10_000
FAR_DOWN = 500  # rows


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than COUNT_LIMIT, so that a list of a million rows opens like one of a hundred."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, models.QuerySet):
            return rows.order_by().values("pk")[:COUNT_LIMIT].count()
        return len(rows)

    def page(self, number: Any) -> Page[Any]:
        """Return a page. One far down finds its keys first: what a list joins is then joined for its rows, not for all before."""
        page: Page[Any] = super().page(number)
        rows = page.object_list
        if isinstance(rows, models.QuerySet) and page.start_index() > FAR_DOWN:
            keys = list(rows.values_list("pk", flat=True))
            page.object_list = cast("models.QuerySet[Any]", self.object_list).filter(pk__in=keys)
        return page


class IndexedChangeList(ChangeList):  # type: ignore[misc]
    """Sorts by nothing but `sortable_by`, whatever the address asks for: Django only hides the arrows."""

    def get_ordering_field(self, field_name: str) -> Any:
        allowed = self.model_admin.sortable_by
        return super().get_ordering_field(field_name) if allowed is None or field_name in allowed else None


def _fits(model: type[models.Model], name: str, value: str) -> bool:
    try:
        field: Any = model._meta.get_field(name)
        wanted = field.target_field if field.is_relation else field
        wanted.to_python(value)
    except (FieldDoesNotExist, ValidationError, ValueError, AttributeError):
        return False
    return "\0" not in value


class Labels(dict[str, str]):
    """The colours of badges; unfold would show the bare value of a state that has none instead of its word."""

    def __missing__(self, state: str) -> None:
        return None


def json_in_lines(value: Any) -> str:
    """Return JSON for a read-only field, a member a line."""
    return format_html('<pre class="tw-json">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False, default=str))


MAX_SHOWN = 10_000  # characters of a JSON text that cannot be read


class InteroperableJSONField(forms.JSONField):
    """JSON as the API takes it."""

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str) or value in self.empty_values:
            return super().to_python(value)
        try:
            return parse_json(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What cannot be read is shown as it was typed, as far as a page can show it."""
        try:
            return parse_json(data) if isinstance(data, str) else data
        except ValueError:
            return InvalidJSONInput(data[:MAX_SHOWN].encode("utf-8", "replace").decode())


class StateAdmin(ModelAdmin):  # type: ignore[misc]
    """What every list and form shares: it reaches no further than the operator, an address asks only for what is offered, a state
    is a badge, a refusal is told."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return what the operator may look at; lists, forms, choices by name and deletions all start from it."""
        verb = "view" if request.user.has_perm(self.permission_to("view")) else "change"
        return within(super().get_queryset(request), request.user, self.permission_to(verb))

    # Where a verb needs another permission than Django's own of the model: the one beside its service.
    needs: dict[str, str] = {}

    def permission_to(self, verb: str) -> str:
        return self.needs.get(verb, f"{self.opts.app_label}.{verb}_{self.opts.model_name}")

    def may(self, request: HttpRequest, verb: str, obj: Any = None) -> bool:
        """Whether the operator may do it to an object, or to any."""
        permission = self.permission_to(verb)
        if obj is not None and obj.pk is not None:
            return holds(request.user, permission, obj)
        return opens(request.user, permission, self.model)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "view", obj) or self.may(request, "change", obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "delete", obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer, and take, only what lies where the operator may do what the form does."""
        verb = "change" if request.resolver_match and "object_id" in request.resolver_match.kwargs else "add"
        rows = kwargs.get("queryset") or db_field.remote_field.model._default_manager.all()
        kwargs["queryset"] = within(rows, request.user, self.permission_to(verb)) | self._present(
            rows, db_field, request
        )
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _present(self, rows: models.QuerySet[Any], db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        """What an object refers to already may stay as it is, though it is out of the operator's reach."""
        key = request.resolver_match.kwargs.get("object_id") if request.resolver_match else None
        if key is None or reach_of(request.user, self.permission_to("change")).everywhere:
            return rows.none()
        mine = self.get_queryset(request).filter(pk=unquote(key)).values(db_field.attname)
        return rows.filter(pk__in=mine)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """The same for references to many; what has no place (permissions, say) is its own page's business."""
        related = db_field.remote_field.model
        if placed_by(related):
            verb = "change" if request.resolver_match and "object_id" in request.resolver_match.kwargs else "add"
            kwargs["queryset"] = within(related._default_manager.all(), request.user, self.permission_to(verb))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        """What lies elsewhere in the tree answers like what is nowhere."""
        raise Http404

    list_max_show_all = 50  # what is more is a file's business
    list_after_template = "pages/list_export.html"
    export_kinds = ("csv", "xlsx")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """The list, or with `_export` the list as a file: the same rows and columns, filtered and narrowed alike."""
        asked = request.GET.copy()
        kind = asked.pop("_export", [""])[0]
        if kind not in self.export_kinds:
            return super().changelist_view(request, extra_context)  # type: ignore[no-any-return]
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.GET = asked  # type: ignore[assignment]
        try:
            return admin_export.export(self, request, kind)
        except IncorrectLookupParameters:
            return redirect(f"{request.path}?e=1")
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
            return redirect(f"{request.path}?{asked.urlencode()}")

    # What an address may filter by besides the filters that a list shows: the links of our own pages.
    lookups: tuple[str, ...] = ()

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Whether an address may filter by it. Django takes every column, and so would tell what a page hides."""
        plain = lookup.removesuffix("__exact").removesuffix("__isnull").removesuffix("__id")
        shown = {getattr(one, "parameter_name", one) for one in self.list_filter}
        return lookup in self.lookups or plain in {"pk", "id"} | shown | set(self.lookups)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What an address fills in, as far as the fields could take it."""
        given = super().get_changeform_initial_data(request)
        return {name: value for name, value in given.items() if _fits(self.opts.model, name, value)}

    def response_action(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Somebody who made up keys has chosen nothing."""
        try:
            with transaction.atomic():
                return super().response_action(request, queryset)  # type: ignore[no-any-return]
        except (ValueError, ValidationError, DataError):
            messages.warning(request, gettext("Nothing was chosen; nothing was changed."))
            return redirect(request.get_full_path())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return IndexedChangeList

    @display(description=gettext_lazy("state"), label=Labels(TONES), ordering="state")  # type: ignore[untyped-decorator]
    def shown_state(self, obj: Any) -> tuple[str, str]:
        return obj.state, obj.get_state_display()

    @admin.display(description=gettext_lazy("state"))
    def state_in_words(self, obj: Any) -> str:
        """For forms, whose read-only fields know no badges."""
        tone = TONES.get(obj.state, "")
        return format_html('<span class="tw-pill tw-{}-tone">{}</span>', tone, obj.get_state_display())

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """What a service refuses is told on the page that asked; nothing was changed."""
        if request.method == "POST":
            require_fresh_login(request, self.permission_to("change" if args and args[0] else "add"))
        try:
            return super().changeform_view(request, *args, **kwargs)  # type: ignore[no-any-return]
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
        except (IntegrityError, DataError, OperationalError) as error:
            if isinstance(error, OperationalError) and not isinstance(error.__cause__, DeadlockDetected):
                raise  # the database is away
            told = gettext(
                "A rule of the data stands against it, or somebody else changed the same; nothing was changed."
            )
            messages.error(request, told)
        return redirect(request.get_full_path())


class AuditedAdmin(StateAdmin):
    """An editable object: every change is audited in the admin's own transaction."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """What is about to be saved is locked first: a save writes all columns, and must not undo another's change."""
        obj = super().get_object(request, object_id, from_field)
        if obj is not None and request.method == "POST" and connection.in_atomic_block:  # a history is only read
            self.lock(obj.pk)
            obj = super().get_object(request, object_id, from_field)
        return obj

    def lock(self, pk: Any) -> None:
        """Keep a row as it is until the transaction ends."""
        self.model._default_manager.select_for_update(of=("self",), no_key=True).filter(pk=pk).first()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What others still stand on is why it cannot go; whether one might delete those does not matter then."""
        to_delete, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return to_delete, counts, set() if protected else lacking, protected

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        old = stored_values(obj) if change else {}
        super().save_model(request, obj, form, change)
        self.refuse_beyond_reach(request, obj, change)
        self._record(request, obj, "update" if change else "create", old=old, new=stored_values(obj))

    def refuse_beyond_reach(self, request: HttpRequest, obj: Any, change: bool) -> None:
        """Raise Refusal where what was just made or moved stands where the operator may not do so."""
        if not self.may(request, "change" if change else "add", obj):
            raise Refusal("beyond_your_reach", "that is beyond the part of the estate in which you may do this")

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "POST":
            require_fresh_login(request, self.permission_to("delete"))
        return super().delete_view(request, *args, **kwargs)  # type: ignore[no-any-return]

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        record_deletions(actor=request.user.get_username(), instances=[obj])
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        require_fresh_login(request, self.permission_to("delete"))
        allowed = within(queryset, request.user, self.permission_to("delete"))
        if allowed is not queryset and allowed.count() != queryset.count():
            raise PermissionDenied
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
