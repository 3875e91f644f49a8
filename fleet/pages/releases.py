"""A release in the browser: what it is, who built it, where it runs, what it is made of; approve, deprecate, withdraw."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from firmware import releases
from firmware.models import Installation, Release
from firmware.rules import OPEN, ReleaseState, ReleaseTransition, Severity
from firmware.selectors import PREFIX, sendable, that_move
from fleet.pages import tallies
from fleet.pages.buttons import Button, press
from fleet.pages.guards import staff_with
from fleet.pages.selectors import day_of
from terminals.campaigns.models import Campaign
from terminals.campaigns.planning import PROPOSE
from terminals.campaigns.rules import UNFINISHED
from terminals.common.scope import holds, reach_of, within

SEE = "firmware.view_release"
SHOWN = 200  # components that the page names; the API and the list have all
COUNTED = 10_000  # a page counts no further


def _release(pk: int) -> Release:
    return get_object_or_404(Release.objects.select_related("package"), pk=pk)


@staff_with(SEE)
@require_GET
def release_page(request: HttpRequest, pk: int) -> HttpResponse:
    release = _release(pk)
    may = holds(request.user, releases.APPROVE_RELEASE, release)
    mine = release.created_by == request.user.get_username()
    now, runs = timezone.now(), f"{release.package.component} {release.version}"
    running = tallies.read([("software", reach_of(request.user, "terminals.view_terminal"))], *day_of(now))["software"]
    under_way = within(Installation.objects.all(), request.user, "firmware.view_installation").filter(
        release=release, state__in=OPEN
    )
    campaigns = within(Campaign.objects.all(), request.user, "campaigns.view_campaign").filter(
        that_move(release), thing__startswith=PREFIX
    )
    context: dict[str, Any] = {
        "title": str(release),
        "release": release,
        "now": now,
        "models_only": list(release.models_only.all()),
        "running": running.get(runs, 0),
        "under_way": under_way[:COUNTED].count(),
        "counted": COUNTED,
        "campaigns": campaigns.order_by("-pk")[:10],
        "live_campaigns": campaigns.filter(state__in=UNFINISHED).count(),
        "components": release.components.all()[:SHOWN],
        "component_total": release.components.count(),
        "weaknesses": sorted(release.weaknesses.all(), key=lambda one: WORST_FIRST.index(one.severity))[:SHOWN],
        "weakness_total": release.weaknesses.count(),
        "filter": f'component = "{runs}"',
        "is_own": mine and release.state == ReleaseState.DRAFT,
        "may_approve": may and not mine and ReleaseTransition.approve.leaves(release.state),
        "may_deprecate": may and ReleaseTransition.deprecate.leaves(release.state),
        "may_reinstate": may and ReleaseTransition.reinstate.leaves(release.state),
        "may_withdraw": may and ReleaseTransition.withdraw.leaves(release.state),
        "may_send": sendable().filter(pk=release.pk).exists() and holds(request.user, PROPOSE, release),
    }
    return render(request, "pages/release.html", admin.site.each_context(request) | context)


WORST_FIRST = [severity.value for severity in Severity]


@staff_with(SEE)
@require_POST
def release_action(request: HttpRequest, pk: int) -> HttpResponse:
    """Do what a button of the release's page asks for."""
    return press(request, _release(pk), BUTTONS, "release")


def _approve(request: HttpRequest, release: Release) -> str:
    actor, seen = request.user.get_username(), request.POST.get("sha256", "")
    if releases.approve_release(release=release, actor=actor, sha256=seen).listed_at is None:
        return _("Approved. It can be sent when the custodians of its platform have listed it.")
    return _("Approved: it can be sent to terminals.")


def _deprecate(request: HttpRequest, release: Release) -> str:
    reason = request.POST.get("reason", "")
    releases.deprecate_release(release=release, actor=request.user.get_username(), reason=reason)
    return _("Deprecated: it is offered no more.")


def _reinstate(request: HttpRequest, release: Release) -> str:
    releases.reinstate_release(release=release, actor=request.user.get_username())
    return _("It is offered again.")


def _withdraw(request: HttpRequest, release: Release) -> str:
    reason = request.POST.get("reason", "")
    releases.withdraw_release(release=release, actor=request.user.get_username(), reason=reason)
    return _("Withdrawn: no terminal can fetch it any more. Those that run it go on running it.")


BUTTONS = {
    "approve": Button(releases.APPROVE_RELEASE, _approve),
    "deprecate": Button(releases.APPROVE_RELEASE, _deprecate),
    "reinstate": Button(releases.APPROVE_RELEASE, _reinstate),
    "withdraw": Button(releases.APPROVE_RELEASE, _withdraw),
}
