"""Campaigns in the admin: to find; each has a page of its own (fleet/pages/campaigns.py)."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from terminals.campaigns import planning
from terminals.campaigns.models import Campaign, Member
from terminals.common.admin_base import RecordAdmin
from terminals.estate.admin import TerminalOwnedAdmin


@admin.register(Campaign)
class CampaignAdmin(RecordAdmin):
    list_display = [
        "proposed_at",
        "shown_name",
        "kind",
        "shown_state",
        "total",
        "follows",
        "proposed_by",
        "approved_by",
        "started_at",
    ]
    list_display_links = None
    list_before_template = "pages/campaign_new_link.html"
    list_filter = ["state", "kind"]
    list_select_related = ["proposed_by", "approved_by"]
    search_fields = ["name"]

    @admin.display(description=_("name"))
    def shown_name(self, campaign: Campaign) -> str:
        return format_html('<a href="{}">{}</a>', reverse("campaign", args=[campaign.pk]), campaign.name)

    @admin.display(description=_("follows"), boolean=True)
    def follows(self, campaign: Campaign) -> bool:
        return planning.follows(campaign)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its own page shows more."""
        if self.get_object(request, object_id) is not None and self.has_view_permission(request):
            return redirect("campaign", object_id)
        answer: HttpResponse = super().change_view(request, object_id, *args, **kwargs)
        return answer


@admin.register(Member)
class MemberAdmin(TerminalOwnedAdmin, RecordAdmin):
    list_display = ["terminal", "campaign", "wave_number", "shown_state", "code", "reason", "attempt", "due_at"]
    fields = ["terminal", "state_in_words", "code", "reason", "attempt", "due_at", "ordered_at", "finished_at"]
    list_filter = ["state"]
    lookups = ("wave__campaign", "wave", "code")  # a campaign's page leads to its terminals
    list_select_related = ["terminal", "wave__campaign"]
    search_fields = ["terminal__serial"]

    @admin.display(description=_("campaign"))
    def campaign(self, member: Member) -> str:
        return format_html(
            '<a href="{}">{}</a>', reverse("campaign", args=[member.wave.campaign_id]), member.wave.campaign
        )

    @admin.display(description=_("wave"))
    def wave_number(self, member: Member) -> int:
        return member.wave.number

    @admin.display(description=_("reason"))
    def reason(self, member: Member) -> str:
        return member.reason
