"""The tree of organisations, merchants, stores and terminals, who works where in it, and the models of terminals.

Each node and each terminal bears its `path` in the tree (common/scope.py). The database itself keeps paths right, whoever
moves a node (migration 0003): they decide who sees what.

A Terminal's row changes rarely: what changes with every message (last seen, health, money) lives in its feature's own
row, so that a busy fleet does not rewrite the estate.
"""

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now, Upper

from terminals.common.words import choices
from terminals.estate.rules import ORGANISATION_KINDS, TerminalState

LONGEST_PATH = 200  # about twenty nodes deep


class PathField(models.CharField):  # type: ignore[type-arg]
    """A place in the tree, which the database sets at each write. Compared byte by byte, so that an index finds a subtree."""

    db_returning = True  # an INSERT brings it back

    def __init__(self, **_known: object) -> None:
        super().__init__(max_length=LONGEST_PATH, editable=False, db_collation="C", default="")


class Organisation(models.Model):
    """Who serves merchants: a processor, an acquirer, a reseller; below another one or on top."""

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=10, choices=choices(ORGANISATION_KINDS), default="acquirer")
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        help_text="Empty for one on top",
    )
    path = PathField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    placed_by = "path"

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["path"], name="organisation_path")]

    def __str__(self) -> str:
        return self.name


class Merchant(models.Model):
    """Who sells: the party whose account is credited."""

    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="merchants",
        help_text="Who serves it; empty where nobody stands between it and this installation",
    )
    name = models.CharField(max_length=120, unique=True)
    mid = models.CharField(
        "MID", max_length=15, unique=True, help_text="Merchant id at the acquirer, up to 15 characters"
    )
    path = PathField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    placed_by = "path"

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["path"], name="merchant_path")]

    def __str__(self) -> str:
        return self.name


class Store(models.Model):
    """Where a merchant sells; its time zone is the zone of its terminals' schedules unless a plan says otherwise."""

    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="stores")
    name = models.CharField(max_length=120)
    city = models.CharField(max_length=80, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="IANA name, for example Europe/Berlin")
    path = PathField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    placed_by = "path"

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["path"], name="store_path")]
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

    shared = True

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
    replaces = models.OneToOneField(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="replaced_by",
        help_text="The device in whose place it came",
    )
    public_key_pem = models.TextField(blank=True, editable=False, help_text="Verifies the terminal's signatures")
    # Set while one key replaces another: the terminal signs with the one until it has the certificate of the other.
    earlier_key_pem = models.TextField(blank=True, db_default="", editable=False)
    path = PathField()
    registered_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    placed_by = "path"

    class Meta:
        ordering = ["serial"]
        permissions = [
            ("suspend_terminal", "Can suspend and resume terminals"),
            ("retire_terminal", "Can retire terminals for good"),
            ("replace_terminal", "Can replace a terminal by another device"),
        ]
        indexes = [
            models.Index(fields=["id"], condition=~models.Q(earlier_key_pem=""), name="terminal_changing_keys"),
            models.Index(fields=["state", "serial"]),
            models.Index(fields=["path"], name="terminal_path"),
            models.Index(Upper("tid"), condition=~models.Q(tid=""), name="terminal_by_tid"),
            GinIndex(fields=["tags"], name="terminal_tags"),
        ]
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

    not_audited = ("public_key_pem", "earlier_key_pem", "updated_at", "path")

    @property
    def audit_key(self) -> str:
        """The audit knows a terminal by the name that people know it by."""
        return self.serial

    def __str__(self) -> str:
        return self.serial


class AtNode(models.Model):
    """Something that is said of one node of the tree: an organisation, a merchant or a store."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    merchant = models.ForeignKey(Merchant, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    store = models.ForeignKey(Store, on_delete=models.CASCADE, null=True, blank=True, related_name="+")

    class Meta:
        abstract = True

    @property
    def node(self) -> Organisation | Merchant | Store | None:
        return self.organisation or self.merchant or self.store


class TerminalGroup(AtNode):
    """Terminals that are meant together: those that pass a filter, whichever they are at the time, or those that are named.

    It belongs to a node, and is seen there and above; without one it is for who works everywhere.
    """

    name = models.CharField(max_length=80)
    filter = models.CharField(
        max_length=2000,
        blank=True,
        help_text="For example: tag = pilot; empty for a group of named terminals",
    )
    members = models.ManyToManyField(Terminal, blank=True, related_name="groups")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    placed_by = ("organisation__path", "merchant__path", "store__path")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["name", "organisation", "merchant", "store"],
                nulls_distinct=False,
                name="group_name_once_at_a_node",
            ),
            models.CheckConstraint(
                condition=models.Q(organisation=None, merchant=None)
                | models.Q(organisation=None, store=None)
                | models.Q(merchant=None, store=None),
                name="group_at_one_node",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(AtNode):
    """An operator works at a node, in a role: with its permissions there and below, and nowhere else.

    Permissions and roles that an account has without a membership hold for the whole installation.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.ForeignKey(Group, on_delete=models.PROTECT, related_name="memberships")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(organisation__isnull=False, merchant=None, store=None)
                | models.Q(organisation=None, merchant__isnull=False, store=None)
                | models.Q(organisation=None, merchant=None, store__isnull=False),
                name="membership_at_one_node",
            ),
            models.UniqueConstraint(
                fields=["user", "role", "organisation", "merchant", "store"],
                nulls_distinct=False,
                name="membership_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role}, {self.node}"
