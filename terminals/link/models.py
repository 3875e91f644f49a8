"""Rows of the device link: sessions, commands (the outbox), messages already seen, dead letters, heartbeats."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from terminals.common.words import choices, stored_sentence, word
from terminals.estate.models import Terminal
from terminals.link.protocol.states import OPEN_STATES, CommandState


class DeviceSession(models.Model):
    """When a terminal was last heard, in a row of its own because it changes all the time."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="session")
    boot_id = models.CharField(max_length=64, blank=True)
    earlier_boot_ids = ArrayField(
        models.CharField(max_length=64), db_default=[], help_text="The last ones, the latest first"
    )
    shared_at = models.DateTimeField(
        null=True, help_text="When it last went back to an earlier boot, which one device cannot"
    )
    connected_at = models.DateTimeField(null=True, help_text="Its last hello")
    restarts = models.PositiveSmallIntegerField(db_default=0, help_text="Since restarts_since, an hour at most")
    restarts_since = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField()
    online = models.BooleanField(default=True)
    locked = models.BooleanField(default=False, help_text="Takes no payments until it is unlocked")
    offline_at = models.DateTimeField(help_text="When it counts as offline unless it is heard again before")

    placed_by = "terminal__path"

    class Meta:
        indexes = [
            models.Index(fields=["offline_at"], condition=Q(online=True), name="session_online_by_deadline"),
            models.Index(fields=["shared_at"], condition=Q(shared_at__isnull=False), name="session_shared"),
        ]

    def __str__(self) -> str:
        return f"{self.terminal_id} {'online' if self.online else 'offline'}"


class Command(models.Model):
    """A signed command: its row is the outbox until PUBACK, and its story afterwards.

    Any open command has a `next_attempt_at`: it is the relay's lease, the time to ask again, and its queue position.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="commands")
    type = models.CharField(max_length=20)
    state = models.CharField(max_length=10, choices=choices(CommandState), default=CommandState.QUEUED.value)
    payload = models.BinaryField(help_text="The signed message as it goes over the wire")
    requested_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, help_text="PUBACK by the broker; says nothing of the terminal")
    answered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    percent = models.PositiveSmallIntegerField(null=True)
    code = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=300, blank=True)
    traceparent = models.CharField(
        max_length=55, blank=True, db_default="", help_text="W3C trace context, where the trace is collected"
    )

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("send_command", "Can reboot, lock, unlock and ping terminals"),
            ("read_message", "Can read whole signed messages"),
        ]
        indexes = [
            # No index speaks of the state, so that `sent` is written beside the row's last version and into no index.
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="command_due"),
            models.Index(fields=["expires_at"], condition=Q(finished_at=None), name="command_open_by_expiry"),
            models.Index(fields=["terminal", "-id"], name="command_of_terminal"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=OPEN_STATES, finished_at=None)
                | (~Q(state__in=OPEN_STATES) & Q(finished_at__isnull=False)),
                name="command_finished_exactly_when_final",
            )
        ]

    def __str__(self) -> str:
        return f"{word(self.type)} {self.id}"


class SeenMessage(models.Model):
    """A message id that was processed: its second receipt changes nothing (seen.py). The table is partitioned (migration 0006).

    What was not signed has ids of its own: else anybody who can publish could use up the id of a signed event before
    it comes, and the server would acknowledge an event that it never stored.
    """

    pk = models.CompositePrimaryKey("message_id", "terminal_id", "signed", "sent_on")
    message_id = models.UUIDField()
    terminal_id = models.BigIntegerField()
    signed = models.BooleanField()
    sent_on = models.DateField(help_text="The day of the message's own sent_at, in UTC")

    def __str__(self) -> str:
        return str(self.message_id)


class DeadLetter(models.Model):
    """A message that could not be taken, with the reason. The same one again only counts up."""

    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of topic and payload")
    topic = models.CharField(max_length=200)
    reason = models.CharField(max_length=40)
    template = models.CharField(max_length=500, help_text="The refusal's sentence, with names where its values go")
    values = models.JSONField(default=dict)
    payload = models.BinaryField(help_text="The first 4 KiB")
    payload_bytes = models.PositiveIntegerField()
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["last_at"]),
            models.Index(fields=["topic"], opclasses=["varchar_pattern_ops"], name="dead_letter_by_sender"),
        ]

    @property
    def detail(self) -> str:
        """The refusal's sentence in the reader's language."""
        return stored_sentence(self.template, self.values)

    def __str__(self) -> str:
        return f"{word(self.reason)}: {self.topic}"


class LinkProcess(models.Model):
    """A running link process, by a name that no other start of it has; `until` is renewed every two seconds."""

    name = models.CharField(max_length=120, primary_key=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Lane(models.Model):
    """A set of shards with a session of its own at the broker, and the link process that holds it for now.

    The session belongs to the lane and not to the process: what the broker kept while nobody held it, the next holder gets.
    """

    lanes = models.PositiveSmallIntegerField(help_text="Into how many the fleet is divided (LINK_LANES)")
    number = models.PositiveSmallIntegerField()
    holder = models.CharField(max_length=120, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["lanes", "number"], name="lane_once")]

    def __str__(self) -> str:
        return f"{self.number} of {self.lanes}"


class Eviction(models.Model):
    """A device whose connection the links shall end: its certificate was revoked, and a broker asks only who connects."""

    device_id = models.CharField(max_length=32, primary_key=True)
    due_at = models.DateTimeField(db_index=True)
    again = models.PositiveSmallIntegerField(help_text="How many times after the next")
    until = models.DateTimeField(help_text="When it is given up, where no broker takes it")

    def __str__(self) -> str:
        return self.device_id


class Heartbeat(models.Model):
    """The sign of life of a running part (`link`, `worker`), read by /readyz."""

    name = models.CharField(max_length=100, primary_key=True)
    part = models.CharField(max_length=20)
    at = models.DateTimeField()
    healthy = models.BooleanField()
    lag_seconds = models.FloatField(default=0, help_text="Of a link: how long it has had its oldest message in hand")
    taken = models.BigIntegerField(default=0, help_text="Of a link: messages since its start, those refused among them")
    refused = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name
