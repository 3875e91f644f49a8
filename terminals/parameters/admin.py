"""Parameter versions in the admin: write the next one; send it from a terminal's page or the API."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
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
from terminals.parameters.models import ModelParameters, ParameterVersion, TerminalParameters


class ParameterForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = ParameterVersion
        fields = ["name", "parameters"]
        field_classes = {"parameters": InteroperableJSONField}

    def clean_parameters(self) -> dict[str, Any]:
        with field_errors():
            return rules.checked(self.cleaned_data["parameters"])


@admin.register(ParameterVersion)
class ParameterVersionAdmin(ServiceCreatedAdmin):
    form = ParameterForm
    list_display = ["name", "version", "created_at", "created_by"]
    search_fields = ["name"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["name", "document"] if obj else ["name", "parameters"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["document"] if obj else []

    @admin.display(description=_("parameters"))
    def document(self, version: ParameterVersion) -> str:
        return json_in_lines(version.parameters)

    def create(self, request: HttpRequest, form: Any) -> ParameterVersion:
        return services.publish_parameters(actor=request.user.get_username(), **form.cleaned_data)


@admin.register(ModelParameters)
class ModelParametersAdmin(AuditedAdmin):
    list_display = ["model", "version"]
    list_select_related = ["model", "version"]


@admin.register(TerminalParameters)
class TerminalParametersAdmin(RecordAdmin):
    list_display = ["terminal", "wanted", "applied", "shown_state", "changed_at"]
    list_filter = ["state"]
    list_select_related = ["terminal", "wanted", "applied"]
