"""Plans, each terminal's schedule, transactions, batches and settlement runs. All money is integer minor units."""

from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from terminals.common.facts.kinds import reasons_text
from terminals.common.money import check_currency
from terminals.common.words import choices, field_errors, format_minor, lazy_word, word
from terminals.estate.models import Terminal
from terminals.link.models import Command
from terminals.settlement import rules
from terminals.settlement.rules import RunState

if TYPE_CHECKING:
    from datetime import datetime

METHODS = [("card", lazy_word("card")), ("qr", lazy_word("QR"))]
TRIGGERS = ("cycle", "threshold", "operator", "terminal")


class Cycle(models.Model):
    """When to settle by itself: on a crontab in an IANA zone, and/or once enough money is in the batch."""

    cycle = models.CharField(max_length=100, blank=True, help_text='Crontab, e.g. "30 22 * * *"; empty for no cycle')
    time_zone = models.CharField(max_length=64, blank=True, help_text="IANA name, e.g. Europe/Berlin")
    threshold_minor = models.BigIntegerField(
        null=True, blank=True, help_text="Settle at this unsettled amount, in minor units; empty for no threshold"
    )
    threshold_currency = models.CharField(
        max_length=3, blank=True, help_text="ISO 4217; a batch in another currency never reaches the threshold"
    )

    class Meta:
        abstract = True

    def clean(self) -> None:
        """Refuse a schedule that the tick could not compute."""
        with field_errors("cycle"):
            rules.check_cycle(self.cycle, self.time_zone or "UTC")
        if self.threshold_minor is not None and self.threshold_minor <= 0:
            raise ValidationError({"threshold_minor": _("the threshold must be above zero")})
        if (self.threshold_minor is None) != (not self.threshold_currency):
            raise ValidationError({"threshold_currency": _("a threshold is an amount and its currency, or neither")})
        with field_errors("threshold_currency"):
            if self.threshold_currency:
                check_currency(self.threshold_currency)

    def shown_threshold(self) -> str:
        """Return for example `150.00 EUR`; empty where there is none."""
        return "" if self.threshold_minor is None else format_minor(self.threshold_minor, self.threshold_currency)


class SettlementPlan(Cycle):
    """A named policy. The default one is given to every terminal that becomes active without a plan."""

    name = models.CharField(max_length=80, unique=True)
    time_zone = models.CharField(
        max_length=64, blank=True, help_text="IANA name, e.g. Europe/Berlin; empty for each store's own"
    )
    jitter_seconds = models.PositiveIntegerField(
        "jitter (seconds)", default=0, help_text="Spread the terminals of a cycle over this many seconds"
    )
    is_default = models.BooleanField(
        "default", default=False, help_text="Given to every terminal that becomes active without a plan"
    )
    enabled = models.BooleanField(default=True)

    shared = True

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=Q(is_default=True),
                name="one_default_settlement_plan",
                violation_error_message=gettext_lazy(
                    "Another plan is the default one; first take the mark from that one."
                ),
            ),
            models.CheckConstraint(
                condition=Q(threshold_minor=None, threshold_currency="")
                | Q(threshold_minor__gt=0, threshold_currency__regex="^[A-Z]{3}$"),
                name="plan_threshold_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class SettlementSchedule(Cycle):
    """One terminal under a plan: its overrides, when it is due next, and why. The tick reads only `next_due_at`."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="schedule")
    plan = models.ForeignKey(SettlementPlan, on_delete=models.PROTECT, related_name="schedules")
    next_due_at = models.DateTimeField(null=True, editable=False)
    due_reason = models.CharField(max_length=10, choices=choices(TRIGGERS), default="cycle", editable=False)

    placed_by = "terminal__path"

    class Meta:
        indexes = [models.Index(fields=["next_due_at"], condition=Q(next_due_at__isnull=False), name="schedule_due")]
        constraints = [
            models.CheckConstraint(
                condition=Q(threshold_minor=None, threshold_currency="")
                | Q(threshold_minor__gt=0, threshold_currency__regex="^[A-Z]{3}$"),
                name="schedule_threshold_positive",
            )
        ]

    def __str__(self) -> str:
        return _("schedule of %(terminal)s") % {"terminal": self.terminal}

    @property
    def audit_key(self) -> str:
        return self.terminal.serial

    def effective(self) -> rules.Effective:
        """Return the cycle that applies to this terminal: its own, else the plan's, and the store's clock where neither
        names one (needs `plan` and the terminal's `store` loaded)."""
        plan = self.plan
        return rules.Effective(
            cycle=(self.cycle or plan.cycle) if plan.enabled else "",
            time_zone=self.time_zone or plan.time_zone or self.terminal.store.time_zone,
            jitter_seconds=plan.jitter_seconds,
        )

    @property
    def is_own(self) -> bool:
        """Whether anything differs from the plan."""
        return bool(self.cycle or self.time_zone or self.threshold_minor is not None)

    def settles_by_itself(self) -> bool:
        """Whether its clock or its money makes it settle without being asked."""
        limit = self.threshold_minor if self.threshold_minor is not None else self.plan.threshold_minor
        return bool(self.effective().cycle) or (self.plan.enabled and limit is not None)

    def shown_effective(self) -> str:
        """Return what applies to this terminal, for example `30 22 * * * Europe/Berlin, 150.00 EUR`."""
        cycle, limit = self.effective(), self if self.threshold_minor is not None else self.plan
        by_clock = f"{cycle.cycle} {cycle.time_zone}" if cycle.cycle else ""
        by_amount = limit.shown_threshold() if self.plan.enabled else ""
        return ", ".join(filter(None, (by_clock, by_amount))) or _("never by itself")

    def next_due_after(self, instant: "datetime") -> "datetime | None":
        return rules.next_due(self.effective(), after=instant, terminal_id=self.terminal_id)


class Batch(models.Model):
    """A terminal's batch in one currency, as its uploaded transactions add up: what the server knows to be unsettled.

    A batch that holds several currencies, which no settlement can be right for, has a row for each.
    """

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="batches")
    batch_number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    net_minor = models.BigIntegerField(help_text="Sales less refunds")
    transaction_count = models.PositiveIntegerField()
    closed = models.BooleanField(default=False)
    opened_at = models.DateTimeField(db_default=Now())

    placed_by = "terminal__path"

    class Meta:
        verbose_name_plural = "batches"
        constraints = [
            models.UniqueConstraint(fields=["terminal", "batch_number", "currency"], name="batch_once_a_currency")
        ]

    def __str__(self) -> str:
        return _("batch %(number)s of %(terminal)s") % {"number": f"{self.batch_number:06d}", "terminal": self.terminal}


class Transaction(models.Model):
    """An approved transaction as the terminal uploaded it."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="transactions")
    transaction_id = models.UUIDField()
    batch_number = models.PositiveIntegerField()
    kind = models.CharField(max_length=6, choices=choices(("sale", "refund")))
    method = models.CharField(max_length=4, choices=METHODS)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    approval_code = models.CharField(max_length=12, blank=True)
    card_last4 = models.CharField(max_length=4, blank=True)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["terminal", "batch_number"])]
        constraints = [
            models.UniqueConstraint(fields=["terminal", "transaction_id"], name="transaction_once"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="transaction_amount_positive"),
        ]

    def __str__(self) -> str:
        return f"{word(self.kind)} {format_minor(self.amount_minor, self.currency)}"


class SettlementRun(models.Model):
    """One settlement of one terminal, from its trigger to the comparison of totals."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="settlement_runs")
    trigger = models.CharField(
        max_length=10,
        choices=choices(TRIGGERS),
    )
    state = models.CharField(max_length=10, choices=choices(RunState), default=RunState.REQUESTED.value)
    command = models.OneToOneField(Command, on_delete=models.SET_NULL, null=True, related_name="settlement_run")
    requested_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True, help_text="When it closed the batch, by the terminal's clock")
    batch_number = models.PositiveIntegerField(null=True)
    currency = models.CharField(max_length=3, blank=True)
    host_response = models.CharField(max_length=2, blank=True, help_text="ISO 8583 DE39 of the host's answer")
    reported_minor = models.BigIntegerField(null=True, help_text="Net total that the terminal settled")
    difference_minor = models.BigIntegerField(null=True, help_text="Reported less recorded, net, over all methods")
    reasons = models.JSONField(default=list, help_text="Why it failed or does not balance, as data")

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["terminal", "-id"], name="run_of_terminal"),
            models.Index(fields=["-finished_at"], name="run_by_finish"),
            models.Index(fields=["finished_at"], condition=Q(state=RunState.FAILED.value), name="run_failed"),
            models.Index(
                fields=["-id"], condition=Q(state__in=[state.value for state in rules.TROUBLE]), name="run_in_trouble"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["terminal"],
                condition=Q(state__in=[state.value for state in rules.OPEN]),
                name="one_open_run_per_terminal",
            ),
            models.UniqueConstraint(
                fields=["terminal", "batch_number"], condition=Q(batch_number__isnull=False), name="batch_settled_once"
            ),
        ]

    def __str__(self) -> str:
        return _("run %(number)s, %(state)s") % {"number": self.pk, "state": word(self.state)}

    @property
    def reason(self) -> str:
        """The reasons in the reader's language."""
        return reasons_text(self.reasons)


class RunTotal(models.Model):
    """A run's totals for one payment method: what the terminal reported beside what its transactions add up to."""

    run = models.ForeignKey(SettlementRun, on_delete=models.CASCADE, related_name="totals")
    method = models.CharField(max_length=4, choices=METHODS)
    reported_sale_count = models.IntegerField(default=0)
    reported_sale_minor = models.BigIntegerField(default=0)
    reported_refund_count = models.IntegerField(default=0)
    reported_refund_minor = models.BigIntegerField(default=0)
    recorded_sale_count = models.IntegerField(default=0)
    recorded_sale_minor = models.BigIntegerField(default=0)
    recorded_refund_count = models.IntegerField(default=0)
    recorded_refund_minor = models.BigIntegerField(default=0)

    placed_by = "run__terminal__path"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "method"], name="total_once_per_method")]

    def __str__(self) -> str:
        return str(self.get_method_display())
