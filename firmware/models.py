"""Packages, releases and their repository, what terminals shall run and what they say they run."""

from django.core.files.storage import Storage, storages
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, Upper
from django.utils.text import slugify

from firmware.rules import OFFERED, OPEN, InstallationState, ReleaseState, Severity, SoftwareKind
from terminals.common.facts.kinds import reasons_text
from terminals.common.words import choices, word
from terminals.estate.models import Terminal, TerminalModel
from terminals.link.models import Command


def artifact_storage() -> Storage:
    return storages["artifacts"]


class Package(models.Model):
    """A piece of software by name; `component` is the name under which terminals report its version."""

    name = models.CharField(max_length=60, unique=True)
    component = models.SlugField(max_length=40, default="payment", help_text="Reported by terminals, e.g. payment")
    kind = models.CharField(
        max_length=16, choices=choices(SoftwareKind), default=SoftwareKind.PAYMENT_APP.value, db_default="payment_app"
    )
    description = models.CharField(max_length=200, blank=True)

    shared = True

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


# What documents of the repository say of a package: it stays once there are releases.
SIGNED_OF_PACKAGE = ("name", "component", "kind")


class Release(models.Model):
    """One version of a package for one platform. Its bytes and what the repository says of them never change."""

    package = models.ForeignKey(Package, on_delete=models.PROTECT, related_name="releases")
    version = models.CharField(max_length=40, help_text="A semantic version, like 2.1.0")
    platform = models.CharField(max_length=60, help_text="Only terminals whose model has this platform can take it")
    artifact = models.FileField(upload_to="releases/", storage=artifact_storage)
    size_bytes = models.PositiveBigIntegerField(editable=False)
    sha256 = models.CharField("SHA-256", max_length=64, editable=False)
    sha1 = models.CharField(
        max_length=40, blank=True, db_default="", editable=False, help_text="For DDI devices; else empty"
    )
    notes = models.TextField(blank=True, max_length=10_000, help_text="What changed, for those who approve and send it")
    models_only = models.ManyToManyField(
        TerminalModel, blank=True, related_name="+", help_text="Only these models of the platform; none named: all"
    )
    narrowed = models.BooleanField(
        db_default=False, editable=False, help_text="It is for some models, though they be gone"
    )
    requires = models.JSONField(default=dict, blank=True, help_text="Component: lowest version that must run beside it")
    conflicts = models.JSONField(default=dict, blank=True, help_text="Component: version beside which it must not run")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Nobody is sent it after this")
    state = models.CharField(
        max_length=10, choices=choices(ReleaseState), default=ReleaseState.DRAFT.value, db_default="draft"
    )
    state_reason = models.CharField(max_length=200, blank=True, db_default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=150, editable=False)
    approved_at = models.DateTimeField(null=True, editable=False)
    approved_by = models.CharField(max_length=150, blank=True, db_default="", editable=False)
    listed_at = models.DateTimeField(null=True, editable=False, help_text="Since when the repository lists it")

    shared = True

    class Meta:
        ordering = ["-id"]
        permissions = [("approve_release", "Can approve, deprecate and withdraw releases")]
        constraints = [
            models.UniqueConstraint(fields=["package", "version", "platform"], name="release_once"),
            models.CheckConstraint(
                name="release_approved_by_another",
                condition=~Q(state__in=[state.value for state in OFFERED])
                | (~Q(approved_by="") & ~Q(approved_by=F("created_by"))),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.package} {self.version} ({self.platform})"

    @property
    def target(self) -> str:
        """Its path in the release repository; two packages never share one."""
        return f"{self.platform}/{self.package_id}-{slugify(self.package.name) or 'package'}-{self.version}.bin"


class ReleaseComponent(models.Model):
    """A part of a release, as its bill of materials (CycloneDX) names it."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="components")
    name = models.CharField(max_length=200)
    version = models.CharField(max_length=100, blank=True)
    purl = models.CharField("package URL", max_length=500, blank=True)
    licences = models.CharField(max_length=200, blank=True)

    shared = True

    class Meta:
        ordering = ["name", "version"]
        indexes = [models.Index(Upper("name"), "version", name="component_by_name")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class Weakness(models.Model):
    """A known weakness of a release, as its bill of materials names it (a vulnerability that is not ruled out)."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="weaknesses")
    identifier = models.CharField(max_length=60, help_text="Like CVE-2026-1234")
    severity = models.CharField(max_length=8, choices=choices(Severity))
    part = models.CharField(max_length=300, blank=True, help_text="What of the release has it")

    shared = True

    class Meta:
        ordering = ["identifier"]
        verbose_name_plural = "weaknesses"
        constraints = [models.UniqueConstraint(fields=["release", "identifier"], name="weakness_once")]
        indexes = [models.Index(Upper("identifier"), name="weakness_by_name")]

    def __str__(self) -> str:
        return f"{self.identifier} ({word(self.severity)})"


class ReleaseDelta(models.Model):
    """What makes one release of an earlier one. Of 0 bytes: it was tried, and is not worth it."""

    old = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="deltas_from")
    new = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="deltas")
    artifact = models.FileField(upload_to="deltas/", storage=artifact_storage)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField("SHA-256", max_length=64)
    made_at = models.DateTimeField(db_default=Now())

    shared = True

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["old", "new"], name="delta_once")]

    def __str__(self) -> str:
        return f"{self.old.version} > {self.new}"


class DdiToken(models.Model):
    """A device that speaks hawkBit's DDI: its target token, and how far it is with its action (an installation)."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, related_name="ddi_token")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the token")
    issued_by = models.CharField(max_length=150)
    issued_at = models.DateTimeField(auto_now=True)
    polled_at = models.DateTimeField(null=True)
    described_at = models.DateTimeField(null=True, help_text="When it told its attributes")
    action = models.PositiveBigIntegerField(null=True, help_text="The installation that it fetched and has not ended")

    placed_by = "terminal__path"

    def __str__(self) -> str:
        return f"token of {self.terminal_id}"


class RepositoryDocument(models.Model):
    """One version of a document of the release repository (TUF), byte for byte as it is served."""

    role = models.CharField(max_length=80)
    version = models.PositiveBigIntegerField()
    content = models.TextField()
    expires_at = models.DateTimeField()
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["role", "-version"]
        constraints = [models.UniqueConstraint(fields=["role", "version"], name="repository_document_once")]

    def __str__(self) -> str:
        return f"{self.version}.{self.role}"


class Installation(models.Model):
    """A release on its way to one terminal."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="installations")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="installations")
    state = models.CharField(
        max_length=10, choices=choices(InstallationState), default=InstallationState.ASSIGNED.value
    )
    command = models.OneToOneField(Command, on_delete=models.SET_NULL, null=True, related_name="installation")
    assigned_at = models.DateTimeField(db_default=Now())
    assigned_by = models.CharField(max_length=150)
    finished_at = models.DateTimeField(null=True)
    counter = models.BigIntegerField(
        db_default=0, help_text="Of its assignment: a terminal takes none that is not higher"
    )
    percent = models.PositiveSmallIntegerField(default=0)
    reasons = models.JSONField(default=list, help_text="Why it did not succeed, as data")

    placed_by = "terminal__path"

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["terminal", "-id"], name="installation_of_terminal")]
        constraints = [
            models.UniqueConstraint(
                fields=["terminal"],
                condition=Q(state__in=[state.value for state in OPEN]),
                name="one_open_installation",
            )
        ]

    def __str__(self) -> str:
        return f"{self.release}, {word(self.state)}"

    @property
    def reason(self) -> str:
        """The reasons in the reader's language."""
        return reasons_text(self.reasons)


class InstalledSoftware(models.Model):
    """A component's version as the terminal last reported it."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="software")
    component = models.CharField(max_length=64)
    version = models.CharField(max_length=64)
    reported_at = models.DateTimeField()

    placed_by = "terminal__path"

    class Meta:
        verbose_name_plural = "installed software"
        constraints = [models.UniqueConstraint(fields=["terminal", "component"], name="component_once_per_terminal")]
        indexes = [models.Index(fields=["component", "version"], name="software_by_version")]

    def __str__(self) -> str:
        return f"{self.component} {self.version}"
