"""Templates, what is set at which level of the tree, the documents that come of it, and how far each terminal is."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext

from terminals.common.refusals import KeepsRefusal
from terminals.common.words import choices, word
from terminals.estate.models import AtNode, Terminal, TerminalGroup, TerminalModel
from terminals.link.models import Command
from terminals.parameters.rules import ParameterState


class ParameterTemplate(models.Model):
    """A named template; its versions are never edited, and the latest one is in force."""

    name = models.CharField(max_length=60, unique=True)
    current = models.OneToOneField(
        "TemplateVersion", on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )

    shared = True

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class TemplateVersion(models.Model):
    """One version of a template: a JSON Schema whose properties are the parameters."""

    template = models.ForeignKey(ParameterTemplate, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField(editable=False)
    schema = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=150, editable=False)

    shared = True

    class Meta:
        ordering = ["template", "-version"]
        constraints = [models.UniqueConstraint(fields=["template", "version"], name="template_version_once")]

    def __str__(self) -> str:
        return f"{self.template.name} v{self.version}"


class ModelTemplate(models.Model):
    """The template of a model's terminals."""

    model = models.OneToOneField(
        TerminalModel, on_delete=models.CASCADE, primary_key=True, related_name="parameter_template"
    )
    template = models.ForeignKey(ParameterTemplate, on_delete=models.PROTECT, related_name="models")

    shared = True

    class Meta:
        verbose_name = "parameter template of a model"
        verbose_name_plural = "parameter templates of models"

    def __str__(self) -> str:
        return f"{self.model}: {self.template}"


LEVELS = ("organisation", "merchant", "store", "group", "terminal")


class ParameterSet(AtNode):
    """What is set at one level: an organisation, a merchant, a store, a group, a terminal, or the whole installation where none
    is named. A change is a new revision; earlier ones stay, to be compared and restored."""

    template = models.ForeignKey(ParameterTemplate, on_delete=models.PROTECT, related_name="sets")
    group = models.ForeignKey(TerminalGroup, on_delete=models.CASCADE, null=True, related_name="+")
    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, null=True, related_name="parameter_sets")
    revision = models.PositiveIntegerField()
    is_current = models.BooleanField(default=True)
    values = models.JSONField(default=dict)
    set_at = models.DateTimeField(db_default=Now())
    set_by = models.CharField(max_length=150)

    placed_by = (
        "organisation__path",
        "merchant__path",
        "store__path",
        "terminal__path",
        "group__organisation__path",
        "group__merchant__path",
        "group__store__path",
    )
    not_audited = ("values",)  # the services audit them, without secrets

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["template", *LEVELS],
                condition=Q(is_current=True),
                nulls_distinct=False,
                name="parameter_set_current_once",
            ),
            models.UniqueConstraint(
                fields=["template", *LEVELS, "revision"], nulls_distinct=False, name="parameter_set_revision_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.template}, {self.level_name}"

    @property
    def level(self) -> str:
        """The kind of level: one of LEVELS, or `installation`."""
        return next((name for name in LEVELS if getattr(self, f"{name}_id") is not None), "installation")

    @property
    def level_name(self) -> str:
        if self.level == "installation":
            return gettext("whole installation")
        return f"{word(self.level)} {getattr(self, self.level)}"


class ParameterDocument(models.Model):
    """A whole document as terminals get it; its id is the version that they report. Many terminals share one."""

    template_version = models.ForeignKey(TemplateVersion, on_delete=models.PROTECT, related_name="+")
    digest = models.CharField(max_length=64)
    plain_digest = models.CharField(max_length=64, help_text="What a terminal reports of it")
    values = models.JSONField()
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["template_version", "digest"], name="parameter_document_once")]

    def __str__(self) -> str:
        return f"{self.template_version} #{self.pk}"


class TerminalParameters(KeepsRefusal):
    """What one terminal was told to use, and how far that went; why there is nothing to tell it where that does not fit."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="parameters")
    wanted = models.ForeignKey(ParameterDocument, on_delete=models.PROTECT, related_name="+", null=True)
    applied = models.ForeignKey(ParameterDocument, on_delete=models.PROTECT, related_name="+", null=True)
    state = models.CharField(max_length=10, choices=choices(ParameterState), default=ParameterState.PENDING.value)
    command = models.OneToOneField(Command, on_delete=models.SET_NULL, null=True, related_name="configured")
    changed_at = models.DateTimeField(auto_now=True)
    mended_at = models.DateTimeField(
        null=True, help_text="When it last had others than these, and they were sent again"
    )

    placed_by = "terminal__path"

    class Meta:
        verbose_name = "parameters on a terminal"
        verbose_name_plural = "parameters on terminals"
        indexes = [
            models.Index(
                fields=["state"],
                condition=Q(state__in=[ParameterState.FAILED.value, ParameterState.INVALID.value]),
                name="parameters_in_trouble",
            )
        ]

    def __str__(self) -> str:
        return f"{self.wanted}, {word(self.state)}"


class ParametersDue(models.Model):
    """A terminal whose parameters are to be worked out anew; `again` sends them though they are the same."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="+")
    again = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.terminal_id)
