"""Packages, releases, what terminals shall run and what they say they run."""

from django.core.files.storage import Storage, storages
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from firmware.rules import OPEN, InstallationState
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
    description = models.CharField(max_length=200, blank=True)

    shared = True

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Release(models.Model):
    """One version of a package for one platform. Its bytes and what its manifest says of them never change."""

    package = models.ForeignKey(Package, on_delete=models.PROTECT, related_name="releases")
    version = models.CharField(max_length=40)
    platform = models.CharField(max_length=60, help_text="Only terminals whose model has this platform can take it")
    artifact = models.FileField(upload_to="releases/", storage=artifact_storage)
    size_bytes = models.PositiveBigIntegerField(editable=False)
    sha256 = models.CharField("SHA-256", max_length=64, editable=False)
    manifest = models.TextField(editable=False, help_text="JWS by the release key over what identifies the release")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=150, editable=False)

    shared = True

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["package", "version", "platform"], name="release_once")]

    def __str__(self) -> str:
        return f"{self.package} {self.version} ({self.platform})"


class Baseline(models.Model):
    """The release that every terminal of a model shall run; one that says hello with another gets it."""

    model = models.ForeignKey(TerminalModel, on_delete=models.CASCADE, related_name="baselines")
    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="+")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="baselines")
    set_at = models.DateTimeField(db_default=Now(), editable=False)

    shared = True

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "package"], name="one_baseline_per_package")]

    def __str__(self) -> str:
        return f"{self.model}: {self.release}"


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

    def __str__(self) -> str:
        return f"{self.component} {self.version}"
