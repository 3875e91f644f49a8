"""Differences between what was reported, recorded and credited, and the cases in which they are followed to their end."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from terminals.common.words import choices, format_minor, word
from terminals.estate.models import Organisation, Terminal
from terminals.settlement.cases.rules import LIVE, RESOLUTIONS, CaseState, Severity, Subject
from terminals.settlement.reconciliation.rules import DifferenceKind
from terminals.settlement.transactions.models import METHODS

LIVE_VALUES = [state.value for state in LIVE]


class Case(models.Model):
    """Differences of one terminal that somebody looks at: the same every night is one case that grows."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, null=True, related_name="cases")
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        help_text="Whose file, where no terminal is known",
    )
    subject = models.CharField(max_length=10, choices=choices(Subject))
    state = models.CharField(max_length=10, choices=choices(CaseState), default=CaseState.OPEN.value)
    severity = models.CharField(max_length=6, choices=choices(Severity), default=Severity.LOW.value)
    currency = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField(
        default=0, help_text="The open differences' amounts added up, whatever their sign"
    )
    difference_count = models.PositiveIntegerField(default=0, help_text="Open differences")
    seen_count = models.PositiveIntegerField(default=0, help_text="Differences that it has had in all")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    opened_at = models.DateTimeField(db_default=Now())
    grown_at = models.DateTimeField(db_default=Now(), help_text="When the latest difference came")
    due_at = models.DateTimeField()
    resolution = models.CharField(max_length=20, blank=True, choices=choices(RESOLUTIONS))
    needs_four_eyes = models.BooleanField(default=False)
    resolved_by = models.CharField(max_length=150, blank=True)
    resolved_at = models.DateTimeField(null=True)
    approved_by = models.CharField(max_length=150, blank=True)
    closed_at = models.DateTimeField(null=True)

    placed_by = ("terminal__path", "organisation__path")

    class Meta:
        ordering = ["-id"]
        permissions = [("approve_case", "Can agree to the end of a case")]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=LIVE_VALUES), name="case_live_by_due"),
            models.Index(fields=["state", "-id"], name="case_by_state"),
            models.Index(fields=["terminal", "-id"], name="case_of_terminal"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["terminal", "organisation", "subject", "currency"],
                condition=Q(state__in=LIVE_VALUES),
                nulls_distinct=False,
                name="one_live_case_a_subject",
            ),
            models.CheckConstraint(
                condition=~Q(state=CaseState.RESOLVED.value)
                | Q(needs_four_eyes=False)
                | (~Q(approved_by="") & ~Q(approved_by=F("resolved_by"))),
                name="large_case_closed_by_two",
            ),
            models.CheckConstraint(
                condition=Q(state__in=LIVE_VALUES, closed_at=None)
                | (~Q(state__in=LIVE_VALUES) & Q(closed_at__isnull=False)),
                name="case_closed_exactly_when_over",
            ),
        ]

    def __str__(self) -> str:
        return _("case %(number)s, %(state)s") % {"number": self.pk, "state": word(self.state)}

    @property
    def shown_amount(self) -> str:
        return format_minor(self.amount_minor, self.currency)


class Difference(models.Model):
    """One difference, of one kind, with what is suspected; it ends when what comes later explains it, or with its case."""

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="differences")
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, null=True, related_name="+")
    batch_number = models.PositiveIntegerField(null=True)
    kind = models.CharField(max_length=20, choices=choices(DifferenceKind))
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=4, blank=True, choices=METHODS)
    scheme = models.CharField(max_length=20, blank=True)
    transaction_kind = models.CharField(max_length=8, blank=True)
    expected_count = models.IntegerField(default=0)
    expected_minor = models.BigIntegerField(
        default=0, help_text="Reported, where it is held against records or credits"
    )
    found_count = models.IntegerField(default=0)
    found_minor = models.BigIntegerField(default=0, help_text="Recorded or credited")
    suspects = models.JSONField(default=list, help_text="Ids of recorded transactions, or of a file's entries")
    missing = models.JSONField(default=list, help_text="Sequence numbers that never came")
    detail = models.CharField(max_length=200, blank=True, help_text="A name from a file, or the host's answer")
    is_open = models.BooleanField(default=True)
    found_at = models.DateTimeField(db_default=Now())
    explained_at = models.DateTimeField(null=True)

    placed_by = ("terminal__path", "case__organisation__path")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["terminal", "batch_number"], condition=Q(is_open=True), name="difference_open_of_batch"
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "case",
                    "terminal",
                    "batch_number",
                    "kind",
                    "currency",
                    "method",
                    "scheme",
                    "transaction_kind",
                    "detail",
                ],
                condition=Q(is_open=True),
                nulls_distinct=False,
                name="difference_open_once",
            )
        ]

    def __str__(self) -> str:
        return f"{word(self.kind)} {format_minor(self.difference_minor, self.currency, signed=True)}"

    @property
    def difference_minor(self) -> int:
        return self.expected_minor - self.found_minor

    @property
    def stake_minor(self) -> int:
        """What is at stake, whatever its sign."""
        return abs(self.difference_minor)


class CaseNote(models.Model):
    """What somebody wrote or brought to a case; never edited."""

    case = models.ForeignKey(Case, on_delete=models.CASCADE, related_name="notes")
    written_by = models.CharField(max_length=150)
    written_at = models.DateTimeField(db_default=Now())
    text = models.CharField(max_length=4000, blank=True)
    file_name = models.CharField(max_length=200, blank=True)
    file_type = models.CharField(max_length=60, blank=True)
    file_size = models.PositiveIntegerField(default=0)
    content = models.BinaryField(null=True)

    placed_by = ("case__terminal__path", "case__organisation__path")
    not_audited = ("content",)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.file_name or self.text[:40]
