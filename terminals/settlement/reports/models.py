"""Reports: those made in the background, those sent by a schedule, and the days that somebody has closed."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from terminals.common.refusals import KeepsRefusal
from terminals.common.words import choices
from terminals.estate.models import Organisation, Terminal
from terminals.settlement.reports.rules import FORMATS, ReportState


class Report(KeepsRefusal):
    """A report that is made in the background; who asked for it takes the file."""

    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reports")
    requested_at = models.DateTimeField(db_default=Now())
    spec = models.JSONField(default=dict)
    language = models.CharField(max_length=10, default="en")
    format = models.CharField(max_length=4, choices=[(one, one.upper()) for one in FORMATS])
    paths = ArrayField(models.CharField(max_length=200), help_text="What of the tree it may tell of")
    state = models.CharField(max_length=7, choices=choices(ReportState), default=ReportState.WAITING.value)
    percent = models.PositiveSmallIntegerField(default=0)
    leased_until = models.DateTimeField(null=True)
    content = models.BinaryField(null=True)
    finished_at = models.DateTimeField(null=True)

    owned_by = "requested_by"
    not_audited = ("content", "leased_until", "percent")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(state__in=[ReportState.WAITING.value, ReportState.RUNNING.value]),
                name="report_to_make",
            )
        ]

    def __str__(self) -> str:
        return f"{self.pk} ({self.format})"


class ReportSchedule(KeepsRefusal):
    """A report that is sent by e-mail on a crontab, with no more than its owner may see at the time."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="report_schedules")
    name = models.CharField(max_length=80)
    spec = models.JSONField(default=dict)
    format = models.CharField(max_length=4, choices=[(one, one.upper()) for one in FORMATS], default="pdf")
    recipients = ArrayField(models.EmailField(), help_text="At most ten addresses")
    crontab = models.CharField(max_length=100, default="0 6 * * *")
    time_zone = models.CharField(max_length=64, default="UTC")
    language = models.CharField(max_length=10, default="en")
    enabled = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True, editable=False)
    sent_at = models.DateTimeField(null=True, editable=False)

    owned_by = "owner"

    class Meta:
        verbose_name = "scheduled report"
        ordering = ["name"]
        indexes = [models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="report_schedule_due")]

    def __str__(self) -> str:
        return self.name


class DailyClose(models.Model):
    """A day's figures as they were when somebody closed it; what changes afterwards is shown against them."""

    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="daily_closes"
    )
    day = models.DateField()
    closed_by = models.CharField(max_length=150)
    closed_at = models.DateTimeField(db_default=Now())

    placed_by = "organisation__path"

    class Meta:
        verbose_name = "closed day"
        ordering = ["-day"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "day"], nulls_distinct=False, name="day_closed_once")
        ]

    def __str__(self) -> str:
        return _("close of %(day)s") % {"day": self.day}


class DailyFigure(models.Model):
    """One terminal's figures of a day that was closed, in one currency; never changed."""

    close = models.ForeignKey(DailyClose, on_delete=models.CASCADE, related_name="figures")
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="+")
    currency = models.CharField(max_length=3)
    batches = models.BigIntegerField()
    transactions = models.BigIntegerField()
    card_minor = models.BigIntegerField()
    qr_minor = models.BigIntegerField()
    settled_minor = models.BigIntegerField()
    recorded_minor = models.BigIntegerField()
    credited_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField()
    outstanding_minor = models.BigIntegerField()
    excess_minor = models.BigIntegerField()
    open_difference_minor = models.BigIntegerField()

    placed_by = "terminal__path"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["close", "terminal", "currency"], name="daily_figure_once")]

    def __str__(self) -> str:
        return f"{self.terminal_id} {self.currency}"
