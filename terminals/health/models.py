"""What terminals say of themselves: the current state, one row a terminal, and the history."""

from django.db import models

from terminals.estate.models import Terminal


class Reading(models.Model):
    """The columns that the current state and the history share; units are in the names."""

    message_id = models.UUIDField()
    boot_id = models.CharField(max_length=64)
    seq = models.BigIntegerField()
    sent_at = models.DateTimeField(help_text="The terminal's clock")
    received_at = models.DateTimeField()
    network_kind = models.CharField(max_length=10)
    rssi_dbm = models.SmallIntegerField(null=True)
    latency_ms = models.IntegerField(null=True)
    printer = models.CharField(max_length=12)
    screen = models.CharField(max_length=8)
    keypad = models.CharField(max_length=8)
    card_reader = models.CharField(max_length=8)
    battery_percent = models.SmallIntegerField(null=True)
    battery_charging = models.BooleanField(null=True)
    storage_free_mb = models.BigIntegerField()
    tamper = models.BooleanField()
    unsettled_minor = models.BigIntegerField()
    unsettled_currency = models.CharField(max_length=3)
    unsettled_count = models.IntegerField()

    class Meta:
        abstract = True


class HealthState(Reading):
    """A terminal's latest reading."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="health")
    software = models.JSONField(default=dict)

    placed_by = "terminal__path"

    class Meta:
        # What the overview's numbers lead to is rare, and found without looking at those that are well.
        indexes = [
            models.Index(fields=[part], condition=~models.Q(**{part: "ok"}), name=f"{part}_not_ok")
            for part in ("printer", "screen", "keypad", "card_reader")
        ]

    def __str__(self) -> str:
        return f"health of {self.terminal_id}"


class TamperAlarm(models.Model):
    """What a terminal's signed tamper events say; telemetry is not signed and neither raises nor clears an alarm."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="tamper_alarm")
    active = models.BooleanField()
    detail = models.CharField(max_length=300, blank=True)
    occurred_at = models.DateTimeField(help_text="The terminal's clock")

    placed_by = "terminal__path"

    class Meta:
        indexes = [models.Index(fields=["terminal"], condition=models.Q(active=True), name="tamper_alarm_active")]

    def __str__(self) -> str:
        return f"{self.terminal_id} {'TAMPER' if self.active else 'cleared'}"


class HealthSample(Reading):
    """One reading of the history. The table is partitioned by day (migration 0003); old days are dropped (tasks.py)."""

    # No sequence: one index serves both the order in which pages read and the identity, and every insert pays for it.
    pk = models.CompositePrimaryKey("terminal_id", "received_at", "message_id")
    terminal_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"health of {self.terminal_id} at {self.received_at}"
