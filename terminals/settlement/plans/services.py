"""Plans and what is set at levels: written here with their audit entries; the schedules that follow from them.

A change marks the schedules below it as stale in one statement. A few of them are worked out at once, the rest by the tick.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_fact_of_many, record_facts
from terminals.common.sql import id_set
from terminals.estate.levels import INSTALLATION, Level
from terminals.estate.models import Merchant, Organisation, Store, Terminal
from terminals.estate.rules import TerminalState
from terminals.estate.services import hold
from terminals.settlement.plans import due, rules
from terminals.settlement.plans.cycles import share_of
from terminals.settlement.plans.effective import Place, Resolved, Said, columns_of, resolve
from terminals.settlement.plans.facts import ScheduleChanged
from terminals.settlement.plans.models import (
    BusinessCalendar,
    EffectivePlan,
    PlanLevel,
    SettlementPlan,
    SettlementSchedule,
)
from terminals.settlement.plans.thresholds import mark_over_threshold

SET_SCHEDULE = "settlement.change_planlevel"  # what setting a plan or settings at a level needs
AT_ONCE = 1000  # schedules that a change works out itself; the tick does the rest
CHUNK = 5000
NODES: dict[str, Any] = {"organisation": Organisation, "merchant": Merchant, "store": Store, "terminal": Terminal}


# --- schedules -------------------------------------------------------------------------------------------------------
def ensure_schedules(terminal_ids: Iterable[int], now: datetime) -> None:
    """Give terminals that have none a schedule by what holds at their place."""
    wanted = set(terminal_ids)
    missing = wanted - set(SettlementSchedule.objects.filter(pk__in=id_set(wanted)).values_list("pk", flat=True))
    if not missing:
        return
    plans = _effective_plans(missing)
    SettlementSchedule.objects.bulk_create(
        [SettlementSchedule(pk=pk, effective_id=plans[pk], jitter_share=share_of(pk)) for pk in sorted(plans)],
        ignore_conflicts=True,
    )
    due.move_on([due.Slot(pk, plans[pk], share_of(pk)) for pk in sorted(plans)], now)


def _effective_plans(terminal_ids: Iterable[int]) -> dict[int, int]:
    """Return terminal -> the id of the effective plan that holds for it, made where nobody had it before."""
    places = places_of(Terminal.objects.filter(pk__in=list(terminal_ids)))
    resolved = resolve(places.values())
    known = _stored(resolved.values())
    return {pk: known[resolved[place].digest] for pk, place in places.items()}


def places_of(terminals: QuerySet[Terminal]) -> dict[int, Place]:
    """Return where terminals stand, as far as it decides what holds for them."""
    own = set(PlanLevel.objects.filter(terminal__in=terminals.values("pk")).values_list("terminal_id", flat=True))
    rows = terminals.values_list("pk", "path", "store__time_zone")
    return {pk: Place(path, zone, pk if pk in own else None) for pk, path, zone in rows}


def _stored(resolved: Iterable[Resolved]) -> dict[str, int]:
    """Return digest -> id of effective plans; two who make the same one at once end with one."""
    by_digest = {one.digest: one for one in resolved}
    known = dict(EffectivePlan.objects.filter(digest__in=by_digest).values_list("digest", "pk"))
    fresh = [one for digest, one in by_digest.items() if digest not in known]
    if fresh:
        calendars = set(BusinessCalendar.objects.values_list("pk", flat=True))
        EffectivePlan.objects.bulk_create(
            [
                EffectivePlan(
                    digest=one.digest,
                    plan_id=one.plan_id,
                    calendar_id=one.settings["calendar"] if one.settings["calendar"] in calendars else None,
                    settings=one.settings,
                )
                for one in fresh
            ],
            ignore_conflicts=True,
        )
        known = dict(EffectivePlan.objects.filter(digest__in=by_digest).values_list("digest", "pk"))
    return known


def _follow(schedules: QuerySet[SettlementSchedule]) -> None:
    """What holds for these schedules was changed: mark them, and work a few of them out at once."""
    schedules.filter(is_stale=False).update(is_stale=True)
    _refresh_chunk(schedules.filter(is_stale=True), AT_ONCE)


def refresh_stale() -> int:
    """Work out the schedules that a change has left for later; return how many."""
    done = 0
    while count := _refresh_chunk(SettlementSchedule.objects.filter(is_stale=True), CHUNK):
        done += count
    return done


@transaction.atomic
def _refresh_chunk(stale: QuerySet[SettlementSchedule], limit: int) -> int:
    now = timezone.now()
    rows = stale.order_by("pk").select_for_update(of=("self",), skip_locked=True).values_list("pk", "jitter_share")
    shares = dict(rows[:limit])
    if not shares:
        return 0
    plans = _effective_plans(shares)
    due.move_on([due.Slot(pk, plans[pk], share) for pk, share in shares.items()], now, keep_due=True)
    mark_over_threshold(shares, now)
    return len(shares)


def follow_terminals(terminal_ids: Sequence[int]) -> None:
    """Terminals moved to another store: what is set there holds for them, and its clock."""
    _follow(SettlementSchedule.objects.filter(pk__in=terminal_ids))


def follow_store(store_id: int) -> None:
    """The store's clock was changed: its terminals whose settings go by it are due by the new one."""
    _follow(SettlementSchedule.objects.filter(terminal__store=store_id))


# --- plans, calendars, levels ----------------------------------------------------------------------------------------
@transaction.atomic
def change_plan(plan: SettlementPlan, *, actor: str) -> None:
    """Save an edited or a new plan; its terminals are due by it at once. Who is due now stays due."""
    refuse_unknown_calendar(plan.settings)
    old = audit.stored_values(plan)
    plan.save()
    action = f"settlementplan.{'update' if old else 'create'}"
    new = audit.stored_values(plan)
    audit.record_change(actor=actor, action=action, instance=plan, old=old, new=new)
    concerned = Q(effective__plan=plan)
    if plan.is_default or (old and old["is_default"]):
        concerned |= Q(effective__plan=None) | Q(effective__plan__is_default=True)
    _follow(SettlementSchedule.objects.filter(concerned))


@transaction.atomic
def change_calendar(calendar: BusinessCalendar, *, actor: str) -> None:
    """Save an edited or a new calendar; terminals that go by it are due by it at once."""
    old = audit.stored_values(calendar)
    calendar.save()
    action = f"businesscalendar.{'update' if old else 'create'}"
    audit.record_change(actor=actor, action=action, instance=calendar, old=old, new=audit.stored_values(calendar))
    _follow(SettlementSchedule.objects.filter(effective__calendar=calendar))


def refuse_unknown_calendar(settings: Mapping[str, Any]) -> None:
    """Raise Refusal where settings name a calendar that is not there."""
    named = settings.get("calendar")
    if named is not None and not BusinessCalendar.objects.filter(pk=named).exists():
        raise Refusal("bad_setting", "calendar: there is none with the id %(id)s", id=named)


@transaction.atomic
def set_level(*, level: Level, plan: SettlementPlan | None, settings: Any, actor: str) -> PlanLevel | None:
    """Set what holds at one level, the whole of it: a plan or none, and settings that go before it. Nothing at all takes away
    what was set there. Raises Refusal, with nothing changed, for a setting that does not fit."""
    settings = _checked(settings)
    if level[0] == "terminal":
        _hold_in_service(level[1])
        ensure_schedules([level[1]], timezone.now())
    present = PlanLevel.objects.select_for_update(of=("self",)).filter(**columns_of(level)).first()
    old = audit.stored_values(present) if present else {}
    if plan is None and not settings:
        if present is not None:
            audit.record_change(actor=actor, action="planlevel.delete", instance=present, old=old, new={})
            present.delete()
        one = None
    else:
        one = present or PlanLevel(**columns_of(level))
        one.plan, one.settings, one.changed_at, one.changed_by = plan, settings, timezone.now(), actor
        one.save()
        action = f"planlevel.{'update' if present else 'create'}"
        audit.record_change(actor=actor, action=action, instance=one, old=old, new=audit.stored_values(one))
    _follow(schedules_below(level))
    if level[0] == "terminal":
        schedule = SettlementSchedule.objects.select_related("effective__plan").get(pk=level[1])
        record_facts([(level[1], _changed(schedule, own=bool(settings), actor=actor))])
    return one


def _checked(settings: Any) -> dict[str, Any]:
    kept: dict[str, Any] = rules.checked(settings)
    refuse_unknown_calendar(kept)
    return kept


def _hold_in_service(terminal_id: int) -> None:
    """Hold a terminal, first of all that is its; raise Refusal where it has retired meanwhile."""
    held = hold([terminal_id]).get(terminal_id)
    if held is None or held.state == TerminalState.RETIRED:
        raise Refusal("not_in_service", "the terminal is retired: it settles no more")


class Preview(NamedTuple):
    """What setting something at a level would do: how many terminals are below, for how many something changes, and how many of
    them would not settle by themselves any more."""

    below: int
    touched: int
    stranded: list[int]


def preview(*, level: Level, plan: SettlementPlan | None, settings: Any) -> Preview:
    """Return what setting this would do. Changes nothing; raises Refusal for a setting that does not fit."""
    said = Said(plan, _checked(settings))
    places = places_of(Terminal.objects.filter(schedule__in=schedules_below(level)))
    if level[0] == "terminal":
        places = {pk: place._replace(own_id=pk) for pk, place in places.items()}
    before, after = resolve(places.values()), resolve(places.values(), instead=(level, said))
    touched = {pk for pk, place in places.items() if before[place].settings != after[place].settings}
    stranded = [
        pk
        for pk in touched
        if rules.settles_by_itself(before[places[pk]].settings)
        and not rules.settles_by_itself(after[places[pk]].settings)
    ]
    return Preview(len(places), len(touched), stranded)


def _changed(schedule: SettlementSchedule, *, own: bool, actor: str) -> ScheduleChanged:
    plan = schedule.effective.plan
    by_itself = schedule.settles_by_itself()
    return ScheduleChanged(by=actor, plan=plan.name if plan else "", own=own, by_itself=by_itself)


def schedules_below(level: Level) -> QuerySet[SettlementSchedule]:
    """Return the schedules for which something changes when something is set at a level."""
    kind, key = level
    rows = SettlementSchedule.objects.all()
    if level == INSTALLATION:
        return rows
    if kind == "terminal":
        return rows.filter(pk=key)
    return rows.filter(terminal__path__startswith=NODES[kind].objects.get(pk=key).path)


@transaction.atomic
def set_plan(*, terminal_ids: Sequence[int], plan: SettlementPlan, actor: str) -> None:
    """Put terminals under a plan, without anything of their own, set-based; whoever calls it audits it. Who is due stays due."""
    now = timezone.now()
    ensure_schedules(terminal_ids, now)
    said = {"plan": plan, "settings": {}, "changed_at": now, "changed_by": actor}
    PlanLevel.objects.filter(terminal__in=terminal_ids).update(**said)
    present = set(PlanLevel.objects.filter(terminal__in=terminal_ids).values_list("terminal_id", flat=True))
    PlanLevel.objects.bulk_create(PlanLevel(terminal_id=pk, **said) for pk in sorted(set(terminal_ids) - present))
    _follow(SettlementSchedule.objects.filter(pk__in=terminal_ids))
    by_itself = rules.settles_by_itself(rules.complete(plan.settings))
    record_fact_of_many(terminal_ids, ScheduleChanged(by=actor, plan=plan.name, own=False, by_itself=by_itself))


def take_over_schedule(old_id: int, new_id: int, actor: str) -> None:
    """Give a device that replaces another what was set for the other itself; what is set above holds for it anyway."""
    for one in PlanLevel.objects.filter(terminal=old_id):
        made = PlanLevel.objects.create(terminal_id=new_id, plan=one.plan, settings=one.settings, changed_by=actor)
        detail = {"from": f"terminal:{old_id}"}
        audit.record(actor=actor, action="planlevel.take_over", subject=audit.subject_of(made), detail=detail)
    ensure_schedules([new_id], timezone.now())
