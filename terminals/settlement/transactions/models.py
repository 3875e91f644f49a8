"""What terminals uploaded: transactions, the batches that they make up, and where numbers are missing."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from terminals.common.words import choices, format_minor, lazy_word, word
from terminals.estate.models import Terminal
from terminals.settlement.rules import KINDS

METHODS = [("card", lazy_word("card")), ("qr", lazy_word("QR"))]


class Batch(models.Model):
    """A terminal's batch in one currency, as its uploaded transactions add up: what the server knows to be unsettled.

    A batch that holds several currencies has a row for each.
    """

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="batches")
    batch_number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    net_minor = models.BigIntegerField(help_text="Sales less refunds, credits, voids and reversals")
    transaction_count = models.PositiveIntegerField(help_text="Declined ones do not count")
    closed = models.BooleanField(default=False)
    opened_at = models.DateTimeField(db_default=Now())
    awaits_credit = models.BooleanField(
        db_default=False, help_text="It was settled, and its credit is still to be looked at"
    )
    credit_due_on = models.DateField(null=True, help_text="By then it is to be credited")

    placed_by = "terminal__path"

    class Meta:
        verbose_name_plural = "batches"
        indexes = [models.Index(fields=["credit_due_on"], condition=Q(awaits_credit=True), name="batch_awaits_credit")]
        constraints = [
            models.UniqueConstraint(fields=["terminal", "batch_number", "currency"], name="batch_once_a_currency")
        ]

    def __str__(self) -> str:
        return _("batch %(number)s of %(terminal)s") % {"number": f"{self.batch_number:06d}", "terminal": self.terminal}


class BatchTotal(models.Model):
    """One line of a batch: what the terminal reported of it, beside what its transactions add up to.

    The recorded side is kept as transactions arrive, so that a comparison reads a few lines and never a transaction.
    """

    pk = models.CompositePrimaryKey("terminal_id", "batch_number", "currency", "method", "scheme", "kind")
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="+", db_index=False)
    batch_number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=4, choices=METHODS)
    scheme = models.CharField(max_length=20, blank=True, help_text="Card scheme or wallet")
    kind = models.CharField(max_length=8, choices=choices(KINDS))
    reported_count = models.IntegerField(default=0)
    reported_minor = models.BigIntegerField(default=0)
    recorded_count = models.IntegerField(default=0)
    recorded_minor = models.BigIntegerField(default=0)

    placed_by = "terminal__path"

    def __str__(self) -> str:
        return f"{word('QR' if self.method == 'qr' else self.method)} {self.scheme} {word(self.kind)}"


class BatchSequence(models.Model):
    """How far the numbers of a batch's transactions have come, and since when some are missing."""

    pk = models.CompositePrimaryKey("terminal_id", "batch_number")
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="+", db_index=False)
    batch_number = models.PositiveIntegerField()
    numbered_count = models.PositiveIntegerField(default=0)
    last_sequence = models.PositiveIntegerField(default=0, help_text="The highest number that was seen or reported")
    gap_since = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)
    times_asked = models.PositiveSmallIntegerField(default=0)

    placed_by = "terminal__path"

    class Meta:
        indexes = [models.Index(fields=["gap_since"], condition=Q(gap_since__isnull=False), name="batch_with_a_gap")]

    def __str__(self) -> str:
        return f"{self.batch_number:06d}: {self.numbered_count}/{self.last_sequence}"


class Transaction(models.Model):
    """A transaction as the terminal uploaded it. The table is partitioned by month of `occurred_at` (migration 0004)."""

    id = models.BigAutoField(primary_key=True)
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="transactions", db_index=False)
    transaction_id = models.UUIDField()
    batch_number = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField(
        default=0, help_text="Number in its batch; 0 where the terminal does not number"
    )
    kind = models.CharField(max_length=8, choices=choices(KINDS))
    method = models.CharField(max_length=4, choices=METHODS)
    scheme = models.CharField(max_length=20, blank=True, help_text="Card scheme or wallet")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    approval_code = models.CharField(max_length=12, blank=True)
    card_last4 = models.CharField(max_length=4, blank=True)
    card_token = models.CharField(max_length=64, blank=True)
    stan = models.CharField("STAN", max_length=6, blank=True, help_text="ISO 8583 DE11")
    rrn = models.CharField("RRN", max_length=12, blank=True, help_text="ISO 8583 DE37")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["terminal", "batch_number", "sequence"], name="transaction_of_batch"),
            models.Index(fields=["amount_minor", "-occurred_at"], name="transaction_by_amount"),
            models.Index(fields=["rrn"], condition=~Q(rrn=""), name="transaction_by_rrn"),
            models.Index(fields=["approval_code"], condition=~Q(approval_code=""), name="transaction_by_approval"),
            models.Index(fields=["card_last4"], condition=~Q(card_last4=""), name="transaction_by_last4"),
            models.Index(fields=["stan"], condition=~Q(stan=""), name="transaction_by_stan"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["terminal", "transaction_id", "occurred_at"], name="transaction_once"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="transaction_amount_positive"),
        ]

    def __str__(self) -> str:
        return f"{word(self.kind)} {format_minor(self.amount_minor, self.currency)}"
