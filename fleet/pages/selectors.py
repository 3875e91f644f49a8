"""What the overview, a terminal's page and the API's terminals list show, across all features. Reads only."""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import (
    BooleanField,
    CharField,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce, JSONObject
from django.utils import timezone
from django.utils.translation import gettext as _

from firmware.models import InstalledSoftware
from fleet.pages import tallies
from fleet.pages.models import DAILY
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.common.scope import EVERYWHERE, Reach, reach_of, within
from terminals.common.words import format_minor, requester_name, word
from terminals.estate.models import Terminal
from terminals.estate.rules import LINKED_STATES, TerminalState
from terminals.keys.models import TerminalKey
from terminals.keys.rules import KeyState
from terminals.link.models import Command
from terminals.settlement.cases.models import LIVE_VALUES, Case, Difference
from terminals.settlement.cases.rules import CaseState
from terminals.settlement.models import SettlementRun, SettlementSchedule
from terminals.settlement.runs.rules import TROUBLE, RunState

VIEW = "terminals.view_terminal"  # what every page about terminals needs
# What a page shows of each part, and what seeing it needs: the same as in the API.
PARTS = {
    "campaigns": "campaigns.view_member",
    "cases": "settlement.view_case",
    "commands": "link.view_command",
    "credits": "settlement.view_creditentry",
    "health": "health.view_healthstate",
    "keys": "keys.view_terminalkey",
    "money": "settlement.view_settlementrun",
    "parameters": "parameters.view_terminalparameters",
    "software": "firmware.view_installation",
}
# What happened belongs to a part, too; the rest is the terminal's own (state, link, enrolment).
PART_OF_FACTS = {
    "key.": "keys",
    "parameters.": "parameters",
    "settlement.": "money",
    "software.": "software",
    "tamper.": "health",
}


def parts_for(user: Any, path: str) -> frozenset[str]:
    """Return the parts that somebody may see of what stands at a place."""
    return frozenset(part for part, permission in PARTS.items() if reach_of(user, permission).covers(path))


class Overview(NamedTuple):
    """The overview's numbers: label -> count, and sums of money as (currency, minor units)."""

    states: dict[str, int]
    online: int
    offline: int
    locked: int
    printers: dict[str, int]
    screens: dict[str, int]
    keypads: dict[str, int]
    card_readers: dict[str, int]
    tampered: int
    keys: dict[str, int]
    dead_letters: int
    versions: dict[str, int]
    unsettled: list[str]
    settlements: dict[str, int]
    settled_today: list[str]
    unreconciled_today: list[str]


# What seeing each of the overview's numbers needs.
MEASURES = {
    **dict.fromkeys(("state", "online", "locked"), VIEW),
    **dict.fromkeys(("printer", "screen", "keypad", "card_reader", "tamper"), PARTS["health"]),
    **dict.fromkeys(("unsettled", *DAILY), PARTS["money"]),
    "key": PARTS["keys"],
    "software": PARTS["software"],
    "dead_letter": "link.view_deadletter",
}


def overview(now: datetime, reach: Callable[[str], Reach] = lambda permission: EVERYWHERE) -> Overview:
    """Return the overview's numbers, "today" in the active time zone: one query, however large the fleet.

    `reach` says how far a permission reaches in the tree; each number is over that part.
    """
    tallied = tallies.read(((measure, reach(needs)) for measure, needs in MEASURES.items()), *day_of(now))
    in_service = sum(n for state, n in tallied["state"].items() if state in LINKED_STATES)
    online = tallied["online"].get("true", 0)
    return Overview(
        states=tallied["state"],
        online=online,
        offline=max(in_service - online, 0),
        locked=tallied["locked"].get("true", 0),
        printers=tallied["printer"],
        screens=tallied["screen"],
        keypads=tallied["keypad"],
        card_readers=tallied["card_reader"],
        tampered=tallied["tamper"].get("true", 0),
        keys=tallied["key"],
        dead_letters=tallied["dead_letter"].get("kept", 0),
        versions=tallied["software"],
        unsettled=[format_minor(amount, currency) for currency, amount in tallied["unsettled"].items()],
        settlements=tallied["settled"],
        unreconciled_today=[format_minor(n, currency) for currency, n in tallied["unreconciled"].items()],
        settled_today=[format_minor(n, currency) for currency, n in tallied["settled_sum"].items()],
    )


def day_of(now: datetime) -> tuple[datetime, datetime]:
    """Return when the reader's day, in the active time zone, began and will end."""
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return midnight, (midnight + timedelta(days=1)).replace(fold=0)


def unresolved_runs(user: Any, limit: int = 5) -> list[SettlementRun]:
    """Return the latest unbalanced or failed settlements that an operator may see and whose case nobody has closed: money
    somebody must look after. Only the latest LOOKED_AT are looked through."""
    in_trouble = within(SettlementRun.objects.filter(state__in=TROUBLE), user, PARTS["money"])
    latest_ids = in_trouble.order_by("-id").values("pk")[:LOOKED_AT]
    of_batch = Difference.objects.filter(terminal=OuterRef("terminal"), batch_number=OuterRef("batch_number"))
    runs = SettlementRun.objects.filter(
        Q(state=RunState.FAILED) | Exists(of_batch.filter(is_open=True)) | ~Exists(of_batch), pk__in=latest_ids
    ).exclude(state=RunState.FAILED, terminal__state=TerminalState.RETIRED)
    latest = runs.select_related("terminal__store").order_by("-id")[:limit]
    return sorted(latest, key=lambda run: run.finished_at or run.requested_at, reverse=True)


class Worries(NamedTuple):
    """What somebody must look after before money is missed; a number stops at MOST_COUNTED. `cases` are not closed; of these
    `approving` wait for a second person, and the time of `overdue` is over. `at_stake` is what they are about."""

    blocked: int
    cases: int
    approving: int
    overdue: int
    at_stake: list[str]


MOST_COUNTED = 1000
LOOKED_AT = 500


def worries(user: Any, now: datetime) -> Worries:
    """Return what is in the way of money: three statements over what is open, however large the fleet."""
    blocked = within(SettlementSchedule.objects.filter(is_blocked=True), user, "settlement.view_settlementschedule")
    live = within(Case.objects.filter(state__in=LIVE_VALUES), user, "settlement.view_case").order_by("due_at")
    newest = live.values("currency", "amount_minor", "due_at", "state")[:MOST_COUNTED]
    sums: dict[str, int] = defaultdict(int)
    for case in newest:
        sums[case["currency"]] += case["amount_minor"]
    return Worries(
        blocked[:MOST_COUNTED].count(),
        len(newest),
        sum(case["state"] == CaseState.APPROVING for case in newest),
        sum(case["due_at"] < now for case in newest),
        [format_minor(amount, currency) for currency, amount in sorted(sums.items()) if amount],
    )


def _fleet_columns() -> dict[str, Any]:
    """Return what features know of each terminal; subqueries on indexed keys, evaluated for the page's rows only."""
    mine = OuterRef("pk")
    keys = (
        TerminalKey.objects.filter(terminal=mine, state=KeyState.CONFIRMED)
        .order_by()
        .values("terminal")
        .annotate(n=Count("pk"))
    )
    last_run = SettlementRun.objects.filter(terminal=mine, finished_at__isnull=False).order_by("-id")
    software = InstalledSoftware.objects.filter(terminal=mine, component="payment")
    run = JSONObject(
        id="pk",
        state="state",
        finished_at="finished_at",
        batch_number="batch_number",
        currency="currency",
        reported_minor="reported_minor",
        difference_minor="difference_minor",
        reasons="reasons",
    )
    return {
        "online": Coalesce(F("session__online"), Value(False), output_field=BooleanField()),
        "last_seen_at": F("session__last_seen_at"),
        "locked": Coalesce(F("session__locked"), Value(False), output_field=BooleanField()),
        "software_version": Subquery(software.values("version")[:1], output_field=CharField()),
        "confirmed_keys": Coalesce(Subquery(keys.values("n")[:1], output_field=IntegerField()), 0),
        "last_settlement": Subquery(last_run.values(row=run)[:1]),
    }


# Made once: making it anew took an eighth of a request for one terminal.
WITH_FLEET_COLUMNS: QuerySet[Terminal] = Terminal.objects.annotate(**_fleet_columns())


def as_registered(terminal: Terminal) -> Terminal:
    """Return a terminal that was just registered, with the columns of WITH_FLEET_COLUMNS: no feature knows of it yet."""
    for name, value in NOTHING_KNOWN.items():
        setattr(terminal, name, value)
    return terminal


NOTHING_KNOWN = {
    "online": False,
    "last_seen_at": None,
    "locked": False,
    "software_version": None,
    "confirmed_keys": 0,
    "last_settlement": None,
}


def _asked(command: Command) -> str:
    return _("%(what)s by %(who)s") % {"what": word(command.type), "who": requester_name(command.requested_by)}


def timeline(terminal: Terminal, parts: frozenset[str], limit: int = 40) -> list[dict[str, Any]]:
    """Return commands and events of a terminal, of the parts that the reader may see, the latest first: `at`, `kind`,
    `text`, `state`, `body`."""
    facts = Fact.objects.filter(terminal_id=terminal.pk)
    for kinds, part in PART_OF_FACTS.items():
        facts = facts if part in parts else facts.exclude(kind__startswith=kinds)
    sent = Command.objects.filter(terminal=terminal) if "commands" in parts else Command.objects.none()
    events: list[dict[str, Any]] = [
        {"at": fact.at, "kind": fact.kind, "text": text_of(fact.kind, fact.body), "state": "", "body": fact.body}
        for fact in facts.order_by("-at")[:limit]
    ]
    commands: list[dict[str, Any]] = [
        {
            "at": command.finished_at or command.answered_at or command.created_at,
            "kind": "command",
            "text": " ".join(filter(None, (_asked(command), command.code, command.detail))),
            "state": command.state,
            "body": {"command": str(command.pk), "type": command.type, "by": command.requested_by},
        }
        for command in sent.order_by("-id")[:limit]
    ]
    return sorted(events + commands, key=lambda line: line["at"], reverse=True)[:limit]
