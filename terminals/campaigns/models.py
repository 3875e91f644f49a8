"""Campaigns, their waves, their terminals, and how many of these are in which state."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from terminals.campaigns.rules import CampaignState, MemberState, WaveState
from terminals.common.facts.kinds import reasons_text
from terminals.common.words import choices, word
from terminals.estate.models import Terminal

USER = settings.AUTH_USER_MODEL
NEVER_STARTED = [CampaignState.PROPOSED.value, CampaignState.CANCELLED.value]


class Campaign(models.Model):
    """One thing on its way to many terminals. Its terminals are fixed when it is proposed; nothing of it is edited afterwards."""

    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=30)
    arguments = models.JSONField(default=dict)
    thing = models.CharField(max_length=80, help_text="What no two campaigns move on a terminal at once")
    filter = models.CharField(max_length=2000, help_text="Who was chosen, when it was proposed")
    path = models.CharField(max_length=255, help_text="Of the node under which all of its terminals stand")
    settings = models.JSONField(default=dict, help_text="As settings.checked returns them")
    state = models.CharField(max_length=10, choices=choices(CampaignState), default=CampaignState.PROPOSED.value)
    total = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=64, help_text="SHA-256 over what is moved, how, and to whom")
    needs_approval = models.BooleanField(default=False)
    proposed_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(db_default=Now())
    approved_by = models.ForeignKey(USER, on_delete=models.PROTECT, null=True, related_name="+")
    approved_at = models.DateTimeField(null=True)
    approved_digest = models.CharField(max_length=64, blank=True)
    started_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True, help_text="Its deadline: who has no outcome by then has failed")
    finished_at = models.DateTimeField(null=True)
    asked_to = models.DateTimeField(null=True, help_text="Up to then its rate is used up")
    rolls_back = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="rolled_back_by")

    placed_by = "path"

    class Meta:
        ordering = ["-id"]
        permissions = [("approve_campaign", "Can agree to a campaign that somebody else proposed")]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(state__in=[CampaignState.RUNNING.value, CampaignState.PAUSED.value]),
                name="campaign_live",
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=NEVER_STARTED)
                | Q(needs_approval=False)
                | (Q(approved_by__isnull=False) & ~Q(approved_by=F("proposed_by")) & Q(approved_digest=F("digest"))),
                name="campaign_started_by_two",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Wave(models.Model):
    """A part of a campaign's terminals that have their turn together, and what was seen of them."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="waves")
    number = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=8, choices=choices(WaveState), default=WaveState.PLANNED.value)
    total = models.PositiveIntegerField()
    guard = models.JSONField(default=dict)
    begun_at = models.DateTimeField(null=True)
    soaks_until = models.DateTimeField(null=True)
    judged_at = models.DateTimeField(null=True)
    measured = models.JSONField(
        default=list, help_text="As rules.Measured: before, after, and on those not touched yet"
    )
    unmet = models.JSONField(default=list, help_text="As rules.Unmet: why its guard does not hold")
    forced_by = models.CharField(
        max_length=150, blank=True, help_text="Who let it go on although its guard did not hold"
    )
    forced_because = models.CharField(max_length=500, blank=True, db_default="")

    placed_by = "campaign__path"

    class Meta:
        ordering = ["campaign", "number"]
        constraints = [models.UniqueConstraint(fields=["campaign", "number"], name="wave_once")]

    def __str__(self) -> str:
        return f"{self.campaign_id}/{self.number}"


class Member(models.Model):
    """One terminal of a campaign, and what became of it."""

    wave = models.ForeignKey(Wave, on_delete=models.CASCADE, related_name="members", db_index=False)
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="campaigns", db_index=False)
    thing = models.CharField(max_length=80)
    state = models.CharField(max_length=10, choices=choices(MemberState), default=MemberState.PLANNED.value)
    due_at = models.DateTimeField(null=True, help_text="When it is looked at next: to be asked, or as timed out")
    attempt = models.PositiveSmallIntegerField(default=0)
    failures = models.PositiveSmallIntegerField(db_default=0, help_text="Attempts of it that failed")
    code = models.CharField(max_length=40, blank=True, help_text="Why it failed, waits or was left out")
    reasons = models.JSONField(default=list, help_text="The same as data")
    before = models.JSONField(null=True, help_text="What a roll back would bring again")
    anew_at = models.DateTimeField(null=True, help_text="What was brought before then, was brought to another device")
    ordered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    placed_by = "terminal__path"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["wave", "terminal"], name="member_once_a_wave"),
            models.UniqueConstraint(
                fields=["terminal", "thing"],
                condition=Q(state__in=[MemberState.WAITING.value, MemberState.ORDERED.value]),
                name="one_campaign_moves_a_thing",
            ),
        ]
        indexes = [
            models.Index(
                fields=["wave", "due_at"], condition=Q(state=MemberState.WAITING.value), name="member_waiting"
            ),
            models.Index(
                fields=["wave", "due_at"], condition=Q(state=MemberState.ORDERED.value), name="member_ordered"
            ),
            models.Index(fields=["wave"], condition=Q(state=MemberState.PLANNED.value), name="member_planned"),
            models.Index(fields=["wave", "finished_at"], condition=Q(finished_at__isnull=False), name="member_ended"),
            models.Index(fields=["terminal", "-id"], name="member_of_terminal"),
            models.Index(
                fields=["wave", "code"],
                condition=Q(state__in=[MemberState.FAILED.value, MemberState.LEFT_OUT.value]),
                name="member_in_trouble",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.terminal_id} {word(self.state)}"

    @property
    def reason(self) -> str:
        """The reasons in the reader's language."""
        return reasons_text(self.reasons)


class Tally(models.Model):
    """So many more or fewer terminals of a wave are in a state, with a code: what one statement moved. Rows are added and never
    changed, so that two who move terminals of a wave do not wait for each other; the sum is how many there are."""

    wave = models.ForeignKey(Wave, on_delete=models.CASCADE, related_name="tallies")
    state = models.CharField(max_length=10)
    code = models.CharField(max_length=40, blank=True)
    number = models.IntegerField(default=0)

    placed_by = "wave__campaign__path"

    class Meta:
        verbose_name_plural = "tallies"

    def __str__(self) -> str:
        return f"{self.wave_id} {self.state} {self.number}"


class Newcomer(models.Model):
    """A terminal that spoke up: campaigns that follow look whether it passes their filter, and has what they bring."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="+")
    noted_at = models.DateTimeField(db_default=Now())

    placed_by = "terminal__path"

    def __str__(self) -> str:
        return str(self.terminal_id)
