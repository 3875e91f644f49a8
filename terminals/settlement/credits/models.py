"""What acquirers and banks say they credited: the form of their files, the files, their entries, and what these add up to."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from terminals.common.refusals import KeepsRefusal
from terminals.common.words import choices, format_minor
from terminals.estate.models import Organisation, Terminal
from terminals.settlement.credits.rules import IN_WORK, EntryState, FileState
from terminals.settlement.transactions.models import METHODS

COUNTED = [EntryState.MATCHED.value, EntryState.UNKNOWN.value]


class CreditProfile(models.Model):
    """How one acquirer's or bank's credit files are to be read, and whose terminals they may name."""

    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="credit_profiles",
        help_text="Its files credit terminals of this organisation alone; empty for all",
    )
    name = models.CharField(max_length=80)
    format = models.CharField(
        max_length=5, choices=[("camt", "ISO 20022 camt.052, camt.053, camt.054"), ("csv", "CSV")]
    )
    settings = models.JSONField(default=dict, help_text="As rules.checked returns them")

    placed_by = "organisation__path"

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], nulls_distinct=False, name="credit_profile_once")
        ]

    def __str__(self) -> str:
        return self.name


class CreditFile(KeepsRefusal):
    """A file that somebody brought. Its entries count when it was read to its end, and no more when it is taken back."""

    profile = models.ForeignKey(CreditProfile, on_delete=models.PROTECT, related_name="files")
    file_name = models.CharField(max_length=200)
    sha256 = models.CharField("SHA-256", max_length=64)
    size_bytes = models.BigIntegerField()
    settings = models.JSONField(default=dict, help_text="The profile's, as they were when it was brought")
    state = models.CharField(max_length=11, choices=choices(FileState), default=FileState.READING.value)
    brought_by = models.CharField(max_length=150)
    brought_at = models.DateTimeField(db_default=Now())
    entry_count = models.PositiveIntegerField(default=0, help_text="Entries that name a terminal and a batch")
    other_count = models.PositiveIntegerField(default=0, help_text="Entries about something else")
    reject_count = models.PositiveIntegerField(default=0)
    handled_count = models.PositiveIntegerField(default=0, help_text="Entries that were given to their batches")
    read_bytes = models.BigIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, help_text="Until then one worker reads it")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="How often somebody began to read it")
    finished_at = models.DateTimeField(null=True)
    withdrawn_by = models.CharField(max_length=150, blank=True, db_default="", help_text="Who took it back")
    withdrawn_to = models.PositiveIntegerField(db_default=0, help_text="Entries up to this number are taken back")

    placed_by = "profile__organisation__path"
    not_audited = ("leased_until", "attempts", "withdrawn_to")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["id"], condition=Q(state__in=[state.value for state in IN_WORK]), name="credit_file_in_work"
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["profile", "sha256"],
                condition=~Q(state__in=[FileState.FAILED.value, FileState.WITHDRAWN.value]),
                name="credit_file_once",
            )
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def percent(self) -> int:
        """How far the work has come: half of it is reading, half is giving entries to their batches."""
        if self.state == FileState.READING:
            return int(50 * self.read_bytes // max(self.size_bytes, 1))
        if self.state == FileState.MATCHING:
            return min(99, 50 + int(50 * self.handled_count // max(self.entry_count, 1)))
        return 100


class CreditChunk(models.Model):
    """A piece of a file that is being read; sealed, for it names accounts. It goes when the file has been read."""

    file = models.ForeignKey(CreditFile, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    sealed = models.BinaryField()

    placed_by = "file__profile__organisation__path"
    not_audited = ("sealed",)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "number"], name="credit_chunk_once")]

    def __str__(self) -> str:
        return f"{self.file_id}/{self.number}"


class CreditAccount(models.Model):
    """An account to which a file says that it was credited; the number is sealed."""

    file = models.ForeignKey(CreditFile, on_delete=models.CASCADE, related_name="accounts")
    masked = models.CharField("number", max_length=20)
    sealed_number = models.BinaryField()

    placed_by = "file__profile__organisation__path"
    not_audited = ("sealed_number",)

    def __str__(self) -> str:
        return self.masked


class CreditEntry(models.Model):
    """One credit that a file tells of a terminal's batch."""

    file = models.ForeignKey(CreditFile, on_delete=models.CASCADE, related_name="entries")
    profile = models.ForeignKey(CreditProfile, on_delete=models.PROTECT, related_name="+", db_index=False)
    number = models.PositiveIntegerField(help_text="Its place in the file")
    state = models.CharField(max_length=9, choices=choices(EntryState), default=EntryState.READ.value)
    tid = models.CharField("TID", max_length=8)
    mid = models.CharField("MID", max_length=15, blank=True)
    batch_number = models.PositiveIntegerField()
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, null=True, related_name="credits", db_index=False)
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=4, blank=True, choices=METHODS, help_text="Empty: the whole batch")
    scheme = models.CharField(max_length=20, blank=True)
    net_minor = models.BigIntegerField(help_text="What arrived")
    fee_minor = models.BigIntegerField(default=0, help_text="What was kept of it")
    value_date = models.DateField(null=True)
    account = models.ForeignKey(CreditAccount, on_delete=models.SET_NULL, null=True, related_name="+")
    is_other_account = models.BooleanField(default=False, help_text="Not the merchant's account on file")
    identity = models.CharField(max_length=32, blank=True, help_text="Digest of the file's own id for it, and of it")
    reference = models.CharField(max_length=140, blank=True)

    placed_by = ("terminal__path", "file__profile__organisation__path")

    class Meta:
        verbose_name_plural = "credit entries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["terminal", "batch_number"], name="credit_entry_of_batch"),
            models.Index(fields=["tid"], condition=Q(state=EntryState.UNKNOWN.value), name="credit_entry_unknown"),
            models.Index(
                fields=["file", "number"], condition=Q(state=EntryState.READ.value), name="credit_entry_to_match"
            ),
            models.Index(
                fields=["profile", "identity"],
                condition=Q(state=EntryState.REPEATED.value),
                name="credit_entry_repeated",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["file", "number"], name="credit_entry_once_a_file"),
            models.UniqueConstraint(
                fields=["profile", "identity"],
                condition=Q(state__in=COUNTED) & ~Q(identity=""),
                name="credit_entry_counts_once",
            ),
        ]

    def __str__(self) -> str:
        return _("%(tid)s, batch %(batch)s: %(amount)s") % {
            "tid": self.tid,
            "batch": f"{self.batch_number:06d}",
            "amount": format_minor(self.net_minor, self.currency),
        }


class CreditReject(KeepsRefusal):
    """An entry that could not be read, and why. What it said is not kept."""

    file = models.ForeignKey(CreditFile, on_delete=models.CASCADE, related_name="rejects")
    number = models.PositiveIntegerField(help_text="Its place in the file")

    placed_by = "file__profile__organisation__path"

    class Meta:
        ordering = ["number"]

    def __str__(self) -> str:
        return f"{self.file_id}/{self.number}"


class BatchCredit(models.Model):
    """What was credited for a batch, or for one method of it: the matched entries added up. The third side of its lines."""

    pk = models.CompositePrimaryKey("terminal_id", "batch_number", "currency", "method", "scheme")
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="+", db_index=False)
    batch_number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=4, blank=True, choices=METHODS, help_text="Empty: the whole batch")
    scheme = models.CharField(max_length=20, blank=True)
    net_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField()
    entry_count = models.PositiveIntegerField()
    fee_most_bp = models.PositiveIntegerField(default=0)
    value_date = models.DateField(null=True, help_text="The latest")
    other_account = models.CharField(
        max_length=20, blank=True, help_text="Where it went, if not to the account on file"
    )

    placed_by = "terminal__path"

    def __str__(self) -> str:
        return format_minor(self.net_minor, self.currency)

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.fee_minor
