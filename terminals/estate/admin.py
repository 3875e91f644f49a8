"""The estate in the admin."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy
from unfold.decorators import display

from terminals.common.admin_base import AuditedAdmin, Labels
from terminals.common.audit.services import stored_values
from terminals.common.errors import Refusal
from terminals.common.scope import reach_of
from terminals.common.words import TONES, choices, field_errors, sentence, word
from terminals.estate import selectors, services
from terminals.estate.models import Merchant, Organisation, Store, Terminal, TerminalGroup, TerminalModel
from terminals.estate.registering import register_terminal
from terminals.estate.rules import (
    LINKED_STATES,
    TerminalState,
    check_identifier,
    check_tags,
    check_time_zone,
    device_id_for,
)
from terminals.estate.targets.choosing import check_filter, matching

NODE_LINKS = "pages/node_links.html"  # to the terminals and the parameters of a node


class MerchantForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_mid(self) -> str:
        with field_errors():
            return check_identifier(self.cleaned_data["mid"])


class OrganisationForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_parent(self) -> Organisation | None:
        parent: Organisation | None = self.cleaned_data["parent"]
        with field_errors():
            selectors.check_parent(self.instance, parent)
        return parent


@admin.register(Organisation)
class OrganisationAdmin(AuditedAdmin):
    form = OrganisationForm
    change_form_before_template = NODE_LINKS
    list_display = ["name", "kind", "parent"]
    list_select_related = ["parent"]
    search_fields = ["name"]
    autocomplete_fields = ["parent"]


@admin.register(Merchant)
class MerchantAdmin(AuditedAdmin):
    form = MerchantForm
    change_form_before_template = NODE_LINKS
    list_display = ["name", "mid", "organisation"]
    list_select_related = ["organisation"]
    search_fields = ["name", "mid"]
    autocomplete_fields = ["organisation"]


class StoreForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_merchant(self) -> Merchant:
        with field_errors():
            selectors.check_new_merchant(self.instance, self.cleaned_data["merchant"])
        return self.cleaned_data["merchant"]  # type: ignore[no-any-return]

    def clean_time_zone(self) -> str:
        with field_errors():
            return check_time_zone(self.cleaned_data["time_zone"])


@admin.register(Store)
class StoreAdmin(AuditedAdmin):
    form = StoreForm
    change_form_before_template = NODE_LINKS
    list_display = ["name", "merchant", "city", "time_zone"]
    list_select_related = ["merchant"]
    search_fields = ["name", "city", "merchant__name"]
    autocomplete_fields = ["merchant"]

    def save_model(self, request: HttpRequest, obj: Store, form: Any, change: bool) -> None:
        before = form.initial["time_zone"] if change else obj.time_zone
        super().save_model(request, obj, form, change)
        services.follow_clock(obj, before)


class GroupForm(forms.ModelForm):  # type: ignore[type-arg]
    user: Any  # who fills it in; set by the page

    def clean_filter(self) -> str:
        text: str = self.cleaned_data["filter"]
        if text:
            with field_errors():
                check_filter(text, self.user)
        return text

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("filter") and values.get("members"):
            raise forms.ValidationError(gettext("a group has a filter or named terminals, not both"))
        nodes = [name for name in ("organisation", "merchant", "store") if values.get(name)]
        if len(nodes) > 1 or not (nodes or reach_of(self.user, "terminals.change_terminalgroup").everywhere):
            raise forms.ValidationError(gettext("choose one organisation, one merchant or one store"))
        return values


@admin.register(TerminalGroup)
class TerminalGroupAdmin(AuditedAdmin):
    form = GroupForm
    change_form_before_template = NODE_LINKS
    list_display = ["name", "filter", "its_terminals", "organisation", "merchant", "store"]
    list_select_related = ["organisation", "merchant", "store"]
    search_fields = ["name"]
    fields = ["name", "filter", "members", "organisation", "merchant", "store"]
    autocomplete_fields = ["members", "organisation", "merchant", "store"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.user = request.user
        return form

    @admin.display(description=gettext_lazy("terminals"))
    def its_terminals(self, group: TerminalGroup) -> str:
        query = urlencode({"filter": f'group = "{group.name}"'})
        return format_html(
            '<a href="{}?{}">{}</a>', reverse("admin:terminals_terminal_changelist"), query, gettext("list")
        )

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = list(form.instance.members.values_list("pk", flat=True))
        super().save_related(request, form, formsets, change)
        services.record_members(form.instance, before, actor=request.user.get_username())


@admin.register(TerminalModel)
class TerminalModelAdmin(AuditedAdmin):
    list_display = ["vendor", "name", "platform"]
    search_fields = ["vendor", "name"]


class OnlineFilter(admin.SimpleListFilter):
    """The overview's two numbers, counted alike: in service and heard lately, or in service and not."""

    title = gettext_lazy("link")
    parameter_name = "link"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return choices(("online", "offline"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> QuerySet[Terminal]:
        if self.value() == "online":
            return queryset.filter(session__online=True)
        if self.value() == "offline":
            return queryset.filter(state__in=LINKED_STATES).exclude(session__online=True)
        return queryset


class LockedFilter(admin.SimpleListFilter):
    title = gettext_lazy("locked")
    parameter_name = "locked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return choices(("locked",))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> QuerySet[Terminal]:
        return queryset.filter(session__locked=True) if self.value() else queryset


class TerminalOwnedAdmin:
    """A list of things that belong to terminals: searched by a part of the serial, or by the whole of `search_whole`."""

    search_whole: tuple[str, ...] = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not (text := search_term.strip()):
            return queryset, False
        found = selectors.of_terminals_named(text)
        for column in self.search_whole:
            found |= Q(**{column: text})
        return queryset.filter(found), False


class TargetFilter(admin.SimpleListFilter):
    """The filter language, docs/filters.md. It is typed above the list; beside it, its text is only kept."""

    title = gettext_lazy("filter")
    parameter_name = "filter"
    template = "pages/filter_kept.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return []

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"name": self.parameter_name, "value": self.value()}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> QuerySet[Terminal]:
        if not self.value():
            return queryset
        try:
            return matching(queryset, self.value() or "", request.user)
        except Refusal as refusal:
            request.refused_filter = sentence(refusal)  # type: ignore[attr-defined]  # told beside it: pages/terminal_list_bar.html
            return queryset.none()


class TerminalForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_serial(self) -> str:
        with field_errors():
            device_id = device_id_for(self.cleaned_data["serial"])
        if Terminal.objects.exclude(pk=self.instance.pk).filter(device_id=device_id).exists():
            told = gettext("another terminal has the device id %(device_id)s; use another serial")
            raise forms.ValidationError(told % {"device_id": device_id})
        return str(self.cleaned_data["serial"])

    def clean_tid(self) -> str:
        with field_errors():
            return check_identifier(self.cleaned_data["tid"])

    def clean_mid(self) -> str:
        with field_errors():
            return check_identifier(self.cleaned_data["mid"])

    def clean_tags(self) -> list[str]:
        with field_errors():
            check_tags(self.cleaned_data["tags"])
        return list(self.cleaned_data["tags"])

    def clean(self) -> dict[str, Any]:
        """The database says the same of a TID, but to nobody who types."""
        values = super().clean() or {}
        store, tid = values.get("store"), values.get("tid")
        if store and self.instance.pk and store.pk != self.initial.get("store"):
            for refusal in services.refuse_move([self.instance.pk], store).values():
                self.add_error("store", sentence(refusal))
        others = Terminal.objects.exclude(pk=self.instance.pk).exclude(state=TerminalState.RETIRED)
        if store and tid and (other := others.filter(store=store, tid=tid).first()):
            told = gettext("%(other)s of this store has this TID; retire it first, or choose another TID")
            self.add_error("tid", told % {"other": other})
        return values


@admin.register(Terminal)
class TerminalAdmin(AuditedAdmin):
    """Registering shows the activation code once. A terminal is opened on its own page, not in a form."""

    form = TerminalForm
    fields = ["serial", "model", "store", "tid", "mid", "tags"]
    list_display = ["shown_serial", "store", "model", "shown_state", "shown_link", "tid"]
    list_display_links = None
    list_filter_submit = True  # or the filter that is typed belongs to no form
    list_filter = [TargetFilter, OnlineFilter, "state", LockedFilter, "model"]
    # What the overview's numbers lead to; as side filters they would look through the whole table for their choices.
    lookups = (
        "health__printer",
        "health__screen",
        "health__keypad",
        "health__card_reader",
        "tamper_alarm__active",
    )
    list_select_related = ["store__merchant", "model", "session"]
    sortable_by: tuple[str, ...] = ("shown_serial",)  # what has an index
    search_fields = ["serial", "tid", "store__name"]
    autocomplete_fields = ["store", "model"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        return (selectors.find_terminals(queryset, text) if text else queryset), False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["serial"] if obj else []

    @admin.display(description=gettext_lazy("serial"), ordering="serial")
    def shown_serial(self, terminal: Terminal) -> str:
        return format_html('<a href="{}">{}</a>', reverse("terminal-page", args=[terminal.pk]), terminal.serial)

    @display(description=gettext_lazy("link"), label=Labels(TONES))  # type: ignore[untyped-decorator]
    def shown_link(self, terminal: Terminal) -> tuple[str, str]:
        session = getattr(terminal, "session", None)
        if session is not None and session.locked:
            return "locked", f"{word('online' if session.online else 'offline')}, {word('locked')}"
        said = "online" if session is not None and session.online else "offline"
        return said, word(said)

    def save_model(self, request: HttpRequest, obj: Terminal, form: Any, change: bool) -> None:
        if change:
            old = stored_values(obj)
            super().save_model(request, obj, form, change)
            services.note_edit(obj, old, actor=request.user.get_username())
            return
        values = {name: form.cleaned_data[name] for name in self.fields}
        with transaction.atomic():
            made = register_terminal(actor=request.user.get_username(), **values)
        obj.pk = made.pk
        obj.refresh_from_db()

    def response_add(self, request: HttpRequest, obj: Terminal, post_url_continue: str | None = None) -> HttpResponse:
        told = gettext("%(serial)s is registered. Make an activation code to enrol it.")
        messages.success(request, told % {"serial": obj.serial})
        return redirect("terminal-page", pk=obj.pk)
