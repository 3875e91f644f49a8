"""Imports, and what became of each row."""

from collections.abc import Sequence

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from terminals.common.errors import Refusal
from terminals.common.refusals import KeepsRefusal, columns_of
from terminals.common.words import choices, stored_sentence
from terminals.estate.models import Terminal
from terminals.importing.rules import ImportState, RowState


class Import(models.Model):
    """A file of merchants, stores and terminals. Its rows are judged when it is brought, and again when they are made."""

    file_name = models.CharField(max_length=200)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="imports")
    requested_at = models.DateTimeField(db_default=Now(), editable=False)
    state = models.CharField(max_length=10, choices=choices(ImportState), default=ImportState.CHECKED.value)
    total = models.PositiveIntegerField()
    finished_at = models.DateTimeField(null=True)
    permissions = ArrayField(
        models.CharField(max_length=100), default=list, help_text="With no more than these its rows are added"
    )

    owned_by = "requested_by"

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["id"], condition=Q(state=ImportState.RUNNING.value), name="import_running")]

    def __str__(self) -> str:
        return f"{self.pk}: {self.file_name}"


class ImportRow(KeepsRefusal):
    """A row of a file: its cells as they stood there, what it adds, and the terminal that came of it."""

    job = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField(help_text="Row of the file, the one that names the columns included")
    cells = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=choices(RowState), default=RowState.READY.value)
    adds = ArrayField(models.CharField(max_length=10), default=list, help_text="merchant, store, terminal")
    terminal = models.ForeignKey(Terminal, on_delete=models.SET_NULL, null=True, related_name="import_rows")
    also = models.JSONField(default=list, help_text="Further reasons: template and values of each")

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="import_row_once")]
        indexes = [models.Index(fields=["job", "state", "number"], name="import_row_by_state")]

    def __str__(self) -> str:
        return f"{self.job_id}/{self.number}"

    def why(self) -> str:
        """Return all that is wrong with it, in the reader's language."""
        return "; ".join([super().why(), *(stored_sentence(one["template"], one["values"]) for one in self.also)])

    def refuse(self, faults: Sequence[Refusal]) -> None:
        """Keep why it is refused."""
        first, *others = map(columns_of, faults)
        self.reason, self.template, self.values, self.also = *first.values(), others

    @property
    def name(self) -> str:
        """What people know it by: its serial, else its store's or its merchant's name."""
        return next(filter(None, (self.cells.get(column) for column in ("serial", "store", "merchant"))), "")
