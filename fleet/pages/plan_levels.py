"""Settlement settings in the browser: at a level, see each setting and where it comes from, when terminals are due next and why,
what a change would do, and set it."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fleet.pages.guards import staff_with
from terminals.common.errors import Refusal
from terminals.common.scope import holds, within
from terminals.common.words import sentence, word
from terminals.estate.levels import Level
from terminals.estate.models import Terminal
from terminals.settlement.plans import calendars, cycles, rules, services, words
from terminals.settlement.plans.effective import NOTHING, Place, Resolved, columns_of, resolve
from terminals.settlement.plans.forms import SettingsForm, in_words, setting_fields, typed_settings
from terminals.settlement.plans.models import BusinessCalendar, PlanLevel, SettlementPlan, SettlementSchedule
from terminals.settlement.selectors import stakes

SEE = "settlement.view_planlevel"
AHEAD = 30  # instants that the calendar of a level shows


class LevelForm(SettingsForm):
    """A plan or none, and the settings that go before it."""

    def __init__(self, present: PlanLevel | None, data: Any = None) -> None:
        super().__init__(data, settings=present.settings if present else {})
        self.fields = {
            "plan": forms.ModelChoiceField(
                SettlementPlan.objects.all(),
                required=False,
                label=gettext_lazy("Plan"),
                empty_label="---",
                initial=present.plan_id if present else None,
            ),
            **self.fields,
        }


@staff_with(SEE)
def level_page(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """What is set at a level and what comes from above; what setting something else would do; and setting it."""
    node = node_at(request, kind, pk)
    level: Level = (kind, pk)
    present = PlanLevel.objects.select_related("plan").filter(**columns_of(level)).first()
    may_set = holds(request.user, services.SET_SCHEDULE, node)
    form = LevelForm(present, request.POST or None)
    context: dict[str, Any] = {"title": _("Settlement"), "kind": kind, "key": pk, "node": node, "may_set": may_set}
    if request.method == "POST":
        if not may_set:
            raise PermissionDenied
        if _post(request, level, form, context):
            return redirect("settlement-level", kind, pk)
    place = Place(getattr(node, "path", ""), _clock(node), pk if kind == "terminal" else None)
    above, here = resolve([place], instead=(level, NOTHING))[place], resolve([place])[place]
    schedule = SettlementSchedule.objects.filter(pk=pk).first() if kind == "terminal" else None
    context |= {
        "form": form,
        "rows": _rows(form, present, above),
        "plan": SettlementPlan.objects.filter(pk=here.plan_id or 0).first(),
        "short": words.in_short(here.settings),
        "schedule": schedule,
        **coming(here, timezone.now()),
    }
    return render(request, "pages/plan_level.html", admin.site.each_context(request) | context)


def node_at(request: HttpRequest, kind: str, pk: int) -> Model:
    """Return a level's node where the reader may see it, else a 404."""
    model = services.NODES.get(kind)
    node = within(model.objects.all(), request.user, SEE).filter(pk=pk).first() if model else None
    if node is None:
        raise Http404
    return node  # type: ignore[no-any-return]


def _clock(node: Model) -> str:
    """Return the zone by which a level's cycle is shown: a store's own; above stores each has its own, and none is said."""
    store = node.store if isinstance(node, Terminal) else node
    return getattr(store, "time_zone", "")


def coming(resolved: Resolved, now: datetime) -> dict[str, Any]:
    """Return when a level's cycle comes due next, in words and as a calendar."""
    calendar = BusinessCalendar.objects.filter(pk=resolved.settings["calendar"]).first()
    cycle = rules.cycle_of(resolved.settings, calendar.days() if calendar else calendars.ALWAYS_OPEN)
    found = [one for one, _n in zip(cycles.occurrences(cycle, now), range(AHEAD), strict=False)]
    zone = ZoneInfo(cycle.time_zone)
    shown = [
        {
            "at": formats.date_format(one.at.astimezone(zone), "D j M Y H:i"),
            "business_day": cycles.business_day(cycle, one.at),
            "skipped": [words.skipped_words(skipped) for skipped in one.skipped],
        }
        for one in found
    ]
    return {
        "explained": words.explained(found, resolved.settings),
        "coming": shown,
        "zone": words.zone_words(resolved.settings),
    }


def _rows(form: LevelForm, present: PlanLevel | None, above: Resolved) -> list[dict[str, Any]]:
    """Return for each setting its field, what is set here, what holds without it, and where that comes from."""
    own = present.settings if present else {}
    fields = setting_fields({})
    return [
        {
            "name": name,
            "field": form[name],
            "present": in_words(name, own[name]) if name in own else "",
            "above": in_words(name, above.settings[name]),
            "from": _origin(above.origins[name]),
        }
        for name in fields
    ]


def _origin(level: Level | None) -> str:
    if level is None:
        return _("default")
    if level[0] not in services.NODES:
        return _("default plan")
    return f"{word(level[0])} {services.NODES[level[0]].objects.filter(pk=level[1]).first()}"


def _warn(request: HttpRequest, level: Level) -> None:
    """Say of a terminal that it does not settle by itself any more, and what is at stake."""
    schedule = SettlementSchedule.objects.select_related("effective").filter(pk=level[1]).first()
    if level[0] != "terminal" or schedule is None or schedule.settles_by_itself():
        return
    told = _("%(terminal)s does NOT settle by itself any more.") % {"terminal": schedule.terminal}
    if stake := stakes([schedule.pk]).get(schedule.pk):
        told += " " + _("Not settled: %(amounts)s.") % {"amounts": stake}
    messages.warning(request, told)


def _post(request: HttpRequest, level: Level, form: LevelForm, context: dict[str, Any]) -> bool:
    """Show what a change would do, or do it; return whether it was done."""
    settings = typed_settings(form) if form.is_valid() else {}
    if form.errors:
        return False
    plan = form.cleaned_data["plan"]
    try:
        if "set" in request.POST:
            services.set_level(level=level, plan=plan, settings=settings, actor=request.user.get_username())
            messages.success(request, _("Set. Terminals below are due by it within seconds."))
            _warn(request, level)
            return True
        preview = services.preview(level=level, plan=plan, settings=settings)
    except Refusal as refusal:
        form.add_error(None, sentence(refusal))
        return False
    at_stake = [str(stake) for stake in stakes(preview.stranded).values()]
    context |= {"preview": preview, "stranded": len(preview.stranded), "at_stake": at_stake[:5]}
    return False
