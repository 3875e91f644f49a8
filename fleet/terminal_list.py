"""The terminals' list in the admin, with bulk work on what it shows."""

import re
from collections import Counter
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext, gettext_lazy
from unfold.views import ChangeList

from firmware.models import InstalledSoftware
from fleet.pages import list_bar
from fleet.pages.list_filters import HEALTH, filter_of_address, sees_all
from fleet.pages.terminal import problems_of
from terminals.bulk.verbs import verbs
from terminals.common.admin_base import COUNT_LIMIT, IndexedChangeList
from terminals.common.errors import Refusal
from terminals.common.scope import holds
from terminals.common.words import TONES, format_minor, sentence
from terminals.estate.admin import TerminalAdmin
from terminals.estate.models import Terminal
from terminals.estate.rules import COMMANDED_STATES
from terminals.estate.targets.choosing import matching
from terminals.estate.targets.fields import fields
from terminals.settlement.models import Batch, SettlementRun

# Which columns belong to which part of what is known of a terminal.
COLUMNS_OF = {
    "health": ("problem", "signal"),
    "money": ("unsettled", "next_settlement"),
    "software": ("software_version",),
}


def ago(instant: datetime) -> str:
    """Return an instant as people say it, with the exact one on hover."""
    exact = formats.localize(timezone.localtime(instant))
    return format_html('<time datetime="{}" title="{}">{}</time>', instant.isoformat(), exact, naturaltime(instant))


ONE_WORD = re.compile(r"[\w.-]{1,100}")
# What has no index of its own is sorted by where the filters leave few enough.
SORTED_WHEN_FEW = ("store", "last_seen", "next_settlement", "signal", "tid")


class TerminalChangeList(IndexedChangeList):
    """Sorts by columns without an index, too, where the filters leave at most COUNT_LIMIT terminals."""

    few = True
    left_out = False
    refused_filter = ""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.refused_filter = getattr(request, "refused_filter", "")

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> list[Any]:
        if request.GET.get("o"):
            found, _many = self.model_admin.get_search_results(request, queryset, self.query)
            self.few = found.order_by().values("pk")[: COUNT_LIMIT + 1].count() <= COUNT_LIMIT
        ordering: list[Any] = super().get_ordering(request, queryset)
        if self.left_out:
            told = gettext("More than %(most)s terminals: sorted by serial. Filter first to sort by another column.")
            messages.info(request, told % {"most": f"{COUNT_LIMIT:,}"})
            return ["serial"]
        return ordering

    def get_ordering_field(self, field_name: str) -> Any:
        if field_name in SORTED_WHEN_FEW and not self.few:
            self.left_out = True
            return None
        return super().get_ordering_field(field_name)


admin.site.unregister(Terminal)


@admin.register(Terminal)
class TerminalList(TerminalAdmin):
    """What the list shows can be worked on together: what is chosen, or all that its filters let pass."""

    actions = ["do_to_many"]
    empty_value_display = ""  # a dash beside an amount would read as a minus
    list_before_template = "pages/terminal_list_bar.html"
    sortable_by: tuple[str, ...] = ("shown_serial", *SORTED_WHEN_FEW)
    list_select_related = [*TerminalAdmin.list_select_related, "health", "tamper_alarm", "schedule"]
    list_display = [
        "shown_serial",
        "store",
        "shown_state",
        "shown_link",
        "last_seen",
        "problem",
        "unsettled",
        "next_settlement",
        "software_version",
        "signal",
        "model",
        "tid",
    ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        if any(len(values) > 1 for _name, values in request.GET.lists()):  # Django would take all, chips and views one
            return redirect(f"{request.path}?{urlencode(request.GET.dict())}")
        text = request.GET.get("filter", "")
        if ONE_WORD.fullmatch(text) and not fields.knows(text):  # somebody typed a serial or a name where a filter goes
            return redirect(f"{request.path}?{urlencode({**request.GET.dict(), 'filter': '', 'q': text})}")
        return super().changelist_view(request, (extra_context or {}) | {"bar": list_bar.bar(request)})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TerminalChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Terminal]:
        """What a page of the list shows of each terminal comes with a fixed number of statements."""
        rows: QuerySet[Terminal] = super().get_queryset(request)
        if sees_all(request.user, "money"):
            runs = SettlementRun.objects.filter(terminal=OuterRef("pk")).order_by("-pk")
            rows = rows.annotate(last_run_state=Subquery(runs.values("state")[:1]))
        return rows.prefetch_related(
            Prefetch("batches", Batch.objects.filter(closed=False), to_attr="open_batches"),
            Prefetch("software", InstalledSoftware.objects.filter(component="payment"), to_attr="payment_software"),
        )

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """Leave out the columns of a part that the operator may not see wherever the list reaches."""
        hidden = {c for part, columns in COLUMNS_OF.items() for c in columns if not sees_all(request.user, part)}
        return [column for column in self.list_display if column not in hidden]

    @admin.display(description=gettext_lazy("last heard"), ordering="session__last_seen_at")
    def last_seen(self, terminal: Terminal) -> str:
        session = getattr(terminal, "session", None)
        return ago(session.last_seen_at) if session is not None else gettext("never")

    @admin.display(description=gettext_lazy("problem"))
    def problem(self, terminal: Terminal) -> str:
        """The worst that is known of it, as a badge, and how much else there is."""
        health, run_state = getattr(terminal, "health", None), getattr(terminal, "last_run_state", None) or ""
        found = problems_of(getattr(terminal, "tamper_alarm", None), health, run_state)
        if not found:
            return ""
        tone, text = found[0]
        badge = render_to_string("unfold/helpers/label.html", {"type": TONES.get(tone), "text": text})
        if len(found) == 1:
            return badge
        all_of_them = "; ".join(words for _tone, words in found)
        return format_html('<span title="{}">{} +{}</span>', all_of_them, mark_safe(badge), len(found) - 1)  # noqa: S308

    @admin.display(description=gettext_lazy("not yet settled"))
    def unsettled(self, terminal: Terminal) -> str:
        sums: Counter[str] = Counter()
        for batch in terminal.open_batches:  # type: ignore[attr-defined]
            sums[batch.currency] += batch.net_minor
        return ", ".join(format_minor(amount, currency) for currency, amount in sums.items() if amount)

    @admin.display(description=gettext_lazy("next settlement"), ordering="schedule__next_due_at")
    def next_settlement(self, terminal: Terminal) -> str:
        schedule = getattr(terminal, "schedule", None)
        due = schedule.next_due_at if schedule is not None and terminal.state in COMMANDED_STATES else None
        return ago(due) if due is not None else ""

    @admin.display(description=gettext_lazy("version"))
    def software_version(self, terminal: Terminal) -> str:
        return ", ".join(one.version for one in terminal.payment_software)  # type: ignore[attr-defined]

    @admin.display(description=gettext_lazy("signal"), ordering="health__rssi_dbm")
    def signal(self, terminal: Terminal) -> str:
        rssi = getattr(getattr(terminal, "health", None), "rssi_dbm", None)
        return "" if rssi is None else f"{rssi} dBm"

    @admin.action(description=gettext_lazy("Bulk work on the chosen terminals ..."), permissions=["bulk"])
    def do_to_many(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> HttpResponse:
        """Lead to the page on which something is done to many: the chosen ones, or all that the list's filters let pass."""
        try:
            text = self._filter_of(request, queryset)
        except Refusal as refusal:
            messages.error(request, sentence(refusal))
            return redirect(request.get_full_path())
        return redirect(f"{reverse('bulk')}?{urlencode({'filter': text})}")

    def _filter_of(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> str:
        """Return the filter that finds just what was chosen; raise Refusal where it would find others."""
        if request.POST.get("select_across") != "1":
            serials = queryset.order_by("serial").values_list("serial", flat=True)
            return f"serial in ({', '.join(serials)})"
        text = filter_of_address(request.GET)
        visible = self.get_queryset(request).order_by()
        if matching(visible, text, request.user).count() != queryset.order_by().count():
            raise Refusal("bad_filter", "the list's filters cannot be said as one filter; choose terminals one by one")
        return text

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """What an address asks of health needs to see health, wherever the list reaches."""
        if lookup.startswith(HEALTH) and request is not None:
            return sees_all(request.user, "health") and super().lookup_allowed(lookup, value, request)
        return super().lookup_allowed(lookup, value, request)

    def has_bulk_permission(self, request: HttpRequest) -> bool:
        """Whether there is anything that the operator could do to many."""
        return any(holds(request.user, verb.permission) for verb in verbs.all())
