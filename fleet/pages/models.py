"""Tallies: the overview's numbers, kept as they change so that no page counts the fleet.

Statement triggers (migrations/0002) append what each statement changed; a task folds the lines of one number into one.
The number is always their sum, so a page is right at every instant, and two writers never wait for each other.
"""

from django.db import models


class Tally(models.Model):
    """A change of one number, or several folded into one."""

    measure = models.CharField(max_length=20)
    label = models.CharField(max_length=130)
    amount = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["measure", "label"], include=["amount"], name="tally_by_measure")]

    def __str__(self) -> str:
        return f"{self.measure}/{self.label} {self.amount:+d}"
