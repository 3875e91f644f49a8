"""What terminals come to with what campaigns move: features report it, and ask of whom a campaign waits to hear."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q
from django.utils import timezone

from terminals.campaigns import planning, rules
from terminals.campaigns.facts import CampaignEnded
from terminals.campaigns.members import Move, move_members
from terminals.campaigns.models import Campaign, Member
from terminals.campaigns.rules import MemberState, MemberTransition
from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.common.states import Transition

DAY = timedelta(days=1)
SWITCHED_OFF = "switched_off"  # of who has not seen what was sent
LEFT_SERVICE = "left_service"  # of who was asked and left service before it answered
AWAY = "away"  # of who is asked when it says hello, and not before: a campaign that follows has no deadline
TAKEN_BACK = "taken_back"  # of who was asked: somebody else than the campaign took the order back
UNHEARD = (LEFT_SERVICE, TAKEN_BACK)  # they count against the guard: a device that broke is often replaced
ASK_AGAIN_AFTER = timedelta(minutes=15)  # whatever a terminal asks for, it is not asked more often
# Of whom something may come: those that were asked, and those that wait for another attempt and may have done it after all.
TRIED = Q(state=MemberState.ORDERED) | Q(state=MemberState.WAITING) & (Q(attempt__gt=0) | Q(failures__gt=0))
# Of whom it would be good news, as long as their campaign goes on: they were late, or lost their last word.
FAILED = Q(state=MemberState.FAILED, wave__campaign__state__in=rules.LIVE)


class Came(NamedTuple):
    """What one terminal came to, as its feature understands it."""

    ok: bool
    code: str = ""
    reasons: tuple[dict[str, Any], ...] = ()
    final: bool = False  # trying again would not help
    later: datetime | None = None  # it asks to be asked again then
    more: bool = False  # it has a part of what is moved, and is asked for the next


class Waited(NamedTuple):
    """A terminal of which a campaign waits to hear, and what it was asked for."""

    terminal_id: int
    thing: str
    arguments: Mapping[str, Any]
    campaign_id: int


def ordered(terminal_ids: Iterable[int], prefix: str, among: Q = TRIED) -> list[Waited]:
    """Return where a campaign waits for what becomes of a thing: one statement."""
    rows = Member.objects.filter(among, terminal__in=id_set(terminal_ids), thing__startswith=prefix)
    columns = ("terminal_id", "thing", "wave__campaign__arguments", "wave__campaign")
    return [Waited(*row) for row in rows.order_by("terminal_id", "pk").values_list(*columns)]


def brought(terminal_ids: Iterable[int], prefix: str) -> list[Waited]:
    """Return which campaigns that still go on brought a thing to terminals: one statement."""
    return ordered(terminal_ids, prefix, Q(state=MemberState.SUCCEEDED, wave__campaign__state__in=rules.LIVE))


def lose(came: Mapping[tuple[int, int], Came]) -> None:
    """Note that terminals (terminal, campaign) do not have any more what a campaign brought: it has failed there after all. One
    that follows brings it again, as often as it tries."""
    members = Member.objects.filter(
        terminal__in=id_set(pk for pk, _ in came),
        wave__campaign__in={campaign for _, campaign in came},
        state=MemberState.SUCCEEDED,
    )
    columns = ("pk", "terminal_id", "wave__campaign", "failures", "finished_at", "wave__campaign__settings")
    now = timezone.now()
    moves: dict[bool, list[Move]] = {False: [], True: []}
    for pk, terminal, campaign, failures, had_since, settings in (
        members.order_by("pk").select_for_update(of=("self",), no_key=True).values_list(*columns)
    ):
        if (one := came.get((terminal, campaign))) is not None:
            lost = rules.lost_again(failures, had_since, now)
            again = bool(settings.get("follows")) and lost <= settings["retries"]
            attempt = 0 if again else None
            moves[again].append(Move(pk, one.code, list(one.reasons), attempt=attempt, failures=lost))
    move_members(moves[True], MemberTransition.plan_again, now)
    move_members(moves[False], MemberTransition.lose, now)


def report(came: Mapping[tuple[int, int], Came]) -> None:
    """Note what terminals came to with what a campaign moves (terminal, campaign); those of none are passed over: what one
    campaign brought is no success of another. The caller holds them, in a transaction.

    A fixed number of statements for any number of terminals.
    """
    if not came:
        return
    good = FAILED & Q(terminal__in=[pk for (pk, _campaign), one in came.items() if one.ok])
    ids, campaigns = {pk for pk, _ in came}, {campaign for _, campaign in came}
    rows = Member.objects.filter(TRIED | good, terminal__in=id_set(ids), wave__campaign__in=campaigns)
    columns = ("pk", "terminal_id", "state", "attempt", "failures", "wave__campaign")
    # All of them first, by id: they move in several statements.
    locked = rows.order_by("pk").select_for_update(of=("self",), no_key=True)
    members = [row for row in locked.values_list(*columns) if (row[1], row[5]) in came]
    if not members:
        return
    known = Campaign.objects.in_bulk({row[5] for row in members})
    now = timezone.now()
    moves: dict[str, list[Move]] = {one.name: [] for one in REPORTED}
    told: dict[int, tuple[int, CampaignEnded]] = {}
    for pk, terminal_id, state, attempt, failures, campaign_id in members:
        one, campaign = came[terminal_id, campaign_id], known[campaign_id]
        if state != MemberState.ORDERED and not one.ok:
            continue  # an earlier attempt's word; it waits for the next one already
        found = _come_to(one, Move(pk, attempt=attempt, failures=failures), campaign, now)
        if found is None:
            continue
        moves[found[0].name].append(found[1])
        if found[0] is not MemberTransition.put_off:
            ended = CampaignEnded(campaign_id, campaign.name, found[0].target.value, list(one.reasons))
            told[pk] = (terminal_id, ended)
    moved = [one for transition in REPORTED for one in move_members(moves[transition.name], transition, now)]
    record_facts(told[one.id] for one in moved if one.id in told)


REPORTED = (MemberTransition.succeed, MemberTransition.fail, MemberTransition.put_off, MemberTransition.leave_out)


def _come_to(one: Came, held: Move, campaign: Campaign, now: datetime) -> tuple[Transition[MemberState], Move] | None:
    """Return what a member does where its terminal came to this: `held` bears its attempts and failures. Nothing, where whoever
    cancelled the campaign knows what becomes of it."""
    attempt, failures = held.attempt or 0, held.failures or 0
    why = (one.code, list(one.reasons))
    if one.ok:
        return MemberTransition.succeed, Move(held.id)
    if one.more and campaign.state in rules.LIVE:
        # Its attempts begin anew but for those that failed; one at least: it was tried.
        return MemberTransition.put_off, Move(held.id, due_at=now, attempt=max(1, failures))
    if one.code == TAKEN_BACK:
        return (MemberTransition.leave_out, Move(held.id, *why)) if campaign.state in rules.LIVE else None
    due_at = _next_turn(one, attempt, campaign, now)
    if due_at is None:
        return MemberTransition.fail, Move(held.id, *why, failures=failures + 1)
    if one.code == SWITCHED_OFF and planning.follows(campaign):  # without a deadline it would be asked for ever
        return MemberTransition.put_off, Move(held.id, AWAY, attempt=attempt - 1)
    if one.later is not None:  # who asks for a better time has used up no attempt, and has not failed
        return MemberTransition.put_off, Move(held.id, *why, due_at, attempt - 1)
    return MemberTransition.put_off, Move(held.id, *why, due_at, failures=failures + 1)


def _next_turn(one: Came, attempt: int, campaign: Campaign, now: datetime) -> datetime | None:
    """Return when a terminal has another turn; nothing where it is over. A campaign that was cancelled asks nobody again."""
    if one.ok or one.final or campaign.state not in rules.LIVE:
        return None
    if one.later is not None:
        due_at = min(max(one.later, now + ASK_AGAIN_AFTER), now + DAY)
    else:
        pause = rules.next_attempt(attempt, campaign.settings["retries"], campaign.settings["retry_minutes"])
        if pause is None:
            return None
        due_at = now + pause
    return min(due_at, campaign.ends_at) if campaign.ends_at is not None else due_at
