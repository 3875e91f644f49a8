"""Campaigns that follow: terminals that come to pass the filter later are included, and those that lost what was brought get it
again.

Nobody asks the fleet for that: a terminal that says hello is noted, and looked at by the next round. A terminal joins where it
passes the filter for whoever proposed the campaign, does not have what is moved, and nothing stands in its way.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from terminals.bulk.fitness import refused_among
from terminals.bulk.verbs import Unfit
from terminals.campaigns import planning
from terminals.campaigns.members import Move, move_members
from terminals.campaigns.models import Campaign, Member, Newcomer, Tally, Wave
from terminals.campaigns.rules import LIVE, MemberState, MemberTransition
from terminals.common.errors import Refusal
from terminals.common.sql import id_set
from terminals.estate.models import Terminal
from terminals.estate.services import hold_alone

AT_ONCE = 500  # their inbox waits meanwhile


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
        _join(campaign, ids, timezone.now())
    return len(ids)


def join_all(campaign: Campaign) -> None:
    """Let all join who came to pass the filter since it was proposed. The caller holds the campaign."""
    said = _asked(campaign)
    if said is not None:
        strangers = said.terminals.exclude(pk__in=Member.objects.filter(wave__campaign=campaign).values("terminal"))
        _add(campaign, list(strangers.values_list("pk", flat=True)))


def begin_anew(terminal: Terminal) -> None:
    """Have another device brought what campaigns follow, whatever its predecessor got or failed at. The caller holds it."""
    members = Member.objects.filter(terminal=terminal, wave__campaign__in=following()).order_by("pk")
    now = timezone.now()
    ids = list(members.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))
    moved = move_members([Move(pk, attempt=0, failures=0) for pk in ids], MemberTransition.begin_anew, now)
    Member.objects.filter(pk__in=[one.id for one in moved]).update(anew_at=now, before=None)


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
    """Return campaigns, held by id: what the engine does to them at once is not lost."""
    return list(campaigns.select_related("proposed_by").order_by("pk").select_for_update(of=("self",), no_key=True))


def _asked(campaign: Campaign, among: planning.Among = None) -> planning.Asked | None:
    """Return what a campaign asks for now, of some terminals; nothing where it cannot be any more (see `nobody_joins`)."""
    try:
        return planning.asked_of(campaign, among)
    except (Refusal, PermissionDenied):
        return None


def _join(campaign: Campaign, ids: Sequence[int], now: datetime) -> None:
    said = _asked(campaign, id_set(ids))
    if said is None or said.kind.has_it is None:
        return
    passing = list(said.terminals.values_list("pk", flat=True))
    has_it = Unfit("has_it", "it has it", said.kind.has_it(said.arguments))
    fit = set(passing) - refused_among(passing, [has_it, *said.kind.unfit(said.arguments)]).keys()
    known = Member.objects.filter(wave__campaign=campaign, terminal__in=id_set(fit)).order_by("pk")
    columns = ("pk", "terminal_id", "state", "code")
    members = list(known.select_for_update(of=("self",), no_key=True).values_list(*columns))
    lost = [
        Move(pk, attempt=0) for pk, _terminal, state, _code in members if state in MemberTransition.plan_again.sources
    ]
    move_members(lost, MemberTransition.plan_again, now)
    # What they waited for has passed.
    free = [
        Move(pk, due_at=now)
        for pk, _terminal, state, code in members
        if state == MemberState.WAITING and code in said.kind.passing
    ]
    move_members(free, MemberTransition.wait, now)
    _add(campaign, sorted(fit - {terminal for _pk, terminal, *_ in members}))


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
