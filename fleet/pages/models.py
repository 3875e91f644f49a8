"""Operators' preferences, and tallies: the overview's numbers, kept as they change so that no page counts the fleet.

Statement triggers (migrations/0002) append what each statement changed; a task folds the lines of one number into one.
The number is always their sum, so a page is right at every instant, and two writers never wait for each other.
"""

from django.conf import settings
from django.db import models

# Measures of a day, whose labels begin with the quarter of an hour (UTC) in which it happened: `2026-11-23 22:15 balanced`.
DAILY = ("settled", "settled_sum", "unreconciled")


class Tally(models.Model):
    """A change of one number, or several folded into one."""

    measure = models.CharField(max_length=20)
    label = models.CharField(max_length=130)
    amount = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["measure", "label"], include=["amount"], name="tally_by_measure")]

    def __str__(self) -> str:
        return f"{self.measure}/{self.label} {self.amount:+d}"


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
