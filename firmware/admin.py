"""Packages and releases in the admin."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from firmware import releases
from firmware.models import SIGNED_OF_PACKAGE, Installation, Package, Release, ReleaseComponent
from terminals.common.admin_base import AuditedAdmin, InteroperableJSONField, RecordAdmin, ServiceCreatedAdmin
from terminals.common.words import requester_name
from terminals.estate.admin import TerminalOwnedAdmin

UPLOADED = ["package", "version", "platform", "artifact", "notes", "models_only", "requires", "conflicts", "expires_at"]


@admin.register(Package)
class PackageAdmin(AuditedAdmin):
    list_display = ["name", "kind", "component", "description"]
    search_fields = ["name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Package | None = None) -> list[str]:
        """Its releases are signed under its name."""
        return list(SIGNED_OF_PACKAGE) if obj is not None and obj.releases.exists() else []


class ReleaseForm(forms.ModelForm):  # type: ignore[type-arg]
    requires = InteroperableJSONField(required=False, label=_("requires"), help_text='{"os": "12.4"}')
    conflicts = InteroperableJSONField(required=False, label=_("conflicts"), help_text='{"emv": "3.1.0"}')

    class Meta:
        model = Release
        fields = UPLOADED

    def clean_artifact(self) -> Any:
        if not self.cleaned_data["artifact"].size:
            raise forms.ValidationError(_("the file is empty; choose the release's file"))
        return self.cleaned_data["artifact"]


@admin.register(Release)
class ReleaseAdmin(ServiceCreatedAdmin):
    """Upload a file; somebody else approves it on its own page (fleet/pages/releases.py)."""

    form = ReleaseForm
    list_display = ["shown_name", "platform", "shown_state", "size", "created_by", "approved_by", "created_at"]
    list_display_links = None
    list_filter = ["state"]
    list_select_related = ["package"]
    search_fields = ["version", "package__name"]

    @admin.display(description=_("release"), ordering="version")
    def shown_name(self, release: Release) -> str:
        url = reverse("release", args=[release.pk])
        return format_html('<a href="{}">{} {}</a>', url, release.package, release.version)

    @admin.display(description=_("size"), ordering="size_bytes")
    def size(self, release: Release) -> str:
        return filesizeformat(release.size_bytes)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its own page shows more."""
        if self.get_object(request, object_id) is not None and self.has_view_permission(request):
            return redirect("release", object_id)
        answer: HttpResponse = super().change_view(request, object_id, *args, **kwargs)
        return answer

    def response_add(self, request: HttpRequest, obj: Release, *args: Any, **kwargs: Any) -> HttpResponse:
        messages.info(request, _("Somebody else must approve it before it can be sent."))
        return redirect("release", obj.pk)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return UPLOADED

    def create(self, request: HttpRequest, form: Any) -> Release:
        return releases.publish_release(actor=request.user.get_username(), **form.cleaned_data)


@admin.register(ReleaseComponent)
class ReleaseComponentAdmin(RecordAdmin):
    """What releases are made of: search for a library to see in which releases it is, and which terminals run them."""

    list_display = ["name", "version", "release", "licences", "terminals"]
    list_display_links = None
    list_select_related = ["release__package"]
    search_fields = ["name", "purl"]
    lookups = ("release",)

    @admin.display(description=_("terminals"))
    def terminals(self, part: ReleaseComponent) -> str:
        named = f"{part.name} {part.version}".strip().replace("\\", "\\\\").replace('"', '\\"')
        asked = urlencode({"filter": f'library = "{named}"'})
        url = reverse("admin:terminals_terminal_changelist")
        return format_html('<a href="{}?{}">{}</a>', url, asked, _("which"))


@admin.register(Installation)
class InstallationAdmin(TerminalOwnedAdmin, RecordAdmin):
    list_display = ["assigned_at", "terminal", "release", "shown_state", "percent", "reason", "asked_by"]
    fields = [
        "terminal",
        "release",
        "state_in_words",
        "percent",
        "reason",
        "command",
        "assigned_at",
        "asked_by",
        "finished_at",
    ]
    list_filter = ["state"]
    list_select_related = ["terminal", "release__package"]
    search_fields = ["terminal__serial"]

    @admin.display(description=_("assigned by"))
    def asked_by(self, installation: Installation) -> str:
        return requester_name(installation.assigned_by)

    @admin.display(description=_("reason"))
    def reason(self, installation: Installation) -> str:
        return installation.reason
