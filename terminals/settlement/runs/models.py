"""One settlement of one terminal, from its trigger to the comparison of totals."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext as _

from terminals.common.facts.kinds import reasons_text
from terminals.common.words import choices, word
from terminals.estate.models import Terminal
from terminals.link.models import Command
from terminals.settlement.runs.rules import OPEN, TROUBLE, RunState

TRIGGERS = ("cycle", "threshold", "count", "operator", "terminal")
OPEN_VALUES = [state.value for state in OPEN]


class SettlementRun(models.Model):
    """One settlement, however many attempts it takes: `command` is the one of the latest attempt."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="settlement_runs", db_index=False)
    trigger = models.CharField(max_length=10, choices=choices(TRIGGERS))
    state = models.CharField(max_length=10, choices=choices(RunState), default=RunState.REQUESTED.value)
    command = models.OneToOneField(Command, on_delete=models.SET_NULL, null=True, related_name="settlement_run")
    requested_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, help_text="The cycle's own instant, before jitter")
    business_day = models.DateField(null=True, help_text="By the plan's cut-off and calendar")
    settled_on = models.DateField(null=True, help_text="The day to which its batch belongs, in reports")
    ends_at = models.DateTimeField(null=True, help_text="End of its window: until then it is tried")
    attempt = models.PositiveSmallIntegerField(default=1)
    retry_at = models.DateTimeField(null=True, help_text="When a blocked or waiting run is looked at again")
    problems = models.JSONField(default=list, help_text="What readiness found at the latest attempt, as data")
    finished_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(null=True, help_text="When the batch was opened, by the terminal's clock")
    closed_at = models.DateTimeField(null=True, help_text="When it closed the batch, by the terminal's clock")
    batch_number = models.PositiveIntegerField(null=True)
    currency = models.CharField(max_length=3, blank=True)
    host_response = models.CharField(max_length=2, blank=True, help_text="ISO 8583 DE39 of the host's answer")
    host_fields = models.JSONField(default=dict, help_text="Data elements of the host's answer")
    upload_complete = models.BooleanField(
        default=True, help_text="The terminal said that it had uploaded all of the batch"
    )
    place = models.CharField(
        max_length=64, blank=True, db_default="", help_text="Serving cell or access point at which it was closed"
    )
    to_profile = models.BooleanField(db_default=False, help_text="Its transactions are still to be looked at for risk")
    reported_minor = models.BigIntegerField(null=True, help_text="Net total that the terminal settled")
    difference_minor = models.BigIntegerField(null=True, help_text="Reported less recorded, net, over all methods")
    reasons = models.JSONField(default=list, help_text="Why it failed or does not balance, as data")

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["terminal", "-id"], name="run_of_terminal"),
            models.Index(fields=["-finished_at"], name="run_by_finish"),
            models.Index(fields=["id"], condition=Q(to_profile=True), name="run_to_profile"),
            models.Index(fields=["settled_on"], condition=Q(settled_on__isnull=False), name="run_by_day"),
            models.Index(
                fields=["-id"], condition=Q(state__in=[state.value for state in TROUBLE]), name="run_in_trouble"
            ),
            models.Index(fields=["finished_at"], condition=Q(state=RunState.FAILED.value), name="run_failed"),
            models.Index(fields=["retry_at"], condition=Q(retry_at__isnull=False), name="run_to_look_at"),
            models.Index(
                fields=["requested_at"],
                condition=Q(state__in=[RunState.REQUESTED.value, RunState.SETTLING.value]),
                name="run_asked",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["terminal"], condition=Q(state__in=OPEN_VALUES), name="one_open_run_per_terminal"
            ),
            models.UniqueConstraint(
                fields=["terminal", "batch_number"], condition=Q(batch_number__isnull=False), name="batch_settled_once"
            ),
            models.UniqueConstraint(
                fields=["terminal", "due_at"], condition=Q(due_at__isnull=False), name="cycle_run_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[RunState.BLOCKED.value, RunState.WAITING.value], retry_at__isnull=False)
                | (~Q(state__in=[RunState.BLOCKED.value, RunState.WAITING.value]) & Q(retry_at=None)),
                name="run_looked_at_exactly_while_it_waits",
            ),
        ]

    def __str__(self) -> str:
        return _("run %(number)s, %(state)s") % {"number": self.pk, "state": word(self.state)}

    @property
    def reason(self) -> str:
        """The reasons in the reader's language; of one that waits, what it waits for."""
        return reasons_text(self.reasons or (self.problems if self.state == RunState.BLOCKED else []))
