"""When terminals settle: named plans, what is set at each level of the tree, what comes of it, and when each is due next."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.db.models.lookups import Exact
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from terminals.common.words import choices, field_errors, word
from terminals.estate.models import AtNode, Terminal
from terminals.settlement.plans import calendars, rules, words
from terminals.settlement.runs.models import TRIGGERS

LEVELS = ("organisation", "merchant", "store", "terminal")


class BusinessCalendar(models.Model):
    """The days on which banks work: a country's holidays, a weekend, and days of one's own that are closed or open."""

    name = models.CharField(max_length=80, unique=True)
    country = models.CharField(max_length=2, blank=True, help_text="ISO 3166-1, e.g. DE; empty for no holidays")
    subdivision = models.CharField(max_length=10, blank=True, help_text="ISO 3166-2 without the country, e.g. BY")
    weekend = models.JSONField(default=calendars.usual_weekend, help_text="ISO days of the week: 6 is Saturday")
    closed_days = models.JSONField(
        default=dict, blank=True, help_text='Closed besides: {"2026-12-24": "Christmas Eve"}'
    )
    open_days = models.JSONField(default=dict, blank=True, help_text='Open although: {"2026-12-26": "fair"}')

    shared = True

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        with field_errors():
            calendars.check(self.days())

    def days(self) -> calendars.Days:
        return calendars.Days(
            self.country,
            self.subdivision,
            tuple(self.weekend),
            tuple(self.closed_days.items()),
            tuple(self.open_days.items()),
        )


class SettlementPlan(models.Model):
    """A named set of settings. The default one holds wherever no other is set."""

    name = models.CharField(max_length=80, unique=True)
    settings = models.JSONField(default=dict, help_text="Setting -> value; what is absent has its default")
    is_default = models.BooleanField("default", default=False, help_text="Holds wherever no other plan is set")

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
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse settings that the tick could not use."""
        with field_errors("settings"):
            self.settings = rules.checked(self.settings)

    def shown_settings(self) -> str:
        """Return for example `every day at 22:30 by each store's clock, at 150.00 EUR`."""
        return words.in_short(rules.complete(self.settings))


class PlanLevel(AtNode):
    """What is set at one level: a plan, which replaces whatever is inherited, and single settings, which go before it."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, null=True, related_name="own_plan")
    plan = models.ForeignKey(SettlementPlan, on_delete=models.PROTECT, null=True, blank=True, related_name="levels")
    settings = models.JSONField(default=dict, blank=True)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.CharField(max_length=150)

    placed_by = ("organisation__path", "merchant__path", "store__path", "terminal__path")

    class Meta:
        verbose_name = "settlement settings of a level"
        verbose_name_plural = "settlement settings of levels"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=LEVELS, nulls_distinct=False, name="plan_level_once"),
            models.CheckConstraint(
                condition=Exact(models.Func(*LEVELS, function="num_nonnulls", output_field=models.IntegerField()), 1),
                name="plan_level_is_one_level",
            ),
        ]

    def __str__(self) -> str:
        return f"{word(self.level)} {getattr(self, self.level)}"

    @property
    def level(self) -> str:
        return next(name for name in LEVELS if getattr(self, f"{name}_id") is not None)


class EffectivePlan(models.Model):
    """The settings that hold for some terminals, whole, with their time zone. Many terminals share one; it is never edited."""

    digest = models.CharField(max_length=64, unique=True)
    plan = models.ForeignKey(SettlementPlan, on_delete=models.CASCADE, null=True, related_name="effective")
    calendar = models.ForeignKey(BusinessCalendar, on_delete=models.PROTECT, null=True, related_name="effective")
    settings = models.JSONField()

    def __str__(self) -> str:
        return words.in_short(self.settings)


class SettlementSchedule(models.Model):
    """When one terminal is due next, and why. The tick reads only `next_due_at` and `check_at`."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="schedule")
    effective = models.ForeignKey(EffectivePlan, on_delete=models.PROTECT, related_name="schedules")
    jitter_share = models.FloatField(help_text="Its own part of the jitter, from 0 to 1")
    next_due_at = models.DateTimeField(null=True, editable=False)
    cycle_at = models.DateTimeField(null=True, editable=False, help_text="The cycle's own instant, before jitter")
    due_reason = models.CharField(max_length=10, choices=choices(TRIGGERS), default="cycle", editable=False)
    check_at = models.DateTimeField(null=True, editable=False, help_text="When readiness is looked at ahead")
    problems = models.JSONField(default=list, help_text="What readiness found ahead of the next settlement, as data")
    is_blocked = models.BooleanField(default=False, help_text="As it is, the next settlement would not go off")
    is_stale = models.BooleanField(default=False, help_text="Its settings are to be worked out anew")

    placed_by = "terminal__path"

    class Meta:
        indexes = [
            models.Index(fields=["next_due_at"], condition=Q(next_due_at__isnull=False), name="schedule_due"),
            models.Index(fields=["check_at"], condition=Q(check_at__isnull=False), name="schedule_to_check"),
            models.Index(fields=["terminal"], condition=Q(is_blocked=True), name="schedule_blocked"),
            models.Index(fields=["terminal"], condition=Q(is_stale=True), name="schedule_stale"),
        ]

    def __str__(self) -> str:
        return _("schedule of %(terminal)s") % {"terminal": self.terminal}

    @property
    def settings(self) -> dict[str, Any]:
        return self.effective.settings  # type: ignore[no-any-return]

    def settles_by_itself(self) -> bool:
        """Whether its clock or its money makes it settle without being asked."""
        return rules.settles_by_itself(self.settings)

    def shown_effective(self) -> str:
        """Return what applies to this terminal, for example `every day at 22:30 Europe/Berlin, at 150.00 EUR`."""
        return words.in_short(self.settings)
