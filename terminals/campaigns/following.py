"""Campaigns that follow: terminals that come to pass the filter later are included, and those that lost what was brought get it
again.

Nobody asks the fleet for that: a terminal that says hello is noted, and looked at by the next round. A terminal joins where it
passes the filter for whoever proposed the campaign, does not have what is moved, and nothing stands in its way.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from terminals.bulk.fitness import refused_among
from terminals.bulk.verbs import Unfit
from terminals.campaigns import planning
from terminals.campaigns.members import Move, move_members
from terminals.campaigns.models import Campaign, Member, Newcomer, Tally, Wave
from terminals.campaigns.reports import TAKEN_BACK, UNHEARD
from terminals.campaigns.rules import (
    ACTOR,
    LIVE,
    OPEN_MEMBERS,
    STARTED,
    CampaignState,
    CampaignTransition,
    MemberState,
    MemberTransition,
    lost_again,
    overlap,
)
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.services import hold_alone

logger = logging.getLogger(__name__)
AT_ONCE = 200  # their inbox waits meanwhile


def following() -> QuerySet[Campaign]:
    """Return the campaigns that go on with terminals that come later."""
    return Campaign.objects.filter(state__in=LIVE, settings__follows=True)


# Raw: the ORM has no INSERT ... SELECT; where no campaign follows, nothing is written.
NOTE = """
INSERT INTO campaigns_newcomer (terminal_id, noted_at)
SELECT id, now() FROM unnest(%s::bigint[]) AS id
 WHERE EXISTS (SELECT 1 FROM campaigns_campaign WHERE state = ANY(%s) AND settings @> '{"follows": true}')
ON CONFLICT DO NOTHING
"""


def note_newcomers(terminal_ids: Iterable[int]) -> None:
    """Have terminals looked at by the campaigns that follow. The caller holds them alone, as the inbox does: whoever takes the
    note does so, too, and sees what the caller has written."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE, [sorted(set(terminal_ids)), [state.value for state in LIVE]])


@transaction.atomic
def join_newcomers() -> int:
    """Let those who were noted join, some hundred at once; return how many were looked at. The statements grow with the
    campaigns that follow."""
    ids = list(Newcomer.objects.order_by("noted_at").values_list("pk", flat=True)[:AT_ONCE])
    if not ids:
        return 0
    hold_alone(ids)
    Newcomer.objects.filter(pk__in=id_set(ids)).delete()
    for campaign in _held(following()):
        _join_or_pause(campaign, ids)
    return len(ids)


def _join_or_pause(campaign: Campaign, ids: Sequence[int]) -> None:
    """Let those who may join; a campaign that fails at it pauses, and holds up no other."""
    try:
        with transaction.atomic():
            _join(campaign, ids, timezone.now())
    except (OperationalError, InterfaceError):
        raise  # the database is away, or it met another's work: all are looked at again
    except Exception:
        logger.exception("nobody can join campaign %s", campaign.pk)
        if move(Campaign.objects.filter(pk=campaign.pk), CampaignTransition.pause):
            audit.record(actor=ACTOR, action="campaign.error", subject=subject_of(campaign))


def join_all(campaign: Campaign) -> None:
    """Let all join who came to pass the filter since it was proposed. The caller holds the campaign."""
    said = _asked(campaign)
    if said is not None:
        strangers = said.terminals.exclude(pk__in=Member.objects.filter(wave__campaign=campaign).values("terminal"))
        _add(campaign, list(strangers.values_list("pk", flat=True)))


def begin_anew(terminal: Terminal) -> None:
    """Have another device brought what campaigns follow, whatever its predecessor got or failed at. The caller holds it."""
    members = Member.objects.filter(terminal=terminal, wave__campaign__in=following()).order_by("pk")
    columns = ("pk", "state", "code", "failures")
    rows = list(members.select_for_update(of=("self",), no_key=True).values_list(*columns))
    now = timezone.now()
    moves = [Move(pk, attempt=0, failures=_in_doubt(state, code, failures)) for pk, state, code, failures in rows]
    moved = move_members(moves, MemberTransition.begin_anew, now)
    Member.objects.filter(pk__in=[one.id for one in moved]).update(anew_at=now, before=None)


def _in_doubt(state: str, code: str, failures: int) -> int:
    """Return the failures that a member goes on with: a device that broke is often replaced, and stays in the guard's count until
    it succeeds."""
    return max(1, failures) if state == MemberState.FAILED or code in UNHEARD else failures


def nobody_joins(campaign: Campaign) -> Refusal | None:
    """Return why nobody can join a campaign that follows any more; nothing where they can."""
    try:
        planning.asked_of(campaign)
    except Refusal as refusal:
        return refusal
    except PermissionDenied:
        who = campaign.proposed_by.get_username()
        return Refusal("not_permitted", "%(who)s, who proposed it, may not do this any more", who=who)
    return None


def _held(campaigns: QuerySet[Campaign]) -> list[Campaign]:
    """Return campaigns, held: what the engine does to them at once is not lost. It does not wait for the engine, as terminals'
    inboxes would wait, too (OperationalError)."""
    held = campaigns.select_related("proposed_by").order_by("pk")
    return list(held.select_for_update(of=("self",), no_key=True, nowait=True))


def _asked(campaign: Campaign, among: planning.Among = None) -> planning.Asked | None:
    """Return what a campaign asks for now, of some terminals; nothing where it cannot be any more (see `nobody_joins`)."""
    try:
        return planning.asked_of(campaign, among)
    except (Refusal, PermissionDenied):
        return None


def _join(campaign: Campaign, ids: Sequence[int], now: datetime) -> None:
    """Let those join that pass the filter, lack what is moved, and are fit; new ones also where what stands in their way passes
    by itself: they wait for that."""
    said = _asked(campaign, id_set(ids))
    if said is None or said.kind.has_it is None:
        return
    passing = list(said.terminals.values_list("pk", flat=True))
    passing = sorted(set(passing) - _moved_in_part(campaign, passing))
    has_it = Unfit("has_it", "it has it", said.kind.has_it(said.arguments))
    refused = refused_among(passing, [has_it, *said.kind.unfit(said.arguments)])
    known = Member.objects.filter(wave__campaign=campaign, terminal__in=id_set(passing)).order_by("pk")
    columns = ("pk", "terminal_id", "state", "code", "due_at", "failures", "finished_at")
    members = list(known.select_for_update(of=("self",), no_key=True).values_list(*columns))
    taken = _taken_by_newer(campaign, [row[1] for row in members if row[2] == MemberState.SUPERSEDED])
    moves: dict[str, list[Move]] = {"plan_again": [], "lose": [], "wait": []}
    for pk, terminal, state, code, due_at, failures, finished_at in members:
        if terminal in refused or terminal in taken:
            continue
        if state == MemberState.SUCCEEDED:  # it had it, and lost it
            lost = lost_again(failures, finished_at, now)
            verb = "plan_again" if lost <= campaign.settings["retries"] else "lose"
            moves[verb].append(Move(pk, "" if verb == "plan_again" else "not_kept", attempt=0, failures=lost))
        elif state in MemberTransition.plan_again.sources and code != TAKEN_BACK:
            moves["plan_again"].append(Move(pk, attempt=0, failures=1 if code in UNHEARD else None))
        elif state == MemberState.WAITING and (due_at is None or code in said.kind.passing):
            moves["wait"].append(Move(pk, due_at=now))  # what it waited for has passed
    for name, some in moves.items():
        move_members(some, getattr(MemberTransition, name), now)
    strangers = set(passing) - {row[1] for row in members}
    _add(campaign, sorted(pk for pk in strangers if pk not in refused or refused[pk].reason in said.kind.passing))


def _taken_by_newer(campaign: Campaign, terminal_ids: Sequence[int]) -> set[int]:
    """Return the terminals on which a newer campaign moves or has moved the same, as far as that counts."""
    if not terminal_ids:
        return set()
    newer = Member.objects.filter(
        terminal__in=id_set(terminal_ids),
        thing=campaign.thing,
        wave__campaign__gt=campaign.pk,
        state__in=(MemberState.SUCCEEDED, *OPEN_MEMBERS),
    )
    # One that was given up, cancelled or rolled back, counts no more.
    back = Campaign.objects.filter(rolls_back=OuterRef("wave__campaign"), state__in=STARTED)
    standing = newer.exclude(wave__campaign__state=CampaignState.CANCELLED).exclude(Exists(back))
    return set(standing.values_list("terminal_id", flat=True))


def _moved_in_part(campaign: Campaign, terminal_ids: Sequence[int]) -> set[int]:
    """Return the terminals that another campaign keeps or changes in a part of the same: two would undo each other for ever."""
    others = Campaign.objects.filter(state__in=LIVE).exclude(thing=campaign.thing).values_list("pk", "thing")
    clashing = [pk for pk, thing in others if overlap(campaign.thing, thing)]
    if not clashing:
        return set()
    there = (MemberState.PLANNED, MemberState.SUCCEEDED, *OPEN_MEMBERS)
    rows = Member.objects.filter(wave__campaign__in=clashing, terminal__in=id_set(terminal_ids), state__in=there)
    return set(rows.values_list("terminal_id", flat=True))


def _add(campaign: Campaign, terminal_ids: Sequence[int]) -> None:
    """Make terminals members of a campaign's last wave. Where that has begun, they have their turn in the next step."""
    if not terminal_ids:
        return
    wave = Wave.objects.filter(campaign=campaign).latest("number")
    number = len(terminal_ids)
    Member.objects.bulk_create(Member(wave=wave, terminal_id=pk, thing=campaign.thing) for pk in terminal_ids)
    Tally.objects.create(wave=wave, state=MemberState.PLANNED.value, number=number)
    Wave.objects.filter(pk=wave.pk).update(total=F("total") + number)
    Campaign.objects.filter(pk=campaign.pk).update(total=F("total") + number)
