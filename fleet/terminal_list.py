"""The terminals' list in the admin, with bulk work on what it shows."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy
from unfold.decorators import display

from firmware.models import InstalledSoftware
from fleet.pages.selectors import PARTS
from terminals.bulk.verbs import verbs
from terminals.common.admin_base import Labels
from terminals.common.errors import Refusal
from terminals.common.scope import holds, reach_of
from terminals.common.words import TONES, format_minor, sentence, word
from terminals.estate.admin import TerminalAdmin
from terminals.estate.models import Terminal, TerminalModel
from terminals.estate.rules import COMMANDED_STATES, LINKED_STATES, TerminalState
from terminals.estate.targets.choosing import matching
from terminals.estate.targets.language import quoted
from terminals.settlement.models import Batch


def filter_of_address(asked: Mapping[str, str]) -> str:
    """Return what a list's address lets pass, in the filter language; raise Refusal for what that cannot say."""
    tests = [_test(name, value) for name, value in asked.items() if name not in NO_FILTERS and value]
    return " and ".join(tests) or f"state in ({', '.join(TerminalState)})"


NO_FILTERS = ("o", "p", "all", "_facets", "e")
IN_SERVICE = f"state in ({', '.join(LINKED_STATES)})"
SAID = {
    ("link", "online"): "online",
    ("link", "offline"): f"{IN_SERVICE} and not online",
    ("locked", "locked"): "locked",
    ("tamper_alarm__active", "1"): "tamper",
    ("tamper_alarm__active", "True"): "tamper",
}
HEALTH = ("health__", "tamper_alarm__")


def _test(name: str, value: str) -> str:
    plain = name.removesuffix("__exact").removesuffix("__id")
    if said := SAID.get((plain, value)):
        return said
    if plain == "filter":
        return f"({value})"
    if plain == "q":
        return f"search = {quoted(value.strip())}"
    if plain in ("pk", "id") and value.isdecimal():
        return f"id = {value}"
    if plain == "state" and value in list(TerminalState):
        return f"state = {value}"
    if plain == "model" and value.isdecimal() and (model := TerminalModel.objects.filter(pk=int(value[:18])).first()):
        return f"model = {quoted(str(model))}"
    if plain.startswith("health__") and value.isidentifier():
        return f"{plain.removeprefix('health__')} = {value}"
    raise Refusal(
        "bad_filter", "the list's filter %(name)s cannot be said as a filter; choose terminals one by one", name=name
    )


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


admin.site.unregister(Terminal)


@admin.register(Terminal)
class TerminalList(TerminalAdmin):
    """What the list shows can be worked on together: what is chosen, or all that its filters let pass."""

    actions = ["do_to_many"]
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Terminal]:
        """What a page of the list shows of each terminal comes with a fixed number of statements."""
        rows: QuerySet[Terminal] = super().get_queryset(request)
        return rows.prefetch_related(
            Prefetch("batches", Batch.objects.filter(closed=False), to_attr="open_batches"),
            Prefetch("software", InstalledSoftware.objects.filter(component="payment"), to_attr="payment_software"),
        )

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """Leave out the columns of a part that the operator may not see wherever the list reaches."""
        seen = reach_of(request.user, "terminals.view_terminal").paths
        hidden = {
            column
            for part, columns in COLUMNS_OF.items()
            for column in columns
            if not all(reach_of(request.user, PARTS[part]).covers(path) for path in seen)
        }
        return [column for column in self.list_display if column not in hidden]

    @admin.display(description=gettext_lazy("last heard"))
    def last_seen(self, terminal: Terminal) -> str:
        session = getattr(terminal, "session", None)
        return ago(session.last_seen_at) if session is not None else gettext("never")

    @display(description=gettext_lazy("problem"), label=Labels(TONES))  # type: ignore[untyped-decorator]
    def problem(self, terminal: Terminal) -> tuple[str, str] | str:
        """The worst that is known of the device: tampering, then what keeps it from selling."""
        alarm, health = getattr(terminal, "tamper_alarm", None), getattr(terminal, "health", None)
        if alarm is not None and alarm.active:
            return "fault", gettext("tamper")
        for part in ("card_reader", "keypad", "screen", "printer"):
            state = getattr(health, part, "ok")
            if state not in ("ok", "absent"):
                return state, f"{word(part)}: {word(state)}"
        return ""

    @admin.display(description=gettext_lazy("not yet settled"))
    def unsettled(self, terminal: Terminal) -> str:
        sums: Counter[str] = Counter()
        for batch in terminal.open_batches:  # type: ignore[attr-defined]
            sums[batch.currency] += batch.net_minor
        return ", ".join(format_minor(amount, currency) for currency, amount in sums.items() if amount)

    @admin.display(description=gettext_lazy("next settlement"))
    def next_settlement(self, terminal: Terminal) -> str:
        schedule = getattr(terminal, "schedule", None)
        due = schedule.next_due_at if schedule is not None and terminal.state in COMMANDED_STATES else None
        return ago(due) if due is not None else ""

    @admin.display(description=gettext_lazy("version"))
    def software_version(self, terminal: Terminal) -> str:
        return ", ".join(one.version for one in terminal.payment_software)  # type: ignore[attr-defined]

    @admin.display(description=gettext_lazy("signal"))
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
            health = reach_of(request.user, "health.view_healthstate")
            if not all(health.covers(path) for path in reach_of(request.user, "terminals.view_terminal").paths):
                return False
        return super().lookup_allowed(lookup, value, request)

    def has_bulk_permission(self, request: HttpRequest) -> bool:
        """Whether there is anything that the operator could do to many."""
        return any(holds(request.user, verb.permission) for verb in verbs.all())
