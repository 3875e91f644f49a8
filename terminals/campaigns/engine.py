"""What runs campaigns: whose turn it is, and who did not come back. Cost grows with what is due.

A campaign's row is locked for each step, so that two workers never judge or begin a wave at once.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled, SerializationFailure

from terminals.bulk.fitness import refused_among
from terminals.campaigns import following, rules
from terminals.campaigns.facts import CampaignEnded, DeadlinePassed, LeftOutBecause, NotBack
from terminals.campaigns.kinds import Kind, Order, asked_by, kinds
from terminals.campaigns.members import Move, fold_tallies, move_all, move_members, tallied
from terminals.campaigns.models import Campaign, Member
from terminals.campaigns.reports import LEFT_SERVICE, Came, report
from terminals.campaigns.rules import ACTOR, LIVE, CampaignState, CampaignTransition, MemberState, MemberTransition
from terminals.campaigns.settings import window_of
from terminals.campaigns.waves import begin_rest, counts_of, look_at_waves
from terminals.common.audit import services as audit
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_facts
from terminals.common.refusals import columns_of
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.rules import COMMANDED_STATES
from terminals.estate.services import Held, hold
from terminals.link.services import Target

logger = logging.getLogger(__name__)
# What stands in the way of one statement, and of no other campaign.
IN_THE_WAY = (DeadlockDetected, LockNotAvailable, QueryCanceled, SerializationFailure)
CHUNK = 1000
LOOK_AGAIN_AFTER = timedelta(minutes=10)  # at what stands in a terminal's way and passes by itself


def run_campaigns(until: float) -> int:
    """Take steps of the campaigns in turns, as long as there is time (`until` by the monotonic clock) and anything to do; return
    how many terminals moved."""
    done = 0
    under_way = Member.objects.filter(wave__campaign=OuterRef("pk"), state=MemberState.ORDERED)
    followed = Q(state__in=LIVE) | (Q(state=CampaignState.CANCELLED) & Exists(under_way))
    waiting = list(Campaign.objects.filter(followed).order_by("pk").values_list("pk", flat=True))
    while waiting and time.monotonic() < until:
        _join()
        moved = {pk: _step_or_pause(pk) for pk in waiting}
        done += sum(moved.values())
        waiting = [pk for pk in waiting if moved[pk]]
    return done


def _join() -> None:
    """Let newcomers join; who meets another's work is looked at the next time."""
    try:
        following.join_newcomers()
    except (OperationalError, InterfaceError) as error:
        if not isinstance(error.__cause__, IN_THE_WAY):
            raise  # the database is away
        logger.warning("newcomers are looked at again: %s", str(error).splitlines()[0])


def _step_or_pause(campaign_id: int) -> int:
    """Take a step. One that meets another's (a deadlock, a terminal that was asked by hand meanwhile) is taken anew the next
    time; a campaign that cannot go on pauses, and holds up no other."""
    try:
        return step(campaign_id, timezone.now())
    except IntegrityError as error:
        logger.warning("campaign %s met another's work: %s", campaign_id, str(error).splitlines()[0])
        return 0
    except (OperationalError, InterfaceError) as error:
        if not isinstance(error.__cause__, IN_THE_WAY):
            raise  # the database is away
        logger.warning("campaign %s is tried again: %s", campaign_id, str(error).splitlines()[0])
        return 0
    except Exception:
        logger.exception("campaign %s cannot go on", campaign_id)
        with transaction.atomic():
            if move(Campaign.objects.filter(pk=campaign_id), CampaignTransition.pause):
                audit.record(actor=ACTOR, action="campaign.error", subject=f"campaign:{campaign_id}")
        return 0


def step(campaign_id: int, now: datetime) -> int:
    """Do what is due of one campaign; return how many terminals moved, or 1 where a wave did. 0: nothing is due now."""
    return _close_late(campaign_id, now) + _go_on(campaign_id, now)


@transaction.atomic
def _go_on(campaign_id: int, now: datetime) -> int:
    due, began = _due(campaign_id, now), time.monotonic()
    held = hold(due.values())
    live = Campaign.objects.filter(pk=campaign_id, state__in=LIVE)
    campaign = live.select_for_update(skip_locked=True, of=("self",), no_key=True).first()
    if campaign is None:
        return 0
    fold_tallies(campaign)
    if campaign.ends_at is not None and now >= campaign.ends_at:
        return _end(campaign, now)
    if campaign.state != CampaignState.RUNNING:
        return 0
    moved = look_at_waves(campaign, now) + begin_rest(campaign, now)
    if campaign.state != CampaignState.RUNNING:  # a guard has just stopped it
        return moved
    # For locks: nobody is asked outside of a window because of that.
    waited = timedelta(seconds=time.monotonic() - began)
    return moved + _ask(campaign, due, held, now + waited)


# Raw: the ORM would ask each wave. Whose turn has come, the longest due first, in the order in which waves began.
DUE = """
SELECT d.id, d.terminal_id
  FROM campaigns_campaign c
  JOIN campaigns_wave w ON w.campaign_id = c.id AND w.begun_at IS NOT NULL
 CROSS JOIN LATERAL (SELECT m.id, m.terminal_id, m.due_at FROM campaigns_member m
                      WHERE m.wave_id = w.id AND m.state = 'waiting' AND m.due_at <= %(now)s
                      ORDER BY m.due_at LIMIT %(most)s) AS d
 WHERE c.id = %(campaign)s AND c.state = 'running'
 ORDER BY d.due_at LIMIT %(most)s
"""


def _due(campaign_id: int, now: datetime) -> dict[int, int]:
    """Return member -> terminal."""
    with connection.cursor() as cursor:
        cursor.execute(DUE, {"campaign": campaign_id, "now": now, "most": CHUNK})
        return dict(cursor.fetchall())


# --- asking ----------------------------------------------------------------------------------------------------------
def _ask(campaign: Campaign, due: Mapping[int, int], held: Mapping[int, Held], now: datetime) -> int:
    """Ask those whose turn it is: within their windows, at the campaign's rate, no more at once than it says."""
    room = _room(campaign, now)
    rows = Member.objects.filter(pk__in=list(due), state=MemberState.WAITING, due_at__lte=now)
    # All of them first, by id: they move in several statements.
    locked = rows.order_by("pk").select_for_update(of=("self",), no_key=True)
    columns = ("due_at", "pk", "terminal_id", "attempt", "failures", "terminal__store__time_zone")
    members = [row[1:] for row in sorted(locked.values_list(*columns))]
    window = None if campaign.settings.get("download_ahead") else window_of(campaign.settings)
    opens = {zone: rules.opens_at(window, zone, now) for zone in {zone for *_rest, zone in members}}
    shut = [
        Move(pk, "window", due_at=min(filter(None, (opens[zone], campaign.ends_at))))
        for pk, _terminal, _attempt, _failures, zone in members
        if opens[zone] > now
    ]
    open_ones = [one for one in members if opens[one[4]] <= now]
    turn = {one[1]: Turn(one[0], *one[2:]) for one in open_ones[:room]}
    move_members(shut, MemberTransition.wait, now)
    asked = _order(campaign, turn, held, now) if turn else 0
    return len(shut) + asked


def _room(campaign: Campaign, now: datetime) -> int:
    """Return how many may be asked now: by the rate since it was used last (at most a minute's), and by who has not answered."""
    per_minute = campaign.settings["per_minute"]
    since = max(campaign.asked_to or now, now - timedelta(minutes=1))
    by_rate = int(per_minute * (now - since).total_seconds() / 60)
    unanswered = sum(one.number for one in tallied(Q(wave__campaign=campaign, state=MemberState.ORDERED)))
    at_once: int = campaign.settings["at_once"]
    return max(0, min(by_rate, at_once - unanswered))


class Turn(NamedTuple):
    """A member that is asked now."""

    member_id: int
    attempt: int
    failures: int
    time_zone: str


def _order(campaign: Campaign, turn: Mapping[int, Turn], held: Mapping[int, Held], now: datetime) -> int:
    kind, ids = kinds.named(campaign.kind), sorted(turn)
    refused = _refused(kind, campaign, ids)
    fit = [pk for pk in ids if pk not in refused]
    before = kind.before(fit, campaign.arguments) if kind.before else {}
    spans = _spans(campaign, turn, now)
    moves = [
        Move(
            turn[pk].member_id,
            due_at=spans[turn[pk].time_zone].late_at,
            attempt=turn[pk].attempt + 1,
            before=before.get(pk),
        )
        for pk in fit
    ]
    ordered = {one.terminal_id for one in move_members(moves, MemberTransition.order, now)}
    _send(campaign, {pk: turn[pk] for pk in fit if pk in ordered}, held, spans)
    _put_aside(kind, turn, refused, now)
    used = timedelta(minutes=len(ordered) / campaign.settings["per_minute"])
    since = max(campaign.asked_to or now, now - timedelta(minutes=1))
    campaign.asked_to = min(now, since + used)
    campaign.save(update_fields=["asked_to"])
    return len(ids)


class Span(NamedTuple):
    """What holds for the terminals of a zone that are asked now: from when on they may change (now, where None), how long what is
    sent is good, and when one that did not come back is late."""

    activate_at: datetime | None
    valid_for: timedelta
    late_at: datetime


def _spans(campaign: Campaign, turn: Mapping[int, Turn], now: datetime) -> dict[str, Span]:
    """Return zone -> its span: what is sent is good no longer than the window of the zone."""
    timeout = timedelta(minutes=campaign.settings["timeout_minutes"])
    window, spans = window_of(campaign.settings), {}
    for zone in {one.time_zone for one in turn.values()}:
        opens = rules.opens_at(window, zone, now)
        closes = rules.closes_at(window, zone, opens)
        ends = opens + timeout if closes is None else min(opens + timeout, closes)
        spans[zone] = Span(opens if opens > now else None, ends - now, opens + timeout)
    return spans


def _send(campaign: Campaign, turn: Mapping[int, Turn], held: Mapping[int, Held], spans: Mapping[str, Span]) -> None:
    """Ask terminals, those with the same span together."""
    asker = asked_by(campaign.pk)
    alike: dict[Span, list[Target]] = defaultdict(list)
    for pk, one in turn.items():
        alike[spans[one.time_zone]].append(Target(pk, held[pk].device_id))
    for span, targets in alike.items():
        conditions = campaign.settings["conditions"]
        order = Order(campaign.arguments, span.valid_for, conditions, campaign.pk, span.activate_at)
        kinds.named(campaign.kind).order(targets, order)
    if turn:
        subjects = [f"terminal:{held[pk].serial}" for pk in turn]
        action, detail = f"campaign.{campaign.kind}", {"campaign": campaign.pk}
        audit.record_many(actor=asker, action=action, subjects=subjects, detail=detail)


def _put_aside(kind: Kind, turn: Mapping[int, Turn], refused: Mapping[int, Refusal], now: datetime) -> None:
    """Those that cannot have it are left out, or have failed where it failed before; what passes by itself is waited for."""
    left, waits, failed = [], [], []
    for pk, refusal in refused.items():
        reasons = [LeftOutBecause(**_told(refusal)).stored()]
        if refusal.reason in kind.passing:
            waits.append(Move(turn[pk].member_id, refusal.reason, reasons, due_at=now + LOOK_AGAIN_AFTER))
        elif turn[pk].attempt or turn[pk].failures:  # they stay in the guard's count, whatever stands in their way now
            failed.append(Move(turn[pk].member_id, refusal.reason, reasons))
        else:
            left.append(Move(turn[pk].member_id, refusal.reason, reasons))
    move_members(failed, MemberTransition.fail, now)
    move_members(left, MemberTransition.leave_out, now)
    move_members(waits, MemberTransition.wait, now)


def _told(refusal: Refusal) -> dict[str, Any]:
    columns = columns_of(refusal)
    return {"template": columns["template"], "values": columns["values"]}


MOVED = Refusal("moved_elsewhere", "it stands elsewhere by now, where nobody has agreed to this")


def _refused(kind: Kind, campaign: Campaign, ids: Sequence[int]) -> dict[int, Refusal]:
    """Return whom a campaign leaves out as they are now, each by the first reason that holds: those that were moved out of the
    part of the tree for which it was proposed, and those that its kind leaves out."""
    strangers = Terminal.objects.order_by().filter(pk__in=id_set(ids)).exclude(path__startswith=campaign.path)
    refused: dict[int, Refusal] = dict.fromkeys(strangers.values_list("pk", flat=True), MOVED)
    return refused | refused_among(set(ids) - refused.keys(), kind.unfit(campaign.arguments))


# --- those who do not answer -----------------------------------------------------------------------------------------
@transaction.atomic
def _close_late(campaign_id: int, now: datetime) -> int:
    """Terminals that did not come back in time have failed, or have another turn; those that left service meanwhile are left out,
    and count against the guard. A transaction of its own: it takes members without the campaign."""
    late = Member.objects.filter(wave__campaign=campaign_id, state=MemberState.ORDERED, due_at__lte=now)
    columns = ("pk", "terminal_id", "terminal__state", "wave__campaign__settings")
    rows = list(late.order_by("pk").select_for_update(of=("self",), no_key=True).values_list(*columns)[:CHUNK])
    if not rows:
        return 0
    gone = [pk for pk, _terminal, state, _settings in rows if state not in COMMANDED_STATES]
    reason = NotBack(rows[0][3]["timeout_minutes"]).stored()
    report({(row[1], campaign_id): Came(False, "not_back", (reason,)) for row in rows if row[0] not in set(gone)})
    move_members((Move(pk, LEFT_SERVICE) for pk in gone), MemberTransition.leave_out, now)
    return len(rows)


def _end(campaign: Campaign, now: datetime) -> int:
    """The deadline has passed: who was tried has failed, who never had a turn is left out, no wave begins, and it is done when
    those that were asked have answered or are late."""
    waiting = Member.objects.filter(wave__campaign=campaign, state=MemberState.WAITING)
    locked = waiting.order_by("pk").select_for_update(of=("self",), no_key=True)
    rows = [
        (pk, attempt or failures) for pk, attempt, failures in locked.values_list("pk", "attempt", "failures")[:CHUNK]
    ]
    reasons = [DeadlinePassed().stored()]
    tried = [Move(pk, "deadline", reasons) for pk, attempt in rows if attempt]
    ended = move_members(tried, MemberTransition.fail, now)
    told = CampaignEnded(campaign.pk, campaign.name, MemberState.FAILED.value, reasons)
    record_facts((one.terminal_id, told) for one in ended)
    move_members(
        (Move(pk, "deadline", reasons) for pk, attempt in rows if not attempt), MemberTransition.leave_out, now
    )
    waves = list(campaign.waves.values_list("pk", flat=True))
    dropped = move_all(waves, MemberTransition.drop, now) if not rows else 0
    if not rows and not any(counts.open for counts in counts_of(waves).values()):
        move(Campaign.objects.filter(pk=campaign.pk), CampaignTransition.finish, finished_at=now)
    return len(rows) + dropped
