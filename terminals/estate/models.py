"""Merchant, Store, TerminalModel, Terminal.

A Terminal's row changes rarely: what changes with every message (last seen, health, money) lives in its feature's own
row, so that a busy fleet does not rewrite the estate.
"""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now

from terminals.common.words import choices
from terminals.estate.rules import TerminalState


class Merchant(models.Model):
    """Who sells: the party whose account is credited."""

    name = models.CharField(max_length=120, unique=True)
    mid = models.CharField(
        "MID", max_length=15, unique=True, help_text="Merchant id at the acquirer, up to 15 characters"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Store(models.Model):
    """Where a merchant sells; its time zone is the zone of its terminals' schedules unless a plan says otherwise."""

    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="stores")
    name = models.CharField(max_length=120)
    city = models.CharField(max_length=80, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="IANA name, for example Europe/Berlin")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["merchant", "name"], name="store_name_once_per_merchant")]

    def __str__(self) -> str:
        return f"{self.merchant.name} / {self.name}"


class TerminalModel(models.Model):
    """A make of terminal: what hardware a release is built for and what the device can do."""

    vendor = models.CharField(max_length=60)
    name = models.CharField(max_length=60)
    platform = models.CharField(max_length=60, help_text="Operating platform a release is built for, e.g. linux-arm64")
    capabilities = ArrayField(
        models.CharField(max_length=30),
        default=list,
        blank=True,
        help_text="e.g. printer, keypad, contactless, battery",
    )

    class Meta:
        ordering = ["vendor", "name"]
        constraints = [models.UniqueConstraint(fields=["vendor", "name"], name="terminal_model_once")]

    def __str__(self) -> str:
        return f"{self.vendor} {self.name}"


class Terminal(models.Model):
    """One card terminal. `state` moves only by estate.services.change_state and by enrolment."""

    serial = models.CharField(max_length=32, unique=True)
    device_id = models.CharField(
        max_length=32, unique=True, editable=False, help_text="Name of the terminal on the link"
    )
    model = models.ForeignKey(TerminalModel, on_delete=models.PROTECT, related_name="terminals")
    store = models.ForeignKey(Store, on_delete=models.PROTECT, related_name="terminals")
    tid = models.CharField("TID", max_length=8, blank=True, help_text="Terminal id at the acquirer, up to 8 characters")
    mid = models.CharField("MID", max_length=15, blank=True, help_text="Only where it differs from the merchant's")
    state = models.CharField(
        max_length=10, choices=choices(TerminalState), default=TerminalState.REGISTERED.value, editable=False
    )
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    public_key_pem = models.TextField(blank=True, editable=False, help_text="Verifies the terminal's signatures")
    registered_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["serial"]
        permissions = [
            ("suspend_terminal", "Can suspend and resume terminals"),
            ("retire_terminal", "Can retire terminals for good"),
        ]
        indexes = [models.Index(fields=["state", "serial"]), GinIndex(fields=["tags"], name="terminal_tags")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=[state.value for state in TerminalState]),
                name="terminal_state_known",
            ),
            models.UniqueConstraint(
                fields=["store", "tid"],
                condition=~models.Q(tid="") & ~models.Q(state=TerminalState.RETIRED.value),
                name="terminal_tid_once_per_store",
            ),
        ]

    not_audited = ("public_key_pem", "updated_at")

    @property
    def audit_key(self) -> str:
        """The audit knows a terminal by the name that people know it by."""
        return self.serial

    def __str__(self) -> str:
        return self.serial
