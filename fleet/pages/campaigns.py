"""Campaigns in the browser: say what and to whom, look at what would happen, propose; agree, start, watch, pause, roll back."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib import admin
from django.db.models import Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from firmware.moving import RUNS_IT
from fleet.campaign_kinds import PARTS as PARTS_OF_A_TERMINAL
from fleet.pages.buttons import Button, press
from fleet.pages.campaign_form import KINDS, CampaignForm
from fleet.pages.campaign_words import next_of, rules_of, why
from fleet.pages.guards import staff_with
from fleet.pages.selectors import PARTS
from terminals.campaigns import following, planning, selectors, services
from terminals.campaigns.kinds import kinds
from terminals.campaigns.models import Campaign, Member
from terminals.campaigns.rules import LIVE, UNFINISHED, CampaignState, MemberState, WaveState
from terminals.campaigns.settings import checked
from terminals.common.errors import Refusal
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import holds, within
from terminals.common.words import format_minor, sentence, word
from terminals.settlement.models import Batch

SEE = "campaigns.view_campaign"
SHOWN = 20  # terminals in trouble that a page names
LOOKED_AT = 10_000  # terminals whose money a page adds up


@staff_with(planning.PROPOSE)
def new_page(request: HttpRequest) -> HttpResponse:
    """Choose; see what would happen; press once more to propose it."""
    filled = ("filter", "downgrade", "follows", *(name for _kind, name in KINDS))
    first = {name: request.GET.get(name, "")[:2000] for name in filled if name in request.GET}
    form = CampaignForm(request.user, request.POST or None, initial=first)
    shown: planning.Preview | None = None
    seen, wanted = "", None
    if request.method == "POST" and form.is_valid():
        try:
            wanted = form.wanted
            seen = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
            if "propose" in request.POST and request.POST.get("seen") == seen:
                require_fresh_login(request, kinds.named(wanted["kind"]).permission)
                made = planning.propose(name=form.cleaned_data["name"], user=request.user, **wanted)
                return redirect("campaign", pk=made.pk)
            if "propose" in request.POST:
                form.add_error(
                    None, _("What is asked for was changed since it was shown: look at it below, and propose it then.")
                )
            shown = planning.preview(user=request.user, **wanted)
        except Refusal as refusal:
            form.add_error(None, sentence(refusal))
    context = admin.site.each_context(request) | {
        "title": _("New campaign"),
        "form": form,
        "preview": shown,
        "seen": seen,
        "rules": rules_of(checked(wanted["settings"])) if shown and wanted else [],
        "left_out": _left_out(shown) if shown else [],
    }
    return render(request, "pages/campaign_new.html", context)


def _left_out(shown: planning.Preview) -> list[tuple[str, int, list[str], bool]]:
    """Return who would not be asked now: why, how many, some serials, and whether they would wait."""
    return [
        (sentence(one.refusal), one.number, one.serials, one.refusal.reason in shown.passing) for one in shown.left_out
    ]


def _campaign(request: HttpRequest, pk: int) -> Campaign:
    rows = within(Campaign.objects.select_related("proposed_by", "approved_by", "rolls_back"), request.user, SEE)
    found: Campaign = get_object_or_404(rows, pk=pk)
    return found


def _context(request: HttpRequest, campaign: Campaign) -> dict[str, Any]:
    waves = selectors.waves_of([campaign])[campaign.pk]
    states: dict[str, int] = {}
    for wave in waves:
        for state, number in wave.states.items():
            states[state] = states.get(state, 0) + number
    roll_backs = list(campaign.rolled_back_by.order_by("pk"))
    return _buttons(request, campaign, states, roll_backs) | {
        "campaign": campaign,
        "told": kinds.named(campaign.kind).told(campaign.arguments),
        "waves": [(wave, _bars(wave), [why(one) for one in wave.unmet]) for wave in waves],
        "states": states,
        "percent": _having(waves) * 100 // max(campaign.total, 1),
        "next": next_of(campaign, waves),
        "expected_end": selectors.expected_end(campaign, waves, timezone.now()),
        "nobody_joins": _nobody_joins(campaign),
        "follows": planning.follows(campaign),
        "rules": rules_of(campaign.settings),
        "stopped": [wave for wave in waves if wave.state == WaveState.STOPPED],
        "at_stake": _at_stake(request, campaign),
        "is_more": _touched(waves) > LOOKED_AT,
        "trouble": selectors.in_trouble(campaign, request.user)[:SHOWN],
        "shown": SHOWN,
        "parts": PARTS_OF_A_TERMINAL,  # whose faults a filter finds
        "roll_backs": roll_backs,
        "refreshed_at": timezone.now(),
    }


def _having(waves: Sequence[selectors.WaveSeen]) -> int:
    """Return how many terminals have what is moved: brought by the campaign, or there before."""
    return sum(wave.states.get(MemberState.SUCCEEDED, 0) + wave.codes.get(RUNS_IT, 0) for wave in waves)


def _nobody_joins(campaign: Campaign) -> str:
    """Say why nobody joins a campaign that follows any more; nothing where they do."""
    if not planning.follows(campaign) or campaign.state not in LIVE:
        return ""
    refusal = following.nobody_joins(campaign)
    return sentence(refusal) if refusal else ""


def _buttons(
    request: HttpRequest, campaign: Campaign, states: Mapping[str, int], roll_backs: Sequence[Campaign]
) -> dict[str, bool]:
    """Return which buttons would not be refused."""
    needed = (planning.PROPOSE, kinds.named(campaign.kind).permission)
    may = all(holds(request.user, permission, campaign) for permission in needed)
    mine, state = campaign.proposed_by_id == request.user.pk, CampaignState(campaign.state)
    agreed = not campaign.needs_approval or campaign.approved_by_id is not None
    taken_back = any(one.state != CampaignState.CANCELLED for one in roll_backs)
    undecided = any(one.state in UNFINISHED for one in roll_backs)
    had, live = states.get(MemberState.SUCCEEDED), state in (CampaignState.RUNNING, CampaignState.PAUSED)
    return {
        "may_approve": state is CampaignState.PROPOSED
        and not agreed
        and not mine
        and holds(request.user, services.APPROVE, campaign),
        "may_start": may and state is CampaignState.PROPOSED and agreed,
        "may_pause": may and state is CampaignState.RUNNING,
        "may_force": may and not mine and not taken_back,
        "may_resume": may and state is CampaignState.PAUSED and not taken_back,
        "may_cancel": may and state in UNFINISHED,
        "may_retry": may and live and bool(states.get(MemberState.FAILED) or states.get(MemberState.LEFT_OUT)),
        "may_roll_back": may
        and kinds.named(campaign.kind).before is not None
        and state is not CampaignState.PROPOSED
        and bool(had)
        and not undecided,
    }


BARS = (
    (MemberState.SUCCEEDED, "tw-bar-good"),
    (MemberState.FAILED, "tw-bar-bad"),
    (MemberState.ORDERED, "tw-bar-busy"),
    (MemberState.WAITING, "tw-bar-wait"),
    *((state, "tw-bar-none") for state in (MemberState.LEFT_OUT, MemberState.SUPERSEDED, MemberState.CANCELLED)),
)


class Part(NamedTuple):
    """A part of a wave's bar: its class, words and number, and where it lies, in thousandths of the bar."""

    css: str
    told: str
    number: int
    start: int
    width: int


def _bars(wave: selectors.WaveSeen) -> list[Part]:
    parts, start = [], 0
    for state, css in BARS:
        if number := wave.states.get(state, 0):
            width = max(1, number * 1000 // wave.total)
            parts.append(Part(css, word(state.value), number, start, width))
            start += width
    return parts


def _at_stake(request: HttpRequest, campaign: Campaign) -> list[str]:
    """Return the unsettled money on terminals that are being changed just now, and on those of a wave that its guard stopped, for
    those who may see money."""
    if campaign.state not in (CampaignState.RUNNING, CampaignState.PAUSED):
        return []
    stopped = Q(wave__state=WaveState.STOPPED, ordered_at__isnull=False)
    under_way = Member.objects.filter(Q(state=MemberState.ORDERED) | stopped, wave__campaign=campaign)[:LOOKED_AT]
    open_ones = within(Batch.objects.all(), request.user, PARTS["money"]).filter(
        closed=False, transaction_count__gt=0, terminal__in=under_way.values("terminal")
    )
    sums = open_ones.order_by("currency").values_list("currency").annotate(net=Sum("net_minor"))
    return [format_minor(net, currency) for currency, net in sums]


def _touched(waves: Sequence[selectors.WaveSeen]) -> int:
    """Return at least the number of terminals that `_at_stake` speaks of."""
    return sum(
        wave.total if wave.state == WaveState.STOPPED else wave.states.get(MemberState.ORDERED, 0) for wave in waves
    )


@staff_with(SEE)
@require_GET
def campaign_page(request: HttpRequest, pk: int) -> HttpResponse:
    campaign = _campaign(request, pk)
    context = admin.site.each_context(request) | _context(request, campaign) | {"title": campaign.name}
    return render(request, "pages/campaign.html", context)


@staff_with(SEE)
@require_GET
def campaign_panel(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "pages/campaign_panel.html", _context(request, _campaign(request, pk)))


@staff_with(SEE)
@require_POST
def campaign_action(request: HttpRequest, pk: int) -> HttpResponse:
    """Do what a button of the campaign's page asks for."""
    return press(request, _campaign(request, pk), BUTTONS, "campaign")


def _approve(request: HttpRequest, campaign: Campaign) -> str:
    services.approve(campaign=campaign, digest=request.POST.get("digest", ""), user=request.user)
    return _("You agreed to it; it begins when somebody presses Start.")


def _start(request: HttpRequest, campaign: Campaign) -> str:
    services.start(campaign=campaign, user=request.user)
    return _("It begins.")


def _pause(request: HttpRequest, campaign: Campaign) -> str:
    services.pause(campaign=campaign, user=request.user)
    return _("Paused: nobody is asked any more.")


def _resume(request: HttpRequest, campaign: Campaign) -> str:
    services.resume(campaign=campaign, user=request.user)
    return _("It goes on.")


def _force(request: HttpRequest, campaign: Campaign) -> str:
    services.force(campaign=campaign, reason=request.POST.get("reason", ""), user=request.user)
    return _("It goes on although the guard does not hold.")


def _cancel(request: HttpRequest, campaign: Campaign) -> str:
    done = services.cancel(campaign=campaign, user=request.user)
    told = ngettext("Cancelled: %(n)s terminal is spared", "Cancelled: %(n)s terminals are spared", done.taken_back)
    said = told % {"n": done.taken_back}
    if done.under_way:
        more = ngettext(
            "%(n)s may have it already and cannot be stopped",
            "%(n)s may have it already and cannot be stopped",
            done.under_way,
        )
        said += "; " + more % {"n": done.under_way}
    return f"{said}."


def _retry(request: HttpRequest, campaign: Campaign) -> str:
    number = services.retry_failed(campaign=campaign, user=request.user)
    told = ngettext("%(n)s terminal has another turn.", "%(n)s terminals have another turn.", number)
    return told % {"n": number}


def _roll_back(request: HttpRequest, campaign: Campaign) -> str:
    made = services.roll_back(campaign=campaign, user=request.user)
    told = ngettext("%(n)s campaign was proposed", "%(n)s campaigns were proposed", len(made)) % {"n": len(made)}
    return told + ": " + ", ".join(f"{one.name} ({one.total})" for one in made)


BUTTONS = {
    "approve": Button(services.APPROVE, _approve),
    "start": Button(planning.PROPOSE, _start),
    "pause": Button(planning.PROPOSE, _pause, stops=True),
    "resume": Button(planning.PROPOSE, _resume),
    "force": Button(planning.PROPOSE, _force),
    "cancel": Button(planning.PROPOSE, _cancel),
    "retry": Button(planning.PROPOSE, _retry),
    "roll_back": Button(planning.PROPOSE, _roll_back),
}
