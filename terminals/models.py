"""Merchant, Store, TerminalModel, Terminal; the audit chain and each terminal's timeline.

A Terminal's row changes rarely: what changes with every message (last seen, health, money) lives in its feature's own
row, so that a busy fleet does not rewrite the estate.
"""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now


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
    """One card terminal. `state` moves only by terminals.services.transition."""

    class State(models.TextChoices):
        REGISTERED = "registered"
        ENROLLED = "enrolled"
        ACTIVE = "active"
        SUSPENDED = "suspended"
        RETIRED = "retired"

    serial = models.CharField(max_length=32, unique=True)
    device_id = models.CharField(
        max_length=32, unique=True, editable=False, help_text="Name of the terminal on the link"
    )
    model = models.ForeignKey(TerminalModel, on_delete=models.PROTECT, related_name="terminals")
    store = models.ForeignKey(Store, on_delete=models.PROTECT, related_name="terminals")
    tid = models.CharField("TID", max_length=8, blank=True, help_text="Terminal id at the acquirer, up to 8 characters")
    mid = models.CharField("MID", max_length=15, blank=True, help_text="Only where it differs from the merchant's")
    state = models.CharField(max_length=10, choices=State, default=State.REGISTERED, editable=False)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    public_key_pem = models.TextField(blank=True, editable=False, help_text="Verifies the terminal's signatures")
    registered_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["serial"]
        indexes = [models.Index(fields=["state", "serial"]), GinIndex(fields=["tags"], name="terminal_tags")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["registered", "enrolled", "active", "suspended", "retired"]),
                name="terminal_state_known",
            ),
            models.UniqueConstraint(
                fields=["store", "tid"], condition=~models.Q(tid=""), name="terminal_tid_once_per_store"
            ),
        ]

    def __str__(self) -> str:
        return self.serial


class TimelineEntry(models.Model):
    """Something that happened to a terminal, in words an operator reads; commands have rows of their own."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="timeline")
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=30)
    text = models.CharField(max_length=300)

    class Meta:
        indexes = [models.Index(fields=["terminal", "-at"])]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.kind}: {self.text}"


class AuditEntry(models.Model):
    """One operator action. Each row's hash covers the row before it; a database trigger refuses UPDATE and DELETE."""

    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=150, help_text="kind:id of what was acted upon")
    detail = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["subject", "-id"])]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"


class IdempotentResponse(models.Model):
    """The answer to a POST that carried an Idempotency-Key, kept so that a repeat gets it again and does nothing."""

    actor = models.CharField(max_length=150)
    idempotency_key = models.CharField(max_length=100)
    request_digest = models.CharField(max_length=64, help_text="SHA-256 of method, path and body")
    status = models.PositiveSmallIntegerField()
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["created_at"])]
        constraints = [
            models.UniqueConstraint(fields=["actor", "idempotency_key"], name="idempotency_key_once_per_actor")
        ]

    def __str__(self) -> str:
        return self.idempotency_key
