"""What runs campaigns: whose turn it is, and who did not come back. Cost grows with what is due.

A campaign's row is locked for each step, so that two workers never judge or begin a wave at once.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from terminals.campaigns import rules
from terminals.campaigns.facts import CampaignEnded, DeadlinePassed, LeftOutBecause, NotBack
from terminals.campaigns.kinds import Kind, Order, kinds
from terminals.campaigns.members import Move, move_members
from terminals.campaigns.models import Campaign, Member, Tally
from terminals.campaigns.rules import LIVE, CampaignState, CampaignTransition, MemberState, MemberTransition
from terminals.campaigns.services import Came, report
from terminals.campaigns.settings import window_of
from terminals.campaigns.waves import ACTOR, look_at_waves
from terminals.common.audit import services as audit
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_facts
from terminals.common.refusals import columns_of
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.services import Held, hold
from terminals.link.services import Target

logger = logging.getLogger(__name__)
CHUNK = 1000


def run_campaigns(until: float) -> int:
    """Take steps of the live campaigns in turns, as long as there is time (`until` by the monotonic clock) and anything to do;
    return how many terminals moved."""
    done = 0
    waiting = list(Campaign.objects.filter(state__in=LIVE).order_by("pk").values_list("pk", flat=True))
    while waiting and time.monotonic() < until:
        moved = {pk: _step_or_pause(pk) for pk in waiting}
        done += sum(moved.values())
        waiting = [pk for pk in waiting if moved[pk]]
    return done


def _step_or_pause(campaign_id: int) -> int:
    try:
        return step(campaign_id, timezone.now())
    except (OperationalError, InterfaceError):  # the database is away, or a deadlock: it is tried again
        raise
    except Exception:  # one campaign that cannot go on holds up no other
        logger.exception("campaign %s cannot go on", campaign_id)
        move(Campaign.objects.filter(pk=campaign_id), CampaignTransition.pause)
        return 0


@transaction.atomic
def step(campaign_id: int, now: datetime) -> int:
    """Do what is due of one campaign; return how many terminals moved, or 1 where a wave did. 0: nothing is due now."""
    due = _due(campaign_id, now)
    held = hold(due.values())
    chosen = Campaign.objects.filter(pk=campaign_id, state__in=LIVE).select_for_update(skip_locked=True, of=("self",))
    campaign = chosen.first()
    if campaign is None:
        return 0
    late = _close_late(campaign, now)
    if campaign.state != CampaignState.RUNNING:
        return late
    moved = look_at_waves(campaign, now)
    return late + moved + _ask(campaign, due, held, now)


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
    rows = Member.objects.filter(pk__in=list(due), state=MemberState.WAITING).order_by("due_at", "pk")
    members = list(rows.values_list("pk", "terminal_id", "attempt", "terminal__store__time_zone"))
    window = window_of(campaign.settings)
    opens = {zone: rules.opens_at(window, zone, now) for zone in {zone for *_rest, zone in members}}
    shut = [Move(pk, "window", due_at=opens[zone]) for pk, _terminal, _attempt, zone in members if opens[zone] > now]
    open_ones = [one for one in members if opens[one[3]] <= now]
    if campaign.ends_at is not None and now >= campaign.ends_at:
        return _end_late([pk for pk, *_rest in members], campaign, now)
    turn = {terminal_id: (pk, attempt) for pk, terminal_id, attempt, _zone in open_ones[:room]}
    move_members(shut, MemberTransition.wait, now)
    asked = _order(campaign, turn, held, now) if turn else 0
    return len(shut) + asked


def _room(campaign: Campaign, now: datetime) -> int:
    """Return how many may be asked now: by the rate since it was used last (at most a minute's), and by who has not answered."""
    per_minute = campaign.settings["per_minute"]
    since = max(campaign.asked_to or now, now - timedelta(minutes=1))
    by_rate = int(per_minute * (now - since).total_seconds() / 60)
    tallies = Tally.objects.filter(wave__campaign=campaign, state=MemberState.ORDERED)
    unanswered = sum(tallies.values_list("number", flat=True))
    at_once: int = campaign.settings["at_once"]
    return max(0, min(by_rate, at_once - unanswered))


def _order(campaign: Campaign, turn: Mapping[int, tuple[int, int]], held: Mapping[int, Held], now: datetime) -> int:
    kind, ids = kinds.named(campaign.kind), sorted(turn)
    refused = _refused(kind, campaign.arguments, ids)
    fit = [pk for pk in ids if pk not in refused]
    before = kind.before(fit, campaign.arguments)
    timeout = timedelta(minutes=campaign.settings["timeout_minutes"])
    moves = [
        Move(turn[pk][0], due_at=now + timeout, attempt=turn[pk][1] + 1, before=_first(before.get(pk))) for pk in fit
    ]
    ordered = {one.terminal_id for one in move_members(moves, MemberTransition.order, now)}
    targets = [Target(pk, held[pk].device_id) for pk in fit if pk in ordered]
    if targets:
        asked_by = f"{ACTOR} {campaign.pk}"
        kind.order(targets, Order(campaign.arguments, timeout, campaign.settings["conditions"], asked_by))
        subjects = [f"terminal:{held[target.terminal_id].serial}" for target in targets]
        audit.record_many(
            actor=asked_by,
            action=f"campaign.{campaign.kind}",
            subjects=subjects,
            detail={"campaign": campaign.pk},
        )
    left = [
        Move(turn[pk][0], refusal.reason, [LeftOutBecause(**_told(refusal)).stored()])
        for pk, refusal in refused.items()
    ]
    move_members(left, MemberTransition.leave_out, now)
    used = timedelta(minutes=len(targets) / campaign.settings["per_minute"])
    since = max(campaign.asked_to or now, now - timedelta(minutes=1))
    campaign.asked_to = min(now, since + used)
    campaign.save(update_fields=["asked_to"])
    return len(ids)


def _first(before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(before) if before is not None else None


def _told(refusal: Refusal) -> dict[str, Any]:
    columns = columns_of(refusal)
    return {"template": columns["template"], "values": columns["values"]}


def _refused(kind: Kind, arguments: Mapping[str, Any], ids: Sequence[int]) -> dict[int, Refusal]:
    """Return whom a kind leaves out as they are now, each by the first reason that holds."""
    refused: dict[int, Refusal] = {}
    for unfit in kind.unfit(arguments):
        rest = Terminal.objects.order_by().filter(pk__in=id_set(set(ids) - refused.keys()))
        refusal = Refusal(unfit.reason, unfit.template, **unfit.values)
        refused |= dict.fromkeys(rest.filter(unfit.q).values_list("pk", flat=True), refusal)
    return refused


# --- those who do not answer -----------------------------------------------------------------------------------------
def _close_late(campaign: Campaign, now: datetime) -> int:
    """Terminals that did not come back in time have failed, or have another turn. They are not held: what they said meanwhile has
    moved their members already."""
    rows = Member.objects.filter(wave__campaign=campaign, state=MemberState.ORDERED, due_at__lte=now)
    ids = list(rows.order_by("pk").values_list("terminal_id", flat=True)[:CHUNK])
    if ids:
        reason = NotBack(campaign.settings["timeout_minutes"]).stored()
        report(campaign.thing, dict.fromkeys(ids, Came(False, "not_back", (reason,))))
    return len(ids)


def _end_late(member_ids: Sequence[int], campaign: Campaign, now: datetime) -> int:
    reasons = [DeadlinePassed().stored()]
    ended = move_members((Move(pk, "deadline", reasons) for pk in member_ids), MemberTransition.fail, now)
    told = CampaignEnded(campaign.pk, campaign.name, MemberState.FAILED.value, reasons)
    record_facts((one.terminal_id, told) for one in ended)
    return len(ended)
