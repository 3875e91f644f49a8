"""Refusals that are kept with what was refused: as data, told in the reader's language."""

from typing import Any

from django.db import models

from terminals.common.errors import Refusal
from terminals.common.words import stored_sentence

LONGEST_TEMPLATE = 300


class KeepsRefusal(models.Model):
    """A row that may have been refused, and why."""

    reason = models.CharField(max_length=40, blank=True)
    template = models.CharField(max_length=LONGEST_TEMPLATE, blank=True)
    values = models.JSONField(default=dict)

    class Meta:
        abstract = True

    def why(self) -> str:
        """Return why it was refused, in the reader's language; empty where it was not."""
        return stored_sentence(self.template, self.values) if self.template else ""


def columns_of(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as the columns of KeepsRefusal."""
    values = {name: _plain(value) for name, value in refusal.values.items()}
    return {"reason": refusal.reason, "template": refusal.template[:LONGEST_TEMPLATE], "values": values}


def _plain(value: object) -> str | list[str]:
    return [str(one) for one in value] if isinstance(value, tuple) else str(value)
