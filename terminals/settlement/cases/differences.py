"""Differences as they are found: new ones open a case or let it grow, those that later data explains end, and a case without any
closes by itself. Set-based: a fixed number of statements for any number of batches, none for those that agree.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.db import connection
from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Abs
from django.utils import timezone

from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.settlement.cases.facts import CaseExplained, CaseGrew, CaseOpened
from terminals.settlement.cases.models import LIVE_VALUES, Case, Difference
from terminals.settlement.cases.rules import SUBJECTS, CaseState, CaseTransition, Subject, urgency
from terminals.settlement.reconciliation.rules import DifferenceKind


class Found(NamedTuple):
    """One difference as it is found now."""

    terminal_id: int | None
    batch_number: int | None
    kind: DifferenceKind
    currency: str
    method: str = ""
    scheme: str = ""
    transaction_kind: str = ""
    expected_count: int = 0
    expected_minor: int = 0
    found_count: int = 0
    found_minor: int = 0
    suspects: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    detail: str = ""
    organisation_id: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        line = (self.currency, self.method, self.scheme, self.transaction_kind)
        return (self.terminal_id, self.batch_number, self.kind.value, *line, self.detail)

    @property
    def place(self) -> "Place":
        return Place(self.terminal_id, self.organisation_id, SUBJECTS[self.kind].value, self.currency)


class Place(NamedTuple):
    """What differences of one case share."""

    terminal_id: int | None
    organisation_id: int | None
    subject: str
    currency: str


NUMBERS = ("expected_count", "expected_minor", "found_count", "found_minor")


def note(found: Sequence[Found], *, of: Q, kinds: Collection[DifferenceKind]) -> None:
    """Let the open differences that `of` chooses, of these kinds, be just those that are found now."""
    now = timezone.now()
    present = Difference.objects.filter(of, is_open=True, kind__in=[kind.value for kind in kinds])
    _hold(Case.objects.filter(pk__in=present.values("case")))
    known = {_key(one): one for one in present.select_for_update(of=("self",)).order_by("pk")}
    fresh = _without_settled([one for one in {one.key: one for one in found}.values() if one.key not in known], of)
    changed = [_renewed(known[one.key], one) for one in found if one.key in known]
    Difference.objects.bulk_update(
        [one for one in changed if one is not None], [*NUMBERS, "suspects", "missing"], batch_size=500
    )
    still = {one.key for one in found}
    vanished = [one for key, one in known.items() if key not in still]
    Difference.objects.filter(pk__in=[one.pk for one in vanished]).update(is_open=False, explained_at=now)
    touched = {one.case_id for one in (*vanished, *(one for one in changed if one is not None))}
    grown = _add(fresh, now) if fresh else set()
    if touched or grown:
        _sum_up(touched | grown, grown, now)


def _hold(cases: QuerySet[Case]) -> None:
    """Lock cases by id, before their differences: the order of all who change one."""
    list(cases.order_by("pk").select_for_update(of=("self",)).values_list("pk"))


def _key(one: Difference) -> tuple[object, ...]:
    line = (one.currency, one.method, one.scheme, one.transaction_kind)
    return (one.terminal_id, one.batch_number, one.kind, *line, one.detail)


def _without_settled(fresh: Sequence[Found], of: Q) -> list[Found]:
    """Leave out what somebody has looked at and closed, number for number. What is not settled yet comes again each time."""
    if not fresh:
        return []
    closed = Difference.objects.filter(of, is_open=False, explained_at=None, case__state=CaseState.RESOLVED)
    done = {(_key(one), *(getattr(one, name) for name in NUMBERS)) for one in closed}
    return [
        one
        for one in fresh
        if SUBJECTS[one.kind] is Subject.SETTLING or (one.key, *(getattr(one, name) for name in NUMBERS)) not in done
    ]


def _renewed(present: Difference, found: Found) -> Difference | None:
    """Return a difference with other numbers than it had; nothing where they are the same."""
    said = {name: getattr(found, name) for name in NUMBERS}
    said |= {"suspects": list(found.suspects), "missing": list(found.missing)}
    if all(getattr(present, name) == value for name, value in said.items()):
        return None
    for name, value in said.items():
        setattr(present, name, value)
    return present


def _add(fresh: Sequence[Found], now: datetime) -> set[int]:
    """Write new differences into their live cases, opened where there is none; return the cases."""
    places = {one.place for one in fresh}
    cases = _live(places)
    missing = sorted((place for place in places if place not in cases), key=str)
    made = [Case(**place._asdict(), due_at=now, opened_at=now) for place in missing]
    Case.objects.bulk_create(made, ignore_conflicts=True)  # somebody else may open the same at this moment
    cases = _live(places)
    Difference.objects.bulk_create(
        Difference(
            case_id=cases[one.place],
            found_at=now,
            **{
                name: value
                for name, value in one._asdict().items()
                if name not in ("organisation_id", "suspects", "missing")
            },
            suspects=list(one.suspects),
            missing=list(one.missing),
        )
        for one in fresh
    )
    counts: dict[int, int] = defaultdict(int)
    for one in fresh:
        counts[cases[one.place]] += 1
    for number in set(counts.values()):
        mine = [pk for pk, count in counts.items() if count == number]
        Case.objects.filter(pk__in=mine).update(seen_count=F("seen_count") + number, grown_at=now)
    return set(counts)


def _live(places: Iterable[Place]) -> dict[Place, int]:
    wanted = set(places)
    terminals = [place.terminal_id for place in wanted if place.terminal_id is not None]
    mine = Q(terminal__in=id_set(terminals)) | Q(
        terminal=None, organisation__in=[place.organisation_id for place in wanted if place.terminal_id is None]
    )
    if any(place.terminal_id is None and place.organisation_id is None for place in wanted):
        mine |= Q(terminal=None, organisation=None)
    live = Case.objects.filter(mine, state__in=LIVE_VALUES).order_by("pk").select_for_update(of=("self",))
    rows = live.values_list("pk", *Place._fields)
    return {Place(*place): pk for pk, *place in rows}


def _sum_up(case_ids: Iterable[int], grown: set[int], now: datetime) -> None:
    """Write what is at stake in cases: severity and due time follow from it; a case with nothing left is explained."""
    open_ones = Q(differences__is_open=True)
    stake = Abs(F("differences__expected_minor") - F("differences__found_minor"))
    cases = Case.objects.filter(pk__in=list(case_ids)).annotate(
        open_now=Count("differences", filter=open_ones), at_stake=Sum(stake, filter=open_ones, default=0)
    )
    opened: list[tuple[int, CaseOpened]] = []
    ended: list[tuple[int, CaseExplained | CaseGrew]] = []
    rows = list(cases)
    for case in rows:
        first = case.difference_count == 0 and case.pk in grown and case.amount_minor == 0 and case.seen_count > 0
        case.difference_count, case.amount_minor = case.open_now, case.at_stake
        severity, within = urgency(case.amount_minor, case.currency)
        case.severity, case.due_at = (
            severity.value,
            min(case.due_at, case.opened_at + within) if not first else case.opened_at + within,
        )
        if case.state in LIVE_VALUES and case.difference_count == 0:
            case.state, case.closed_at = CaseTransition.explain.after(case.state), now
            ended.append((case.terminal_id or 0, CaseExplained(case.pk)))
        elif case.pk in grown and case.state == CaseState.APPROVING:
            grew = CaseGrew(case.pk, case.resolution, case.resolved_by, case.amount_minor, case.currency)
            ended.append((case.terminal_id or 0, grew))
            case.state, case.resolved_by, case.resolution = CaseTransition.grow.after(case.state), "", ""
        if first and case.terminal_id:
            told = CaseOpened(case.pk, case.subject, case.amount_minor, case.currency, case.difference_count)
            opened.append((case.terminal_id, told))
    _write_stakes(rows)
    record_facts([*opened, *((pk, fact) for pk, fact in ended if pk)])


# Raw: the ORM's bulk_update takes a CASE for each row and column, most of what opening a case costs.
WRITE_STAKES = """
UPDATE settlement_case c
   SET difference_count = w.difference_count, amount_minor = w.amount_minor, severity = w.severity, due_at = w.due_at,
       state = w.state, closed_at = w.closed_at, resolved_by = w.resolved_by, resolution = w.resolution
  FROM json_to_recordset(%s) AS w(id bigint, difference_count integer, amount_minor bigint, severity text, due_at timestamptz,
       state text, closed_at timestamptz, resolved_by text, resolution text)
 WHERE c.id = w.id
"""
STAKES = (
    "id",
    "difference_count",
    "amount_minor",
    "severity",
    "due_at",
    "state",
    "closed_at",
    "resolved_by",
    "resolution",
)


def _write_stakes(cases: Sequence[Case]) -> None:
    said = [{name: getattr(case, name) for name in STAKES} for case in cases]
    with connection.cursor() as cursor:
        cursor.execute(WRITE_STAKES, [msgspec.json.encode(said).decode()])
