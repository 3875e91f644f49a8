"""The overview and a terminal's page: inside the admin site, for staff, kept fresh by htmx."""

from collections.abc import Container
from functools import partial
from typing import Any
from urllib.parse import quote

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from firmware.models import Release
from firmware.selectors import sendable
from firmware.tuf.services import documents_standing
from fleet.pages import selectors
from fleet.pages.guards import staff_with
from fleet.pages.identities import troubled
from fleet.pages.terminal import TABS, Glance, badges, glance_at, primary_verbs, tabs_for
from fleet.pages.verbs import VERBS, Done, label_of, may, offered
from terminals.campaigns.models import Campaign
from terminals.campaigns.rules import CampaignState, WaveState
from terminals.common.errors import Refusal
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import reach_of, within
from terminals.common.words import sentence
from terminals.enrolment.codes import open_code
from terminals.estate.models import Terminal, TerminalModel
from terminals.estate.rules import TerminalState
from terminals.keys.models import USAGES
from terminals.link.heartbeat import parts_to_look_after
from terminals.link.lag import lag
from terminals.link.services import PLAIN_COMMANDS
from terminals.settlement.selectors import at_stake

MOST_CHOICES = 200

SEE_RELEASES = "firmware.view_release"


def add_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Give the admin's first page the overview (unfold's DASHBOARD_CALLBACK), to who may see terminals."""
    sees = request.user.has_perm(selectors.VIEW)
    return context | {"title": _("Overview"), "may_see_fleet": sees} | (_overview_context(request) if sees else {})


def _overview_context(request: HttpRequest) -> dict[str, Any]:
    now, reach = timezone.now(), partial(reach_of, request.user)
    return {
        "parts": [part for part, permission in selectors.PARTS.items() if reach(permission).paths],
        "overview": selectors.overview(now, reach),
        "worries": selectors.worries(request.user, now),
        "unresolved_runs": selectors.unresolved_runs(request.user),
        "stopped_campaigns": _stopped_campaigns(request),
        "late_documents": [one for one in documents_standing(now) if one.late] if reach(SEE_RELEASES).paths else [],
        "identities": troubled(request.user, selectors.VIEW, now),
        "silent": parts_to_look_after(now),
        "lag": lag(now),
        "refreshed_at": now,
        "today": "&".join(
            f"finished_at__{name}={quote(instant.isoformat())}"
            for name, instant in zip(("gte", "lt"), selectors.day_of(now), strict=True)
        ),
    }


def _stopped_campaigns(request: HttpRequest) -> QuerySet[Campaign]:
    stopped = Campaign.objects.filter(state=CampaignState.PAUSED, waves__state=WaveState.STOPPED)
    found: QuerySet[Campaign] = within(stopped, request.user, "campaigns.view_campaign").order_by("-pk")[:5]
    return found


@staff_with(selectors.VIEW)
@require_GET
def overview_panel(request: HttpRequest) -> HttpResponse:
    """The overview's changing part, fetched again and again by the page."""
    return render(request, "pages/overview_panel.html", _overview_context(request))


@staff_with(selectors.VIEW)
@require_GET
def terminal_page(request: HttpRequest, pk: int) -> HttpResponse:
    """One terminal: health, money, software, keys, timeline, and what an operator can do."""
    return _show_terminal(request, _terminal(request, pk))


def _show_terminal(request: HttpRequest, terminal: Terminal, done: Done | None = None) -> HttpResponse:
    context = admin.site.each_context(request) | _terminal_context(request, terminal)
    response = render(request, "pages/terminal_page.html", context | {"title": terminal.serial, "done": done})
    if done is not None:
        response["Cache-Control"] = "no-store"
    return response


@staff_with(selectors.VIEW)
@require_GET
def terminal_panel(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "pages/terminal_panel.html", _terminal_context(request, _terminal(request, pk)))


def _terminal(request: HttpRequest, pk: int) -> Terminal:
    """Return a terminal that the operator may see; one that stands elsewhere in the tree is not found."""
    visible = within(
        Terminal.objects.select_related("model", "store__merchant", "replaces", "replaced_by"),
        request.user,
        selectors.VIEW,
    )
    terminal: Terminal = get_object_or_404(visible, pk=pk)
    return terminal


def _terminal_context(request: HttpRequest, terminal: Terminal) -> dict[str, Any]:
    """Return what a terminal's page shows and offers; all of it is fetched again and again."""
    now, parts = timezone.now(), selectors.parts_for(request.user, terminal.path)
    glance, verbs = glance_at(terminal, parts), offered(terminal, request.user)
    silent = [part for part in parts_to_look_after(now) if part != "worker"]
    tabs, registered = tabs_for(parts), terminal.state == TerminalState.REGISTERED
    tab = _tab_of(request, tabs)
    locked = glance.session is not None and glance.session.locked
    primary = primary_verbs(verbs, registered=registered, locked=locked)
    return tabs[tab].read(terminal, parts) | {
        "terminal": terminal,
        "glance": glance,
        "badges": badges(terminal, glance, silent=bool(silent)),
        "tabs": tabs,
        "tab": tab,
        "tab_template": f"pages/terminal_{tab}.html",
        "parts": parts,
        "silent": silent,
        "refreshed_at": now,
        "verbs": verbs,
        "primary": [(name, label_of(name)) for name in primary],
        "plain_commands": [name for name in _plain_commands(glance) if name in verbs and name not in primary],
        "more_code": "activation_code" in verbs and "activation_code" not in primary,
        "usages": [(usage, label) for usage, label in USAGES if "deliver_key" in verbs],
        "at_stake": at_stake(terminal.pk) if "money" in parts or {"retire", "suspend", "replace"} & verbs else None,
        "models": TerminalModel.objects.all()[:MOST_CHOICES] if "replace" in verbs else [],
        "releases": _releases_for(terminal) if "install" in verbs else [],
        "code": open_code(terminal) if registered else None,
    }


def _plain_commands(glance: Glance) -> list[str]:
    """Return the commands that would change something: what is locked, or about to be, can be unlocked, and the reverse."""
    locked = glance.session is not None and glance.session.locked
    under_way = {command.type for command in glance.open_commands}
    useless = {"unlock"} - ({"unlock"} if locked or "lock" in under_way else set())
    useless |= {"lock"} if locked and "unlock" not in under_way else set()
    return [name for name in PLAIN_COMMANDS if name not in useless]


def _tab_of(request: HttpRequest, tabs: Container[str]) -> str:
    """Return the tab that an address or a form names, or the one that all have."""
    named = request.POST.get("tab") or request.GET.get("tab", "")
    return named if named in tabs else "timeline"


def _releases_for(terminal: Terminal) -> QuerySet[Release]:
    fitting = sendable().filter(platform=terminal.model.platform)
    return fitting[:20]


@staff_with(selectors.VIEW)
def terminal_action(request: HttpRequest, pk: int) -> HttpResponse:
    """Do what an operator pressed, and say in a sentence what came of it."""
    back = f"{reverse('terminal-page', args=[pk])}?tab={_tab_of(request, TABS)}"
    if request.method != "POST":  # the address bar shows this address after a button with a secret
        return redirect(back)
    terminal, verb = _terminal(request, pk), VERBS.get(request.POST.get("action", ""))
    if verb is None or not may(request.user, verb, terminal):
        raise PermissionDenied
    require_fresh_login(request, verb.permission)
    try:
        with transaction.atomic():
            done = verb.run(terminal, request.POST, request.user)
        if done.secret:  # on this answer alone: a message would lie in a cookie or a session
            return _show_terminal(request, _terminal(request, done.at or pk), done)
        messages.success(request, done.told)
    except IntegrityError:
        messages.error(request, _("Somebody else, or the terminal itself, did the same at this moment. Look again."))
    except Refusal as refusal:
        messages.error(request, sentence(refusal))
        back += f"#do-{request.POST['action']}"  # where it can be put right
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect(back)
