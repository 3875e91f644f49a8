"""A risk rule in the browser: its settings, what it would have found in the past, and the switch."""

import re
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fleet.pages.guards import staff_with
from terminals.common.errors import Refusal
from terminals.common.scope import Reach, reach_of, within
from terminals.common.words import sentence, word
from terminals.estate.models import Organisation, Terminal
from terminals.settlement.cases.models import Difference
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.risk import services
from terminals.settlement.risk.models import RiskRule
from terminals.settlement.risk.rules import SIGNALS, Evidence, checked

LABELS = {
    "count": gettext_lazy("At least so many"),
    "percent": gettext_lazy("At least so many percent"),
    "amount": gettext_lazy("Only from this amount (whole units of the batch's currency)"),
    "times": gettext_lazy("So many times what is usual"),
    "from_hour": gettext_lazy("From this hour of the store's clock"),
    "to_hour": gettext_lazy("until this hour"),
    "batches": gettext_lazy("So many batches must have told where they were closed"),
}
SHOWN = 50
DAYS = 7


def _organisation(request: HttpRequest) -> Organisation | None:
    """Return whose rule is meant; a 403 where that is out of reach."""
    reach = reach_of(request.user, services.CHANGE_RULE)
    said = request.POST.get("organisation") or request.GET.get("organisation") or ""
    if not said and reach.everywhere:
        return None
    rows = within(Organisation.objects.order_by("name"), request.user, services.CHANGE_RULE)
    if said and not re.fullmatch(r"[0-9]{1,18}", said):
        raise Http404
    found = rows.filter(pk=int(said)).first() if said else rows.first()
    if found is None:
        raise PermissionDenied
    return found  # type: ignore[no-any-return]


@staff_with(services.CHANGE_RULE)
def rule_page(request: HttpRequest, signal: str) -> HttpResponse:
    """Show a signal's rule and what it would have found; on a press of the button, set it."""
    if signal not in SIGNALS:
        raise Http404
    organisation = _organisation(request)
    rule = RiskRule.objects.filter(organisation=organisation, signal=signal).first()
    said = request.POST if request.method == "POST" else request.GET
    settings, refused = _settings(signal, said, rule)
    if request.method == "POST" and said.get("action") != "try" and not refused:
        services.set_rule(
            organisation=organisation,
            signal=signal,
            settings=settings,
            enabled=said.get("enabled") == "on",
            actor=request.user.get_username(),
        )
        messages.success(request, _("The rule is set."))
        whose = f"?organisation={organisation.pk}" if organisation else ""
        return redirect(reverse("risk-rule", args=[signal]) + whose)
    reach = Reach((organisation.path,)) if organisation else reach_of(request.user, services.CHANGE_RULE)
    found = [] if refused else services.try_rule(signal, settings, reach, DAYS)
    serials = dict(
        Terminal.objects.filter(pk__in={one.terminal_id for one, _e in found[:SHOWN]}).values_list("pk", "serial")
    )
    context = admin.site.each_context(request) | {
        "title": _("Risk rule: %(signal)s") % {"signal": word(signal)},
        "signal": signal,
        "fields": [(name, LABELS[name], settings[name], one) for name, one in SIGNALS[signal].settings.items()],
        "rule": rule,
        "enabled": said.get("enabled") == "on" if request.method == "POST" else bool(rule and rule.enabled),
        "organisation": organisation,
        "organisations": within(Organisation.objects.order_by("name"), request.user, services.CHANGE_RULE)[:200],
        "everywhere": reach_of(request.user, services.CHANGE_RULE).everywhere,
        "refused": refused,
        "count": len(found),
        "days": DAYS,
        "hits": [(serials.get(one.terminal_id, ""), one, told(one, evidence)) for one, evidence in found[:SHOWN]],
        "shown": SHOWN,
    }
    return render(request, "pages/risk_rule.html", context)


def _settings(signal: str, said: Any, rule: RiskRule | None) -> tuple[dict[str, int], str]:
    """Return what was typed, else what is set, else the defaults; and why it does not fit."""
    known = checked(signal, rule.settings if rule is not None else {})
    typed = {name: said[name] for name in known if name in said}
    numbers = {
        name: int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text
        for name, text in typed.items()
    }
    try:
        return checked(signal, {**known, **numbers}), ""
    except Refusal as refusal:
        return known, sentence(refusal)


def told(one: services.Batch, evidence: Evidence) -> str:
    """Return evidence as the case would say it."""
    return sentence_of(
        Difference(
            terminal_id=one.terminal_id,
            batch_number=one.batch_number,
            kind=evidence.kind.value,
            currency=one.profile.currency,
            expected_count=evidence.expected_count,
            expected_minor=evidence.expected_minor,
            found_count=evidence.found_count,
            found_minor=evidence.found_minor,
            detail=evidence.detail,
        )
    )


@staff_with("settlement.view_riskrule")
def signals_page(request: HttpRequest) -> HttpResponse:
    """All signals: which are switched on, and where to try them."""
    rules = list(within(RiskRule.objects.select_related("organisation"), request.user, "settlement.view_riskrule"))
    context = admin.site.each_context(request) | {
        "title": _("Risk signals"),
        "signals": [(signal, word(signal), [rule for rule in rules if rule.signal == signal]) for signal in SIGNALS],
        "may_change": request.user.has_perm(services.CHANGE_RULE),
    }
    return render(request, "pages/risk_signals.html", context)
