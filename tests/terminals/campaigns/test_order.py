"""Whatever the order in which terminals answer: no wave begins before the guard of the one before holds, one outcome each."""

import random
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from terminals.campaigns import engine, services
from terminals.campaigns.members import Move, move_members, tallied
from terminals.campaigns.models import Campaign, Member
from terminals.campaigns.reports import Came, report
from terminals.campaigns.rules import Guard, MemberTransition, Verdict, WaveState, judge_outcomes
from terminals.campaigns.waves import counts_of
from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from tests.terminals.campaigns.conftest import at_work, publish, started, states

TERMINALS = 16


def check(campaign: Campaign, begun: dict[int, bool]) -> None:
    """Raise where a wave has begun although the one before does not hold, or where a tally is not what is there."""
    waves = list(campaign.waves.order_by("number"))
    for earlier, later in pairwise(waves):
        if later.state != WaveState.PLANNED and not begun.get(later.number):
            begun[later.number] = True
            assert earlier.state == WaveState.HELD, "it begins only after that"
            seen = counts_of([earlier.pk])[earlier.pk]
            verdict, _unmet = judge_outcomes(Guard(**earlier.guard), seen, size=earlier.total, is_last=False)
            assert verdict is Verdict.ENOUGH
        if later.state == WaveState.PLANNED:
            assert not later.members.exclude(state__in=("planned", "superseded", "cancelled")).exists()
    states(campaign)


@pytest.mark.parametrize("seed", range(4))
def test_no_wave_begins_before_the_guard_of_the_one_before_holds(
    register: Callable[[str], Terminal], ann: User, bob: User, seed: int
) -> None:
    dice = random.Random(seed)
    at_work(register(f"SN-{n}") for n in range(TERMINALS))
    campaign = started(
        publish("2.0.0"),
        ann,
        bob,
        waves=[10, 40, 70, 100],
        soak_minutes=5,
        success_percent=dice.choice([60, 80, 95]),
        sample_percent=dice.choice([50, 80, 100]),
        retries=dice.choice([0, 1]),
        retry_minutes=1,
        timeout_minutes=20,
    )
    now, begun = timezone.now() + timedelta(minutes=1), dict[int, bool]()
    chance = dice.choice([0.0, 0.1, 0.3])
    for _ in range(100):
        if dice.random() < 0.6:
            engine.step(campaign.pk, now)
        else:
            ordered = list(Member.objects.filter(state="ordered").values_list("terminal_id", flat=True))
            some = dice.sample(ordered, dice.randint(0, len(ordered)))
            report({(pk, campaign.pk): Came(dice.random() >= chance, "crash") for pk in some})
        now += timedelta(minutes=dice.choice([0, 1, 3]))
        campaign.refresh_from_db()
        if campaign.state == "paused" and dice.random() < 0.3:
            services.resume(campaign=campaign, user=ann)
        check(campaign, begun)
    ended = Fact.objects.filter(kind="campaign.ended")
    assert ended.count() == ended.values("terminal_id").distinct().count(), "one outcome each"


def test_a_member_moves_only_from_where_its_transition_leaves(
    register: Callable[[str], Terminal], ann: User, bob: User
) -> None:
    at_work([register("SN-1")])
    started(publish("2.0.0"), ann, bob)
    member = Member.objects.get()
    now = timezone.now()
    assert move_members([Move(member.pk)], MemberTransition.succeed, now) == []
    member.refresh_from_db()
    assert member.state == "planned"
    assert [(one.state, one.number) for one in tallied(Q())] == [("planned", 1)]
