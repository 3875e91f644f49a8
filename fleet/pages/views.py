"""The overview and a terminal's page: inside the admin site, for staff, kept fresh by htmx."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from firmware.models import Release
from firmware.services import assign_release
from fleet.pages import selectors
from terminals.common.errors import Refusal
from terminals.enrolment.services import issue_activation_code
from terminals.estate.models import Terminal
from terminals.estate.rules import COMMANDED_STATES, TRANSITIONS
from terminals.estate.services import transition
from terminals.keys.services import request_key_delivery
from terminals.link.heartbeat import silent_parts
from terminals.link.services import PLAIN_COMMANDS, send_plain_command
from terminals.parameters.models import ParameterVersion
from terminals.parameters.services import configure_terminals
from terminals.settlement.services import request_settlement


def add_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Give the admin's first page the overview (unfold's DASHBOARD_CALLBACK)."""
    return context | {"title": "Overview"} | _overview_context()


def _overview_context() -> dict[str, Any]:
    now = timezone.now()
    return {
        "overview": selectors.overview(now),
        "trouble": selectors.trouble(),
        "silent": silent_parts(now),
        "refreshed_at": now,
    }


@staff_member_required
@require_GET
def overview_panel(request: HttpRequest) -> HttpResponse:
    """The overview's changing part, fetched again and again by the page."""
    return render(request, "pages/overview_panel.html", _overview_context())


@staff_member_required
@require_GET
def terminal_page(request: HttpRequest, pk: int) -> HttpResponse:
    """One terminal: health, money, software, keys, timeline, and what an operator can do."""
    terminal = _terminal(pk)
    releases = Release.objects.filter(platform=terminal.model.platform).select_related("package")[:20]
    context = (
        admin.site.each_context(request)
        | _terminal_context(terminal)
        | {
            "title": terminal.serial,
            "releases": releases,
            "parameter_versions": ParameterVersion.objects.order_by("-id")[:20],
            "plain_commands": PLAIN_COMMANDS,
            "transitions": [name for name in TRANSITIONS[terminal.state] if name in ("suspend", "resume", "retire")],
            "can_enrol": "enrol" in TRANSITIONS[terminal.state],
            "takes_commands": terminal.state in COMMANDED_STATES,
        }
    )
    return render(request, "pages/terminal_page.html", context)


@staff_member_required
@require_GET
def terminal_panel(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "pages/terminal_panel.html", _terminal_context(_terminal(pk)))


def _terminal(pk: int) -> Terminal:
    return get_object_or_404(Terminal.objects.select_related("model", "store__merchant"), pk=pk)


def _terminal_context(terminal: Terminal) -> dict[str, Any]:
    return {"terminal": terminal, "page": selectors.terminal_page(terminal), "refreshed_at": timezone.now()}


@staff_member_required
@require_POST
def terminal_action(request: HttpRequest, pk: int) -> HttpResponse:
    """Do what an operator pressed, and say in a sentence what came of it."""
    terminal = _terminal(pk)
    if not request.user.has_perm("terminals.change_terminal"):
        messages.error(request, "Your account may look at terminals but not act on them.")
        return redirect("terminal-page", pk=pk)
    try:
        with transaction.atomic():
            told = _act(request, terminal, request.user.get_username())
        messages.success(request, told)
    except IntegrityError:
        messages.error(request, "Somebody else, or the terminal itself, did the same at this moment. Look again.")
    except (Refusal, ValidationError) as refusal:
        messages.error(request, " ".join(getattr(refusal, "messages", [str(refusal)])))
    return redirect("terminal-page", pk=pk)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _act(request: HttpRequest, terminal: Terminal, actor: str) -> str:
    """Carry out the named action and return what to tell the operator; raises Refusal where it is refused."""
    name, chosen = request.POST.get("action", ""), request.POST.get("chosen", "")
    if name == "install":
        release = get_object_or_404(Release, pk=_number(chosen))
        assign_release(release=release, terminals=[terminal], actor=actor)
        return f"{release} is on its way."
    if name == "configure":
        version = get_object_or_404(ParameterVersion, pk=_number(chosen))
        configure_terminals(terminals=[terminal], version=version, actor=actor)
        return f"{version} is on its way."
    if name == "deliver_key":
        key = request_key_delivery(terminal=terminal, usage=chosen, actor=actor)
        return f"A new {key.usage} key is on its way; expected KCV {key.kcv}."
    if name == "settle":
        run = request_settlement(terminal=terminal, actor=actor)
        return f"The terminal was asked to settle (run {run.pk})."
    if name == "activation_code":
        code = issue_activation_code(terminal=terminal, actor=actor)
        return f"Activation code, shown only now, valid for 7 days: {code}"
    if name in ("suspend", "resume", "retire"):
        transition(terminal=terminal, name=name, actor=actor)
        return f"The terminal is now {terminal.state}."
    command = send_plain_command(terminal=terminal, command_type=name, actor=actor)
    return f"{command.type} is on its way."
