"""Cases' list in the admin; each leads to its page (fleet/pages/cases.py)."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin
from terminals.common.errors import Refusal
from terminals.common.scope import within
from terminals.common.words import choices, format_minor, sentence
from terminals.estate.admin import TerminalOwnedAdmin
from terminals.settlement.cases import services
from terminals.settlement.cases.models import LIVE_VALUES, Case
from terminals.settlement.cases.rules import RESOLUTIONS, CaseState, needs_four_eyes

MOST_AT_ONCE = 200


class AgeFilter(admin.SimpleListFilter):
    """How long a case has been open, or whether it is overdue."""

    title = _("age")
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("live", _("not closed")),
            ("overdue", _("overdue")),
            ("day", _("older than a day")),
            ("week", _("older than a week")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Case]) -> QuerySet[Case]:
        now, live = timezone.now(), queryset.filter(state__in=LIVE_VALUES)
        if self.value() == "live":
            return live
        if self.value() == "overdue":
            return live.filter(due_at__lt=now)
        if self.value() in DAYS:
            return live.filter(opened_at__lt=now - timedelta(days=DAYS[str(self.value())]))
        return queryset


DAYS = {"day": 1, "week": 7}


class CloseForm(forms.Form):
    """Why cases are closed, and what is noted at each."""

    resolution = forms.ChoiceField(choices=choices(RESOLUTIONS), label=_("Because"))
    note = forms.CharField(max_length=4000, required=False, label=_("Note"), widget=forms.Textarea({"rows": 2}))


@admin.register(Case)
class CaseAdmin(TerminalOwnedAdmin, RecordAdmin):
    list_display = [
        "number",
        "shown_state",
        "shown_severity",
        "amount",
        "terminal",
        "subject",
        "owner",
        "due_at",
        "opened_at",
    ]
    list_filter = ["state", "severity", "subject", AgeFilter, ("owner", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["terminal", "owner"]
    search_fields = ["terminal__serial"]
    fields = ["terminal"]
    actions = ["close_chosen"]

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if self.get_object(request, object_id) is not None and self.has_view_permission(request):
            return redirect("case", object_id)
        answer: HttpResponse = super().change_view(request, object_id, *args, **kwargs)
        return answer

    @admin.display(description=_("number"), ordering="-id")
    def number(self, case: Case) -> str:
        return str(case.pk)

    @admin.display(description=_("severity"), ordering="severity")
    def shown_severity(self, case: Case) -> str:
        return case.get_severity_display()

    @admin.display(description=_("at stake"))
    def amount(self, case: Case) -> str:
        return case.shown_amount

    def has_work_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(services.WORK))

    @admin.action(description=_("Close the chosen cases ..."), permissions=["work"])
    def close_chosen(self, request: HttpRequest, queryset: QuerySet[Case]) -> HttpResponse | None:
        """Show what closing them would do, and do it when that was seen."""
        open_ones = within(queryset, request.user, services.WORK).filter(state=CaseState.OPEN)
        chosen = list(open_ones.select_related("terminal")[: MOST_AT_ONCE + 1])
        if not chosen or len(chosen) > MOST_AT_ONCE:
            told = gettext("Choose from 1 to %(most)s open cases.") % {"most": MOST_AT_ONCE}
            messages.error(request, told)
            return None
        form = CloseForm(request.POST if "confirm" in request.POST else None)
        if form.is_valid():
            self._close(request, chosen, form)
            return None
        context = self.admin_site.each_context(request) | {
            "title": gettext("Close cases"),
            "form": form,
            "cases": chosen,
            "sums": _sums(chosen),
            "by_two": sum(needs_four_eyes(case.amount_minor, case.currency) for case in chosen),
        }
        return render(request, "pages/cases_close.html", context)

    def _close(self, request: HttpRequest, chosen: list[Case], form: CloseForm) -> None:
        try:
            closed, waiting = services.close_many(cases=chosen, actor=request.user.get_username(), **form.cleaned_data)
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
            return
        said = ngettext("%(n)s case closed", "%(n)s cases closed", closed) % {"n": closed}
        if waiting:
            said += ", " + gettext("%(n)s wait for somebody else to agree") % {"n": waiting}
        messages.success(request, said)


def _sums(cases: list[Case]) -> list[str]:
    sums: dict[str, int] = {}
    for case in cases:
        sums[case.currency] = sums.get(case.currency, 0) + case.amount_minor
    return [format_minor(amount, currency) for currency, amount in sorted(sums.items())]
