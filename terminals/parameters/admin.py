"""Templates and sets of values in the admin: to find and to publish; values are set on pages of their own."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import (
    AuditedAdmin,
    InteroperableJSONField,
    RecordAdmin,
    ServiceCreatedAdmin,
    json_in_lines,
)
from terminals.common.words import field_errors
from terminals.parameters import rules, services
from terminals.parameters.models import ModelTemplate, ParameterSet, TemplateVersion, TerminalParameters

EXAMPLE = {
    "properties": {
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$", "title": "Currency"},
        "contactless_limits": {"type": "object", "format": "money", "title": "Contactless limits"},
        "tip_enabled": {"type": "boolean", "default": False},
        "wifi_password": {"type": "string", "writeOnly": True},
    }
}


class TemplateForm(forms.ModelForm):  # type: ignore[type-arg]
    name = forms.CharField(max_length=60, label=_("name"), help_text=_("A name that is there gets its next version"))

    class Meta:
        model = TemplateVersion
        fields = ["schema"]
        field_classes = {"schema": InteroperableJSONField}
        help_texts = {"schema": _("JSON Schema (2020-12) of an object: its properties are the parameters")}

    field_order = ["name", "schema"]

    def clean_schema(self) -> dict[str, Any]:
        with field_errors():
            return rules.check_template(self.cleaned_data["schema"])


@admin.register(TemplateVersion)
class TemplateVersionAdmin(ServiceCreatedAdmin):
    form = TemplateForm
    list_display = ["template", "version", "created_at", "created_by"]
    list_select_related = ["template"]
    search_fields = ["template__name"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["template", "version", "document"] if obj else ["name", "schema"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["template", "version", "document"] if obj else []

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"schema": EXAMPLE} | super().get_changeform_initial_data(request)

    @admin.display(description=_("schema"))
    def document(self, version: TemplateVersion) -> str:
        return json_in_lines(version.schema)

    def create(self, request: HttpRequest, form: Any) -> TemplateVersion:
        return services.publish_template(actor=request.user.get_username(), **form.cleaned_data)


@admin.register(ModelTemplate)
class ModelTemplateAdmin(AuditedAdmin):
    list_display = ["model", "template"]
    list_select_related = ["model", "template"]

    def save_model(self, request: HttpRequest, obj: ModelTemplate, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        services.follow_model(obj.model_id)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        services.follow_model(obj.model_id)


@admin.register(ParameterSet)
class ParameterSetAdmin(RecordAdmin):
    """What is set where, the latest first; each level has a page of its own."""

    list_display = ["shown_level", "template", "revision", "is_current", "set_at", "set_by"]
    list_display_links = None
    list_filter = ["is_current", "template"]
    list_select_related = ["template", "organisation", "merchant", "store__merchant", "group", "terminal"]
    list_before_template = "pages/parameters_new.html"

    @admin.display(description=_("level"))
    def shown_level(self, one: ParameterSet) -> str:
        return format_html('<a href="{}">{}</a>', level_url(one), one.level_name)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its level's page shows more."""
        one = self.get_object(request, object_id)
        if one is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return redirect(level_url(one))


def level_url(one: ParameterSet) -> str:
    key = getattr(one, f"{one.level}_id", 0)
    return f"{reverse('parameters-level', args=[one.level, key])}?template={one.template_id}"


@admin.register(TerminalParameters)
class TerminalParametersAdmin(RecordAdmin):
    list_display = ["terminal", "shown_wanted", "shown_applied", "shown_state", "why", "changed_at"]
    list_filter = ["state"]
    list_select_related = [
        "terminal",
        "wanted__template_version__template",
        "applied__template_version__template",
    ]
    fields = ["terminal", "shown_wanted", "shown_applied", "state", "why", "changed_at"]

    @admin.display(description=_("wanted"))
    def shown_wanted(self, one: TerminalParameters) -> str:
        return str(one.wanted or "")

    @admin.display(description=_("applied"))
    def shown_applied(self, one: TerminalParameters) -> str:
        return str(one.applied or "")
