"""What is kept of batches to tell what is unusual, and the rules by which it is told."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext as _

from terminals.common.words import choices, word
from terminals.estate.models import Organisation, Terminal
from terminals.settlement.risk.rules import HOURS, SIGNALS


class BatchProfile(models.Model):
    """A settled batch, as far as it may be unusual; made once from its transactions, and again where late ones come."""

    pk = models.CompositePrimaryKey("terminal_id", "batch_number")
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="+", db_index=False)
    batch_number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    settled_at = models.DateTimeField()
    sales_count = models.PositiveIntegerField()
    sales_minor = models.BigIntegerField()
    refund_count = models.PositiveIntegerField()
    refund_minor = models.BigIntegerField()
    largest_minor = models.BigIntegerField()
    round_count = models.PositiveIntegerField()
    most_of_a_card = models.PositiveIntegerField()
    most_in_ten_minutes = models.PositiveIntegerField()
    by_hour = ArrayField(models.PositiveIntegerField(), size=HOURS)
    place = models.CharField(max_length=64, blank=True)

    placed_by = "terminal__path"

    class Meta:
        indexes = [
            models.Index(fields=["terminal", "-settled_at"], name="profile_of_terminal"),
            models.Index(fields=["settled_at"], name="profile_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.terminal_id}/{self.batch_number}"


class RiskRule(models.Model):
    """A signal that opens cases, with its settings, for an organisation or for all; the nearest one counts."""

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, null=True, blank=True, related_name="+", help_text="Empty for all"
    )
    signal = models.CharField(max_length=20, choices=choices(SIGNALS))
    settings = models.JSONField(default=dict, blank=True)
    enabled = models.BooleanField(default=False, help_text="Only then it opens cases")

    placed_by = "organisation__path"

    class Meta:
        ordering = ["signal"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "signal"], nulls_distinct=False, name="risk_rule_once")
        ]

    def __str__(self) -> str:
        return _("%(signal)s (%(whose)s)") % {"signal": word(self.signal), "whose": self.organisation or _("all")}
