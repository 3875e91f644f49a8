"""What campaigns look like: waves with their numbers, who is in trouble, what happens next. Reads only, nobody is counted."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet, Subquery

from terminals.campaigns import rules
from terminals.campaigns.members import tallied
from terminals.campaigns.models import Campaign, Member, Wave
from terminals.campaigns.planning import VIEW_MEMBERS, follows
from terminals.campaigns.rules import ENDED, CampaignState, Course, MemberState, WaveState
from terminals.common.scope import within

TROUBLE = (MemberState.FAILED, MemberState.LEFT_OUT)


class WaveSeen(NamedTuple):
    """One wave as it is shown."""

    number: int
    state: str
    total: int
    states: dict[str, int]
    codes: dict[str, int]  # of those that failed or were left out
    begun_at: datetime | None
    soaks_until: datetime | None
    unmet: list[dict[str, Any]]
    measured: list[dict[str, Any]]
    forced_by: str
    forced_because: str
    judged_at: datetime | None
    guard: dict[str, Any]


def waves_of(campaigns: Sequence[Campaign]) -> dict[int, list[WaveSeen]]:
    """Return campaigns' waves: two statements."""
    states: dict[int, dict[str, int]] = defaultdict(dict)
    codes: dict[int, dict[str, int]] = defaultdict(dict)
    for wave_id, state, code, number in tallied(Q(wave__campaign__in=campaigns)):
        states[wave_id][state] = states[wave_id].get(state, 0) + number
        if state in TROUBLE:
            codes[wave_id][code] = codes[wave_id].get(code, 0) + number
    found: dict[int, list[WaveSeen]] = defaultdict(list)
    for wave in Wave.objects.filter(campaign__in=campaigns).order_by("campaign", "number"):
        numbers = {state.value: states[wave.pk].get(state, 0) for state in MemberState}
        found[wave.campaign_id].append(
            WaveSeen(
                wave.number,
                wave.state,
                wave.total,
                {state: number for state, number in numbers.items() if number},
                dict(sorted(codes[wave.pk].items(), key=lambda one: -one[1])),
                wave.begun_at,
                wave.soaks_until,
                wave.unmet,
                wave.measured,
                wave.forced_by,
                wave.forced_because,
                wave.judged_at,
                wave.guard,
            )
        )
    return found


def expected_end(campaign: Campaign, waves: Sequence[WaveSeen], now: datetime) -> datetime | None:
    """Return when a campaign that runs is done at the pace so far, its deadline at the latest; nothing of one that follows, which
    goes on."""
    if campaign.state != CampaignState.RUNNING or campaign.started_at is None or follows(campaign):
        return None
    courses = [
        Course(
            WaveState(one.state),
            one.total,
            sum(number for state, number in one.states.items() if state in ENDED),
            timedelta(minutes=one.guard["soak_minutes"]),
            one.soaks_until,
        )
        for one in waves
    ]
    found = rules.expected_end(courses, campaign.started_at, now)
    return min(found, campaign.ends_at) if found and campaign.ends_at else found


def in_trouble(campaign: Campaign, user: Any) -> QuerySet[Member]:
    """Return the terminals of a campaign that failed or were left out, of those that somebody may see."""
    rows = Member.objects.filter(wave__campaign=campaign, state__in=TROUBLE).select_related("terminal", "wave")
    found: QuerySet[Member] = within(rows, user, VIEW_MEMBERS).order_by("wave__number", "code", "pk")
    return found


def next_turn(campaign: Campaign, number: int) -> datetime | None:
    """Return when the next terminal of a wave that waits is due; nothing where nobody waits."""
    wave = Wave.objects.filter(campaign=campaign, number=number).values("pk")
    waiting = Member.objects.filter(wave=Subquery(wave), state=MemberState.WAITING).order_by("due_at")
    return waiting.values_list("due_at", flat=True).first()
