"""Jobs over many terminals, and what became of each terminal."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from terminals.bulk.rules import ItemState, JobState
from terminals.common.refusals import KeepsRefusal
from terminals.common.words import choices, word
from terminals.estate.models import Terminal


class BulkJob(models.Model):
    """One verb for every terminal that passed a filter when it was asked for. The ids are fixed then (BulkItem)."""

    verb = models.CharField(max_length=30)
    arguments = models.JSONField(default=dict)
    filter = models.CharField(max_length=2000)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="bulk_jobs")
    requested_at = models.DateTimeField(db_default=Now(), editable=False)
    state = models.CharField(max_length=10, choices=choices(JobState), default=JobState.RUNNING.value)
    total = models.PositiveIntegerField()
    finished_at = models.DateTimeField(null=True)

    owned_by = "requested_by"

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["id"], condition=Q(state=JobState.RUNNING.value), name="bulk_job_running")]

    def __str__(self) -> str:
        return f"{self.pk}: {word(self.verb)}"


class BulkItem(KeepsRefusal):
    """One terminal of a job, and why it was left out where it was."""

    job = models.ForeignKey(BulkJob, on_delete=models.CASCADE, related_name="items")
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=10, choices=choices(ItemState), default=ItemState.WAITING.value)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "terminal"], name="bulk_item_once")]
        indexes = [
            models.Index(
                fields=["job", "terminal"], condition=Q(state=ItemState.WAITING.value), name="bulk_item_waiting"
            ),
            models.Index(fields=["job", "state", "id"], name="bulk_item_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.terminal_id} {word(self.state)}"
