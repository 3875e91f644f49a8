"""Parameter versions in the admin: write the next one; send it from a terminal's page or the API."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from terminals.common.admin_base import AuditedAdmin, RecordAdmin, ServiceCreatedAdmin
from terminals.common.errors import Refusal
from terminals.common.words import sentence
from terminals.parameters import rules, services
from terminals.parameters.models import ModelParameters, ParameterVersion, TerminalParameters


class ParameterForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_parameters(self) -> dict[str, Any]:
        try:
            return rules.checked(self.cleaned_data["parameters"])
        except Refusal as error:
            raise forms.ValidationError(sentence(error)) from None


@admin.register(ParameterVersion)
class ParameterVersionAdmin(ServiceCreatedAdmin):
    form = ParameterForm
    fields = ["name", "parameters"]
    list_display = ["name", "version", "created_at", "created_by"]
    search_fields = ["name"]

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
