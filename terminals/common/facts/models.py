"""What happened, as data. The table is partitioned by month (migration 0002); old months are dropped, not deleted."""

from django.db import models
from django.db.models.functions import Now


class Fact(models.Model):
    """One thing that happened to a terminal or to another subject; words are made from it on reading."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=150, blank=True, help_text="kind:id, where it is not the terminal itself")
    terminal_id = models.BigIntegerField(null=True)
    at = models.DateTimeField(db_default=Now())
    body = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["terminal_id", "-at"], name="fact_of_terminal")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.kind}"
