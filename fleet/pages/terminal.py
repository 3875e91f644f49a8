"""What a terminal's page shows: at a glance what is wrong and how much money is at stake, and a tab for each part."""

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.models import Sum
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from firmware.models import Installation, InstalledSoftware
from fleet.pages.selectors import timeline
from terminals.campaigns.models import Member
from terminals.common.facts.kinds import text_of
from terminals.common.facts.models import Fact
from terminals.common.words import word
from terminals.enrolment.models import Certificate
from terminals.estate.models import Terminal
from terminals.estate.rules import LINKED_STATES, TerminalState
from terminals.health.models import HealthSample, HealthState, TamperAlarm
from terminals.keys.models import TerminalKey
from terminals.link.models import Command, DeadLetter, DeviceSession
from terminals.link.protocol.topics import prefix
from terminals.parameters.models import TerminalParameters
from terminals.settlement.cases.models import LIVE_VALUES, Case
from terminals.settlement.credits.selectors import credited, credits_of
from terminals.settlement.models import Batch, SettlementRun, SettlementSchedule
from terminals.settlement.runs.facts import WrittenOff
from terminals.settlement.runs.rules import TROUBLE
from terminals.settlement.selectors import open_batches

Parts = frozenset[str]
PARTS_OF_DEVICE = ("card_reader", "keypad", "screen", "printer")  # the worst to be without first


def problems_of(alarm: TamperAlarm | None, health: HealthState | None, run_state: str) -> list[tuple[str, str]]:
    """Return (state, words) of all that is wrong, the worst first: tampering, what keeps it from selling, its settlement."""
    found = [("fault", _("tamper"))] if alarm is not None and alarm.active else []
    states = [(part, getattr(health, part, "ok")) for part in PARTS_OF_DEVICE]
    found += [(state, f"{word(part)}: {word(state)}") for part, state in states if state not in ("ok", "absent")]
    if run_state in TROUBLE:
        found.append((run_state, _("settlement: %(state)s") % {"state": word(run_state)}))
    return found


class Glance(NamedTuple):
    """What stands above the tabs."""

    session: DeviceSession | None
    health: HealthState | None
    tamper: TamperAlarm | None
    unsettled: list[Batch]
    written_off: str
    refused: int
    schedule: SettlementSchedule | None
    last_run: SettlementRun | None
    parameters: TerminalParameters | None
    open_commands: list[Command]


def glance_at(terminal: Terminal, parts: Parts) -> Glance:
    """Return what is now, as far as the reader may see it: at most a fixed number of queries."""
    mine = {"terminal": terminal.pk}
    schedules = SettlementSchedule.objects.select_related("effective__plan", "effective__calendar")
    parameters = TerminalParameters.objects.select_related("applied__template_version__template")
    health, money = "health" in parts, "money" in parts
    return Glance(
        session=DeviceSession.objects.filter(**mine).first(),
        health=HealthState.objects.filter(**mine).first() if health else None,
        tamper=TamperAlarm.objects.filter(**mine).first() if health else None,
        unsettled=list(open_batches(terminal.pk)[:10]) if money else [],
        written_off=_written_off(terminal) if money else "",
        schedule=schedules.filter(**mine).first() if money else None,
        last_run=SettlementRun.objects.filter(**mine).first() if money else None,
        refused=_refused_since_it_left(terminal),
        parameters=parameters.filter(**mine).first() if "parameters" in parts else None,
        open_commands=list(Command.objects.filter(**mine, finished_at=None)[:10]) if "commands" in parts else [],
    )


class Badge(NamedTuple):
    """A word in the page's head; pressed, it leads to the tab that says more."""

    text: str
    state: str
    tab: str


def badges(terminal: Terminal, glance: Glance, *, silent: bool) -> list[Badge]:
    """Return what is to be known of a terminal first; `silent`: nobody can know now whether it is online."""
    found = []
    if terminal.state in LINKED_STATES and not silent:
        online = glance.session is not None and glance.session.online
        found.append(Badge(word("online" if online else "offline"), "online" if online else "offline", "timeline"))
    if glance.session is not None and glance.session.locked:
        found.append(Badge(word("locked"), "locked", "timeline"))
    run_state = glance.last_run.state if glance.last_run is not None else ""
    for state, text in problems_of(glance.tamper, glance.health, run_state):
        found.append(Badge(text, state, "money" if state in TROUBLE else "health"))
    if glance.parameters is not None and glance.parameters.why():
        said = _("parameters: %(state)s") % {"state": word(glance.parameters.state)}
        found.append(Badge(said, "failed", "parameters"))
    return found


class Tab(NamedTuple):
    """`part` is what the reader must see to see it, none for everybody; `read` returns what its template shows."""

    title: str | Promise
    part: str
    read: Callable[[Terminal, Parts], dict[str, Any]]


def _health(terminal: Terminal, parts: Parts) -> dict[str, Any]:
    return {"readings": HealthSample.objects.filter(terminal_id=terminal.pk).order_by("-received_at")[:10]}


def _money(terminal: Terminal, parts: Parts) -> dict[str, Any]:
    runs = list(SettlementRun.objects.filter(terminal=terminal)[:10])
    keys = [(terminal.pk, run.batch_number) for run in runs if run.batch_number is not None]
    credits = credits_of(keys) if "credits" in parts and keys else {}
    return {
        "runs": [(run, credited(credits.get((terminal.pk, run.batch_number or 0), []))) for run in runs],
        "cases": Case.objects.filter(terminal=terminal, state__in=LIVE_VALUES)[:10] if "cases" in parts else [],
        "shows_credits": "credits" in parts,
    }


def _software(terminal: Terminal, parts: Parts) -> dict[str, Any]:
    mine = {"terminal": terminal.pk}
    installations = Installation.objects.select_related("release__package")
    campaigns = Member.objects.filter(**mine).select_related("wave__campaign").order_by("-pk")[:5]
    return {
        "campaigns": campaigns if "campaigns" in parts else [],
        "software": InstalledSoftware.objects.filter(**mine).order_by("component"),
        "installations": installations.filter(**mine)[:10],
    }


def _keys(terminal: Terminal, parts: Parts) -> dict[str, Any]:
    return {
        "keys": TerminalKey.objects.filter(terminal=terminal).defer("sealed_key")[:10],
        "certificates": Certificate.objects.filter(terminal=terminal).defer("pem").order_by("-issued_at")[:3],
    }


def _parameters(terminal: Terminal, parts: Parts) -> dict[str, Any]:
    return {}  # the glance has them


def _timeline(terminal: Terminal, parts: Parts) -> dict[str, Any]:
    return {"timeline": timeline(terminal, parts)}


TABS = {
    "timeline": Tab(gettext_lazy("Timeline"), "", _timeline),
    "health": Tab(gettext_lazy("Health"), "health", _health),
    "money": Tab(gettext_lazy("Money"), "money", _money),
    "software": Tab(gettext_lazy("Software"), "software", _software),
    "keys": Tab(gettext_lazy("Keys"), "keys", _keys),
    "parameters": Tab(gettext_lazy("Parameters"), "parameters", _parameters),
}


def tabs_for(parts: Parts) -> dict[str, Tab]:
    """Return the tabs that a reader of these parts has."""
    return {name: tab for name, tab in TABS.items() if not tab.part or tab.part in parts}


def _written_off(terminal: Terminal) -> str:
    """Return what was given up when the terminal retired, in words; empty for one in service."""
    if terminal.state != TerminalState.RETIRED:
        return ""
    fact = Fact.objects.filter(terminal_id=terminal.pk, kind=WrittenOff.kind).order_by("-at").first()
    return text_of(fact.kind, fact.body) if fact else ""


def _refused_since_it_left(terminal: Terminal) -> int:
    """Return how many messages a terminal that is out of service went on sending; they are dead letters."""
    if terminal.state != TerminalState.RETIRED:
        return 0
    letters = DeadLetter.objects.filter(topic__startswith=prefix(terminal.device_id), reason="not_in_service")
    return letters.aggregate(n=Sum("count"))["n"] or 0


def primary_verbs(verbs: set[str], *, registered: bool, locked: bool) -> list[str]:
    """Return the (at most) two of the verbs offered that somebody most likely came for."""
    likely = ["activation_code"] * registered + ["resume"] + ["unlock"] * locked + ["settle", "ping"]
    return [name for name in likely if name in verbs][:2]
