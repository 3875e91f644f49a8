"""Operators' preferences, and tallies: the overview's numbers, kept as they change so that no page counts the fleet.

Statement triggers (migrations/0003) append what each statement changed, and where in the tree; a task folds these lines into
the sums of each node above. A number is always its sum and the lines below its node that wait, so a page is right at every
instant and for every part of the tree, and two writers never wait for each other.
"""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

# Measures of a day, whose labels begin with the quarter of an hour (UTC) in which it happened: `2026-11-23 22:15 balanced`.
DAILY = ("settled", "settled_sum", "unreconciled")


class Number(models.Model):
    """What is counted, and where: the path of a node, empty for the whole installation."""

    place = models.CharField(max_length=200, db_collation="C", blank=True)
    measure = models.CharField(max_length=20)
    label = models.CharField(max_length=130)
    amount = models.BigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.place} {self.measure}/{self.label} {self.amount:+d}"


class Tally(Number):
    """The sum of one number at and below one node, as far as it is folded."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["place", "measure", "label"], name="tally_once")]
        indexes = [models.Index(fields=["id"], condition=models.Q(amount=0), name="tally_spent")]


class DailySoftware(models.Model):
    """How many terminals ran a version on a day, at and below one node: the tally of software as it was noted last that day."""

    day = models.DateField()
    place = models.CharField(max_length=200, db_collation="C", blank=True)
    label = models.CharField(max_length=130)
    amount = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "place", "label"], name="daily_software_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.place} {self.label} {self.amount}"


class TallyChange(Number):
    """A change of one number that a statement made at one store; it waits to be folded."""


class Preferences(models.Model):
    """How an operator wants the pages: language and time zone; empty is the browser's language, the server's zone."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="preferences"
    )
    language = models.CharField(max_length=10, blank=True)
    time_zone = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"preferences of {self.user}"


class SavedView(models.Model):
    """What an operator asks of the terminals' list again and again: its address, under a name of their own."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=40)
    query = models.CharField(max_length=3000, help_text="The list's address from the question mark on")
    created_at = models.DateTimeField(db_default=Now())

    owned_by = "user"

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="saved_view_once_an_operator")]

    def __str__(self) -> str:
        return self.name
