"""Waves and their guards: which begins, whether its outcomes are enough and good, what was measured, why it stops.

A wave begins only where each before it holds, by its guard or by a person who says why. The caller holds the campaign.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from terminals.campaigns import planning, rules
from terminals.campaigns.facts import MovedByAnother
from terminals.campaigns.kinds import kinds
from terminals.campaigns.members import IN_DOUBT, Move, lock_thing, move_all, move_members, tallied
from terminals.campaigns.models import Campaign, Member, Wave
from terminals.campaigns.reports import AWAY, UNHEARD
from terminals.campaigns.rules import (
    ACTOR,
    LIVE,
    OPEN_MEMBERS,
    STARTED,
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

LATELY = timedelta(days=1)


def look_at_waves(campaign: Campaign, now: datetime) -> int:
    """Judge the waves, and begin the next where the guards of all before it hold; return 1 where anything changed.

    A wave that held and whose later outcomes are bad stops the campaign, too.
    """
    # Of a strength that foreign keys do not wait for: whoever reports adds tallies, which name waves.
    waves = list(campaign.waves.order_by("number").select_for_update(of=("self",), no_key=True))
    counted = counts_of([wave.pk for wave in waves])
    for wave in waves:
        seen = Seen(wave, Guard(**wave.guard), counted[wave.pk], wave is waves[-1])
        if planning.follows(campaign) and wave.state in (WaveState.RUNNING, WaveState.SOAKING, WaveState.HELD):
            if unmet := rules.judge_lately(seen.guard, _lately(seen, now)):
                _stop(campaign, wave, unmet, now)
                return 1
            if wave.state == WaveState.HELD:
                continue
        if wave.state == WaveState.HELD and (wave.forced_by or seen.judged[0] is not Verdict.UNMET):
            continue
        if wave.state == WaveState.PLANNED:
            _begin(campaign, wave, now)
            return 1
        if wave.state == WaveState.STOPPED:
            return 0
        if seen.judged[0] is Verdict.UNMET:
            _stop(campaign, wave, seen.judged[1], now)
            return 1
        return _look_at_outcomes(seen, now) if wave.state == WaveState.RUNNING else _look_at_soaked(campaign, seen, now)
    return _finish(campaign, counted, now)


class Seen(NamedTuple):
    """A wave as it is judged."""

    wave: Wave
    guard: Guard
    counts: Counts
    is_last: bool

    @property
    def judged(self) -> tuple[Verdict, list[Unmet]]:
        return rules.judge_outcomes(self.guard, self.counts, size=self.wave.total, is_last=self.is_last)


def _lately(seen: Seen, now: datetime) -> Counts:
    """Return what became of a wave's terminals within a day, and since somebody let it go on: of a campaign that goes on for a
    year the first ones would hide what happens now. Those that failed and are tried again count as failed."""
    forced_at = seen.wave.judged_at if seen.wave.forced_by else None
    since = max(filter(None, (now - LATELY, forced_at)))
    ended = Member.objects.filter(
        wave=seen.wave, finished_at__gt=since, state__in=(MemberState.SUCCEEDED, MemberState.FAILED)
    )
    rows = ended.order_by().values_list("state", "code").annotate(number=Count("pk"))
    found = Counts(0, 0, seen.counts.in_doubt, {})
    for state, code, number in rows:
        found = _counted(found, state, code, number)
    return found


def begin_rest(campaign: Campaign, now: datetime) -> int:
    """Let those have their turn whose wave has begun while another campaign was moving the same on them, and that is over now."""
    planned = Q(wave__campaign=campaign, wave__begun_at__isnull=False, state=MemberState.PLANNED)
    waves = sorted({one.wave_id for one in tallied(planned)})
    if not waves:
        return 0
    lock_thing(campaign)
    _make_way(campaign, waves, now)
    return move_all(waves, MemberTransition.begin, now, spread=timedelta(0))


def _begin(campaign: Campaign, wave: Wave, now: datetime) -> None:
    """Let a wave's terminals have their turn. Where another campaign moves the same on one of them, the newer one goes on."""
    lock_thing(campaign)
    _make_way(campaign, [wave.pk], now)
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


# Raw: the ORM cannot join a table with itself. Whoever moves the same now, and newer campaigns that have moved it.
RIVALS = """
SELECT theirs.id, theirs.state, c.id, c.name, mine.id
  FROM campaigns_member mine
  JOIN campaigns_member theirs ON theirs.terminal_id = mine.terminal_id AND theirs.thing = mine.thing
   AND theirs.wave_id <> mine.wave_id
  JOIN campaigns_wave w ON w.id = theirs.wave_id
  JOIN campaigns_campaign c ON c.id = w.campaign_id
 WHERE mine.wave_id = ANY(%(waves)s) AND mine.state = 'planned'
   AND (theirs.state = ANY(%(open)s)
        OR (theirs.state = 'succeeded' AND c.id > %(campaign)s AND (mine.anew_at IS NULL OR theirs.finished_at > mine.anew_at)
            AND c.state <> 'cancelled' AND NOT EXISTS (SELECT 1 FROM campaigns_campaign b
                                                        WHERE b.rolls_back_id = c.id AND b.state = ANY(%(started)s))))
"""


def _make_way(campaign: Campaign, wave_ids: Sequence[int], now: datetime) -> None:
    with connection.cursor() as cursor:
        said: dict[str, Any] = {
            "waves": list(wave_ids),
            "campaign": campaign.pk,
            "open": [state.value for state in OPEN_MEMBERS],
            "started": [state.value for state in STARTED],
        }
        cursor.execute(RIVALS, said)
        rivals = [Rival(*row) for row in cursor.fetchall()]
    waiting = [one for one in rivals if one.state == MemberState.WAITING and one.campaign_id < campaign.pk]
    why = [MovedByAnother(campaign.name).stored()]
    move_members((Move(one.member_id, "moved_by_another", why) for one in waiting), MemberTransition.supersede, now)
    # A newer campaign goes before an older one. What an older one has sent is under way: its terminals wait for that.
    newer = {one.mine: one for one in rivals if one.campaign_id > campaign.pk}
    lost = (Move(pk, "moved_by_another", [MovedByAnother(one.name).stored()]) for pk, one in newer.items())
    move_members(lost, MemberTransition.supersede, now)


def counts_of(wave_ids: Sequence[int]) -> dict[int, Counts]:
    """Return what has become of waves' terminals: one statement, however many there are."""
    found = {pk: Counts(0, 0, 0, {}) for pk in wave_ids}
    for wave_id, state, code, number in tallied(Q(wave__in=wave_ids)):
        found[wave_id] = _counted(found[wave_id], state, code, number)
    return found


def _counted(one: Counts, state: str, code: str, number: int) -> Counts:
    if state == MemberState.SUCCEEDED:
        return one._replace(succeeded=one.succeeded + number)
    if state == MemberState.FAILED or (state == MemberState.LEFT_OUT and code in UNHEARD):
        return one._replace(failed=one.failed + number, codes={**one.codes, code: one.codes.get(code, 0) + number})
    if state == MemberState.SUPERSEDED:
        return one._replace(superseded=one.superseded + number)
    if state == MemberState.WAITING and code == AWAY:
        return one  # nobody waits for it
    if state in (MemberState.WAITING, MemberState.ORDERED, MemberState.PLANNED):
        in_doubt = number if code == IN_DOUBT else 0
        return one._replace(open=one.open + number, in_doubt=one.in_doubt + in_doubt)
    return one


def _look_at_outcomes(seen: Seen, now: datetime) -> int:
    if seen.judged[0] is not Verdict.ENOUGH:
        return 0
    seen.wave.state = WaveTransition.soak.after(seen.wave.state)
    seen.wave.soaks_until = now + timedelta(minutes=seen.guard.soak_minutes)
    seen.wave.save(update_fields=["state", "soaks_until"])
    return 1


def _look_at_soaked(campaign: Campaign, seen: Seen, now: datetime) -> int:
    """What is measured is looked at when the time is over; a wave whose failed terminals are tried again is waited for anew."""
    wave = seen.wave
    if seen.judged[0] is not Verdict.ENOUGH:
        wave.state, wave.soaks_until = WaveTransition.wait_on.after(wave.state), None
        wave.save(update_fields=["state", "soaks_until"])
        return 1
    if wave.soaks_until is not None and now < wave.soaks_until:
        return 0
    before = {one["name"]: one["before"] for one in wave.measured}
    measured = _measure(campaign, wave, before)
    wave.measured = [one._asdict() for one in measured]
    if unmet := rules.judge_measures(seen.guard, wave.total, measured):
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
    """Measure a wave's terminals (when it begins all, later those that were asked), and those that were not touched yet."""
    members = Member.objects.filter(wave=wave)
    chosen = members.filter(ordered_at__isnull=False) if before else members
    untouched = Member.objects.filter(wave__campaign=campaign, wave__number__gt=wave.number, state=MemberState.PLANNED)
    mine, touched, peers, peer_total = _of(chosen), chosen.count(), _of(untouched), untouched.count()
    measured = []
    for name, measure in kinds.measures.items():
        bad = measure(mine).count()
        peers_bad = measure(peers).count() if peer_total else 0
        measured.append(Measured(name, before.get(name, bad), bad, peers_bad, peer_total, touched))
    return measured


def _of(members: QuerySet[Member]) -> QuerySet[Terminal]:
    return Terminal.objects.order_by().filter(pk__in=members.values("terminal"))


def _finish(campaign: Campaign, counted: Mapping[int, Counts], now: datetime) -> int:
    """A campaign whose waves all held is done when nobody of it is waited for any more; one that follows takes the place of the
    earlier ones that followed the same."""
    if planning.follows(campaign):
        return _end_predecessors(campaign, now)
    if any(counts.open for counts in counted.values()):
        return 0
    return move(Campaign.objects.filter(pk=campaign.pk), CampaignTransition.finish, finished_at=now)


def _end_predecessors(campaign: Campaign, now: datetime) -> int:
    """End earlier campaigns that follow the same terminals with the same thing. What they have sent is waited for."""
    earlier = Campaign.objects.filter(
        pk__lt=campaign.pk,
        state__in=LIVE,
        thing=campaign.thing,
        filter=campaign.filter,
        path=campaign.path,
        settings__follows=True,
    )
    mine = Member.objects.filter(wave__campaign=campaign).values("terminal")
    kept = Member.objects.filter(wave__campaign=OuterRef("pk"), state__in=(MemberState.SUCCEEDED, *OPEN_MEMBERS))
    # Not one that keeps terminals which this one does not reach: nobody would keep them any more.
    earlier = earlier.exclude(Exists(kept.exclude(terminal__in=mine)))
    ids = list(earlier.order_by("pk").values_list("pk", flat=True))
    if not ids or not move(Campaign.objects.filter(pk__in=ids), CampaignTransition.cancel, finished_at=now):
        return 0
    move_all(list(Wave.objects.filter(campaign__in=ids).values_list("pk", flat=True)), MemberTransition.drop, now)
    for pk in ids:
        detail = {"by": campaign.pk}
        audit.record(actor=ACTOR, action="campaign.take_over", subject=f"campaign:{pk}", detail=detail)
    return 1
