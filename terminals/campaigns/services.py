"""What people do with campaigns: agree, start, pause, go on, cancel, try again, roll back."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from terminals.campaigns import following, planning, rules
from terminals.campaigns.kinds import Order, kinds
from terminals.campaigns.members import Move, lock_thing, move_all, move_members
from terminals.campaigns.models import Campaign, Member, Wave
from terminals.campaigns.planning import NoTerminal
from terminals.campaigns.rules import (
    CampaignState,
    CampaignTransition,
    MemberState,
    MemberTransition,
    WaveState,
    WaveTransition,
)
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.scope import holds
from terminals.common.states import Transition
from terminals.common.transitions import move
from terminals.estate.services import hold

APPROVE = "campaigns.approve_campaign"  # what agreeing to somebody else's needs
DAY = timedelta(days=1)


def _hold(campaign: Campaign) -> Campaign:
    return Campaign.objects.select_for_update(of=("self",), no_key=True).get(pk=campaign.pk)


def _move(campaign: Campaign, transition: Transition[CampaignState], user: Any, **columns: Any) -> None:
    """Move a campaign that is held, with its audit entry; raise Refusal where its state does not allow it, PermissionDenied for
    whoever may not do there what its kind does."""
    _check(campaign, user)
    if not move(Campaign.objects.filter(pk=campaign.pk), transition, **columns):
        raise Refusal("decided", "the campaign is %(state)s by now; look at it first", state=campaign.state)
    audit.record(actor=user.get_username(), action=f"campaign.{transition.name}", subject=subject_of(campaign))


def _check(campaign: Campaign, user: Any) -> None:
    """Whoever runs a campaign needs what its kind needs, too."""
    if not holds(user, kinds.named(campaign.kind).permission, campaign):
        raise PermissionDenied


@transaction.atomic
def approve(*, campaign: Campaign, digest: str, user: Any) -> None:
    """Agree to a campaign as it was looked at. Raises Refusal for whoever proposed it, and for other contents than were seen."""
    held = _hold(campaign)
    if held.state != CampaignState.PROPOSED or held.approved_by_id is not None:
        raise Refusal("decided", "the campaign is %(state)s by now; look at it first", state=held.state)
    if held.proposed_by_id == user.pk:
        raise Refusal("four_eyes", "whoever proposed a campaign does not agree to it; ask somebody else")
    if digest != held.digest:
        raise Refusal("changed", "that is not what is proposed; look at the campaign once more")
    Campaign.objects.filter(pk=held.pk).update(
        approved_by=user, approved_at=timezone.now(), approved_digest=held.digest
    )
    detail = {"digest": held.digest, "total": held.total}
    audit.record(actor=user.get_username(), action="campaign.approve", subject=subject_of(held), detail=detail)


@transaction.atomic
def start(*, campaign: Campaign, user: Any) -> None:
    """Let the first wave begin. Raises Refusal where somebody else must agree first."""
    held, now = _hold(campaign), timezone.now()
    if held.needs_approval and held.approved_by_id is None:
        raise Refusal("not_approved", "somebody else must agree to it first")
    _refuse_overlap(held)
    ends_at = None if planning.follows(held) else now + held.settings["deadline_days"] * DAY
    _move(held, CampaignTransition.start, user, started_at=now, ends_at=ends_at, asked_to=now)
    if planning.follows(held):
        following.join_all(held)


def _refuse_overlap(campaign: Campaign) -> None:
    """A campaign of several parts and one of a single part of these would undo each other, and neither goes before the other."""
    mine = Member.objects.filter(wave__campaign=campaign).values("terminal")
    for other in Campaign.objects.filter(state__in=rules.LIVE).exclude(thing=campaign.thing).order_by("pk"):
        if rules.overlap(campaign.thing, other.thing) and (
            Member.objects.filter(wave__campaign=other, terminal__in=mine)
            .exclude(state__in=(MemberState.CANCELLED, MemberState.SUPERSEDED))
            .exists()
        ):
            raise Refusal(
                "overlaps",
                "campaign %(name)s moves a part of this on the same terminals; cancel that one first",
                name=other,
            )


@transaction.atomic
def pause(*, campaign: Campaign, user: Any) -> None:
    """Ask no more terminals; those that were asked go on."""
    _move(_hold(campaign), CampaignTransition.pause, user)


@transaction.atomic
def resume(*, campaign: Campaign, user: Any) -> None:
    """Go on. A wave whose guard did not hold is looked at again first, sample and soak: it may stop once more."""
    held = _hold(campaign)
    _refuse_rolled_back(held)
    _move(held, CampaignTransition.resume, user)
    stopped = Wave.objects.filter(campaign=held, state=WaveState.STOPPED)
    move(stopped, WaveTransition.look_again, soaks_until=None)


def _refuse_rolled_back(campaign: Campaign) -> None:
    """What is being taken back must not go on: the evidence against it goes with it."""
    if campaign.rolled_back_by.exclude(state=CampaignState.CANCELLED).exists():
        raise Refusal("rolled_back", "it is being rolled back; cancel the roll back first, or propose another campaign")


@transaction.atomic
def force(*, campaign: Campaign, reason: str, user: Any) -> None:
    """Let the next wave begin although the guard of the one before does not hold. Raises Refusal without a reason, for whoever
    proposed it, and where no wave is stopped."""
    held = _hold(campaign)
    _refuse_rolled_back(held)
    if held.proposed_by_id == user.pk:
        raise Refusal("four_eyes", "whoever proposed a campaign does not go on against its guard; ask somebody else")
    if not 0 < len(reason.strip()) <= 500 or not reason.isprintable():
        raise Refusal("no_reason", "write why it goes on although the guard does not hold")
    stopped = Wave.objects.filter(campaign=held, state=WaveState.STOPPED)
    unmet = list(stopped.values_list("unmet", flat=True))
    said = {"forced_by": user.get_username(), "forced_because": reason.strip(), "judged_at": timezone.now()}
    if not move(stopped, WaveTransition.hold, **said):
        raise Refusal("not_stopped", "no wave is stopped by its guard")
    _move(held, CampaignTransition.resume, user)
    detail = {"reason": reason.strip(), "unmet": unmet}
    audit.record(actor=user.get_username(), action="campaign.force", subject=subject_of(held), detail=detail)


class Cancelled(NamedTuple):
    """How many terminals are not asked any more, and how many have what was sent: it cannot be taken back."""

    taken_back: int
    under_way: int


@transaction.atomic
def cancel(*, campaign: Campaign, user: Any) -> Cancelled:
    """End a campaign: nobody is asked any more, and what no terminal can have seen is taken back."""
    chosen = Member.objects.filter(wave__campaign=campaign, state=MemberState.ORDERED)
    known = hold(chosen.values_list("terminal_id", flat=True))
    held, now = _hold(campaign), timezone.now()
    _move(held, CampaignTransition.cancel, user, finished_at=now)
    ordered = {pk: member for pk, member in chosen.values_list("terminal_id", "pk") if pk in known}
    order = Order(held.arguments, timedelta(0), {}, held.pk)
    gone = kinds.named(held.kind).take_back(sorted(ordered), order)
    back = move_members((Move(ordered[pk]) for pk in sorted(gone) if pk in ordered), MemberTransition.cancel, now)
    waves = list(Wave.objects.filter(campaign=held).values_list("pk", flat=True))
    ended = move_all(waves, MemberTransition.drop, now)
    return Cancelled(len(back) + ended, chosen.count())


@transaction.atomic
def retry_failed(*, campaign: Campaign, user: Any) -> int:
    """Let those that failed or were left out have another turn; return how many. Raises Refusal where the campaign does not
    run any more, and where nobody failed."""
    held, now = _hold(campaign), timezone.now()
    _check(held, user)
    if held.state not in rules.LIVE:
        raise Refusal("decided", "the campaign is %(state)s by now; look at it first", state=held.state)
    if held.ends_at is not None and now >= held.ends_at:
        raise Refusal("deadline", "the campaign's deadline has passed; propose another one")
    lock_thing(held)
    failed = Member.objects.filter(wave__campaign=held, state__in=(MemberState.FAILED, MemberState.LEFT_OUT))
    elsewhere = Member.objects.filter(thing=held.thing, state__in=rules.OPEN_MEMBERS).values("terminal")
    ids = failed.exclude(terminal__in=elsewhere).order_by("pk").values_list("pk", flat=True)
    moved = move_members([Move(pk, due_at=now, attempt=0) for pk in ids], MemberTransition.try_again, now)
    if not moved:
        raise Refusal("nobody_failed", "no terminal of it failed, or another campaign moves them by now")
    audit.record(
        actor=user.get_username(), action="campaign.retry", subject=subject_of(held), detail={"terminals": len(moved)}
    )
    return len(moved)


def _had(campaign: Campaign) -> QuerySet[Member]:
    """Return the terminals that a campaign asked and no newer one has changed since."""
    newer = Member.objects.filter(
        terminal=OuterRef("terminal"), thing=campaign.thing, wave__campaign__gt=campaign.pk, ordered_at__isnull=False
    )
    return Member.objects.filter(~Exists(newer), wave__campaign=campaign, ordered_at__isnull=False)


# How what was there before is brought back: to all, now.
AT_ONCE = {
    "canary": "",
    "waves": [100],
    "soak_minutes": 0,
    "jitter_minutes": 0,
    "window": None,
    "download_ahead": False,
    "follows": False,
}


@transaction.atomic
def roll_back(*, campaign: Campaign, user: Any) -> list[Campaign]:
    """Propose campaigns that bring back to terminals what they had before: one for each thing that they had.

    Raises Refusal where nobody knows what that was, and where it is being rolled back already. They need what their kind needs,
    a second person where it says so. What is rolled back pauses. Terminals that a newer campaign has changed since stay as they
    are.
    """
    held, had = _hold(campaign), _had(campaign)
    if held.rolled_back_by.filter(state__in=rules.UNFINISHED).exists():
        raise Refusal("rolled_back", "it is being rolled back already")
    if held.state == CampaignState.RUNNING:
        _move(held, CampaignTransition.pause, user)
    befores = list(had.exclude(before=None).order_by("before").values_list("before", flat=True).distinct())
    if not befores:
        raise Refusal("nothing_before", "nobody knows what its terminals had before, or none of them has it")
    settings = {**campaign.settings, **AT_ONCE}
    made = []
    for number, before in enumerate(befores, start=1):
        said: dict[str, Any] = {
            "name": f"{campaign.name[:60]}: roll back {number}",
            "kind": campaign.kind,
            "arguments": before or {},
            "text": f"campaign = {campaign.pk}",
            "among": had.filter(before=before).values("terminal"),
        }
        with suppress(NoTerminal):  # those stand elsewhere by now
            made.append(planning.propose(settings=settings, user=user, rolls_back=campaign, **said))
    if not made:
        raise Refusal("nothing_before", "nobody knows what its terminals had before, or none of them has it")
    return made
