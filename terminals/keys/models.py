"""Keys at rest: sealed under the vault's master key, never clear in a row."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from terminals.common.words import choices, word
from terminals.estate.models import Terminal, TerminalModel
from terminals.keys.rules import KeyState
from terminals.link.models import Command

USAGES = [("P0", _("P0 PIN encryption")), ("D0", _("D0 data encryption")), ("M6", _("M6 CMAC"))]


class ProtectionKey(models.Model):
    """A terminal's key-block protection key (KBPK, AES-256, usage K1), established at enrolment."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="protection_key")
    sealed_key = models.BinaryField()
    kcv = models.CharField("KCV", max_length=10)
    established_at = models.DateTimeField(db_default=Now())

    placed_by = "terminal__path"

    def __str__(self) -> str:
        return f"KBPK {self.kcv}"


class TerminalKey(models.Model):
    """A working key made for one terminal, and how its delivery went. Confirmed only by a matching KCV."""

    id = models.UUIDField(primary_key=True, editable=False)
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="keys")
    usage = models.CharField(max_length=2, choices=USAGES)
    algorithm = models.CharField(max_length=10, default="AES-128")
    sealed_key = models.BinaryField(help_text="Empty once the key is destroyed")
    kcv = models.CharField("KCV", max_length=10)
    state = models.CharField(max_length=10, choices=choices(KeyState), default=KeyState.PENDING.value)
    command = models.OneToOneField(Command, on_delete=models.SET_NULL, null=True, related_name="delivered_key")
    created_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True)
    answered_kcv = models.CharField("answered KCV", max_length=10, blank=True)

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["terminal", "usage"]),
            models.Index(
                fields=["-id"],
                condition=Q(state__in=[KeyState.MISMATCH.value, KeyState.FAILED.value]),
                name="key_in_trouble",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["terminal", "usage"],
                condition=Q(state=KeyState.PENDING.value),
                name="one_pending_key_per_usage",
            ),
            models.UniqueConstraint(
                fields=["terminal", "usage"],
                condition=Q(state=KeyState.CONFIRMED.value),
                name="one_confirmed_key_per_usage",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.usage} {self.kcv}, {word(self.state)}"


class KeyRequirement(models.Model):
    """Every terminal of the model shall hold a confirmed key of this usage; it gets one when it says hello without."""

    model = models.ForeignKey(TerminalModel, on_delete=models.CASCADE, related_name="key_requirements")
    usage = models.CharField(max_length=2, choices=USAGES)

    shared = True

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "usage"], name="key_requirement_once")]

    def __str__(self) -> str:
        return f"{self.model}: {self.get_usage_display()}"
