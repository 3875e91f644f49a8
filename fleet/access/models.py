"""Operators' API tokens."""

from django.contrib.auth.models import Group
from django.db import models
from knox.models import AbstractAuthToken


class ApiToken(AbstractAuthToken):  # type: ignore[misc]
    """A token with which a program acts in an operator's name, with all that the operator may do or with a role's share of it.

    Only its digest is kept.
    """

    name = models.CharField(max_length=60, help_text="What it is for, for example: nightly report")
    role = models.ForeignKey(
        Group,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="It may do no more than this role, of what you may; empty for all that you may do",
    )
    last_used_at = models.DateTimeField(null=True, editable=False)

    owned_by = "user"

    class Meta:
        ordering = ["-created"]
        verbose_name = "API token"
        verbose_name_plural = "API tokens"

    def __str__(self) -> str:
        return self.name or str(self.token_key)
