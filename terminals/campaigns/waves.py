"""Waves and their guards: which begins, whether its outcomes are enough and good, what was measured, why it stops.

A wave begins only where each before it holds, by its guard or by a person who says why. The caller holds the campaign.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import QuerySet

from terminals.campaigns import rules
from terminals.campaigns.facts import MovedByAnother
from terminals.campaigns.kinds import kinds
from terminals.campaigns.members import Move, move_all, move_members
from terminals.campaigns.models import Campaign, Member, Tally, Wave
from terminals.campaigns.rules import (
    OPEN_MEMBERS,
    CampaignState,
    CampaignTransition,
    Counts,
    Guard,
    Measured,
    MemberState,
    MemberTransition,
    Unmet,
    Verdict,
    WaveState,
    WaveTransition,
)
from terminals.common.audit import services as audit
from terminals.common.transitions import move
from terminals.estate.models import Terminal

ACTOR = "campaign"


def look_at_waves(campaign: Campaign, now: datetime) -> int:
    """Judge the wave that has its turn, and begin the next where its guard holds; return 1 where anything changed."""
    waves = list(campaign.waves.order_by("number").select_for_update(of=("self",)))
    for wave in waves:
        if wave.state == WaveState.PLANNED:
            _begin(campaign, wave, now)
            return 1
        if wave.state == WaveState.RUNNING:
            return _look_at_outcomes(campaign, wave, now)
        if wave.state == WaveState.SOAKING:
            return _look_at_soaked(campaign, wave, now)
        if wave.state == WaveState.STOPPED:
            return 0
    return _finish(campaign, waves, now)


def _begin(campaign: Campaign, wave: Wave, now: datetime) -> None:
    """Let a wave's terminals have their turn. Where another campaign moves the same on one of them, the newer one goes on."""
    with connection.cursor() as cursor:  # two campaigns for one thing begin one after the other
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"campaign:{campaign.thing}"])
    _make_way(campaign, wave, now)
    wave.measured = [one._asdict() for one in _measure(campaign, wave, {})]
    move_all([wave.pk], MemberTransition.begin, now, spread=timedelta(minutes=campaign.settings["jitter_minutes"]))
    wave.state, wave.begun_at = WaveTransition.begin.after(wave.state), now
    wave.save()


class Rival(NamedTuple):
    """A terminal of a wave on which another campaign is moving the same."""

    member_id: int
    state: str
    campaign_id: int
    name: str
    mine: int


# Raw: the ORM cannot join a table with itself.
RIVALS = """
SELECT theirs.id, theirs.state, c.id, c.name, mine.id
  FROM campaigns_member mine
  JOIN campaigns_member theirs ON theirs.terminal_id = mine.terminal_id AND theirs.thing = mine.thing
   AND theirs.state = ANY(%(open)s) AND theirs.wave_id <> mine.wave_id
  JOIN campaigns_wave w ON w.id = theirs.wave_id
  JOIN campaigns_campaign c ON c.id = w.campaign_id
 WHERE mine.wave_id = %(wave)s AND mine.state = 'planned'
"""


def _make_way(campaign: Campaign, wave: Wave, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(RIVALS, {"wave": wave.pk, "open": [state.value for state in OPEN_MEMBERS]})
        rivals = [Rival(*row) for row in cursor.fetchall()]
    waiting = [one for one in rivals if one.state == MemberState.WAITING and one.campaign_id < campaign.pk]
    why = [MovedByAnother(campaign.name).stored()]
    gone = {
        one.id
        for one in move_members(
            (Move(one.member_id, "moved_by_another", why) for one in waiting), MemberTransition.supersede, now
        )
    }
    # What was sent by another is under way, and a newer campaign goes before an older one.
    move_members(
        (
            Move(one.mine, "moved_by_another", [MovedByAnother(one.name).stored()])
            for one in rivals
            if one.member_id not in gone
        ),
        MemberTransition.supersede,
        now,
    )


def counts_of(wave_ids: Sequence[int]) -> dict[int, Counts]:
    """Return what has become of waves' terminals: one statement, however many there are."""
    found = {pk: Counts(0, 0, 0, {}) for pk in wave_ids}
    for wave_id, state, code, number in Tally.objects.filter(wave__in=wave_ids, number__gt=0).values_list(
        "wave_id", "state", "code", "number"
    ):
        one = found[wave_id]
        if state == MemberState.SUCCEEDED:
            one = one._replace(succeeded=one.succeeded + number)
        elif state == MemberState.FAILED:
            one = one._replace(failed=one.failed + number, codes={**one.codes, code: one.codes.get(code, 0) + number})
        elif state in (MemberState.WAITING, MemberState.ORDERED, MemberState.PLANNED):
            one = one._replace(open=one.open + number)
        found[wave_id] = one
    return found


def _look_at_outcomes(campaign: Campaign, wave: Wave, now: datetime) -> int:
    guard = Guard(**wave.guard)
    verdict, unmet = rules.judge_outcomes(guard, counts_of([wave.pk])[wave.pk])
    if verdict is Verdict.UNMET:
        _stop(campaign, wave, unmet, now)
        return 1
    if verdict is Verdict.ENOUGH:
        wave.state = WaveTransition.soak.after(wave.state)
        wave.soaks_until = now + timedelta(minutes=guard.soak_minutes)
        wave.save(update_fields=["state", "soaks_until"])
        return 1
    return 0


def _look_at_soaked(campaign: Campaign, wave: Wave, now: datetime) -> int:
    """A failure that comes while it soaks stops it at once; what is measured is looked at when the time is over."""
    guard, counts = Guard(**wave.guard), counts_of([wave.pk])[wave.pk]
    verdict, unmet = rules.judge_outcomes(guard, counts)
    if verdict is Verdict.UNMET:
        _stop(campaign, wave, unmet, now)
        return 1
    if wave.soaks_until is not None and now < wave.soaks_until:
        return 0
    before = {one["name"]: one["before"] for one in wave.measured}
    measured = _measure(campaign, wave, before)
    wave.measured = [one._asdict() for one in measured]
    if unmet := rules.judge_measures(guard, wave.total, measured):
        _stop(campaign, wave, unmet, now)
        return 1
    wave.state, wave.judged_at = WaveTransition.hold.after(wave.state), now
    wave.save()
    return 1


def _stop(campaign: Campaign, wave: Wave, unmet: Sequence[Unmet], now: datetime) -> None:
    """The guard does not hold: the campaign pauses, and says why."""
    wave.state, wave.judged_at = WaveTransition.stop.after(wave.state), now
    wave.unmet = [one._asdict() for one in unmet]
    wave.save()
    move(Campaign.objects.filter(pk=campaign.pk), CampaignTransition.pause)
    detail = {"wave": wave.number, "unmet": wave.unmet}
    audit.record(actor=ACTOR, action="campaign.stop", subject=f"campaign:{campaign.pk}", detail=detail)
    campaign.state = CampaignState.PAUSED


def _measure(campaign: Campaign, wave: Wave, before: Mapping[str, int]) -> list[Measured]:
    """Measure a wave's terminals, and those that were not touched yet."""
    mine = _of(Member.objects.filter(wave=wave))
    untouched = Member.objects.filter(wave__campaign=campaign, wave__number__gt=wave.number, state=MemberState.PLANNED)
    peers, peer_total = _of(untouched), untouched.count()
    measured = []
    for name, measure in kinds.measures.items():
        now_bad = measure(mine).count()
        peers_bad = measure(peers).count() if peer_total else 0
        measured.append(Measured(name, before.get(name, now_bad), now_bad, peers_bad, peer_total))
    return measured


def _of(members: QuerySet[Member]) -> QuerySet[Terminal]:
    return Terminal.objects.order_by().filter(pk__in=members.values("terminal"))


def _finish(campaign: Campaign, waves: Sequence[Wave], now: datetime) -> int:
    """A campaign whose waves all held is done when nobody of it is waited for any more."""
    if any(counts.open for counts in counts_of([wave.pk for wave in waves]).values()):
        return 0
    return move(Campaign.objects.filter(pk=campaign.pk), CampaignTransition.finish, finished_at=now)
