"""Parameter documents, versioned and never edited; and which version each terminal shall have and has."""

from django.db import models
from django.db.models.functions import Now

from terminals.common.words import choices, word
from terminals.estate.models import Terminal, TerminalModel
from terminals.link.models import Command
from terminals.parameters.rules import ParameterState


class ParameterVersion(models.Model):
    """One version of a named document. A change is a new version."""

    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField(editable=False)
    parameters = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=150, editable=False)

    shared = True

    class Meta:
        ordering = ["name", "-version"]
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="parameter_version_once")]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class TerminalParameters(models.Model):
    """What one terminal was told to use, and how far that went."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="parameters")
    wanted = models.ForeignKey(ParameterVersion, on_delete=models.PROTECT, related_name="+")
    applied = models.ForeignKey(ParameterVersion, on_delete=models.PROTECT, related_name="+", null=True)
    state = models.CharField(max_length=10, choices=choices(ParameterState), default=ParameterState.PENDING.value)
    command = models.OneToOneField(Command, on_delete=models.SET_NULL, null=True, related_name="configured")
    changed_at = models.DateTimeField(auto_now=True)

    placed_by = "terminal__path"

    class Meta:
        verbose_name = "parameters on a terminal"
        verbose_name_plural = "parameters on terminals"

    def __str__(self) -> str:
        return f"{self.wanted}, {word(self.state)}"


class ModelParameters(models.Model):
    """The version that a terminal of the model gets when it says hello without ever having got any."""

    model = models.OneToOneField(
        TerminalModel, on_delete=models.CASCADE, primary_key=True, related_name="default_parameters"
    )
    version = models.ForeignKey(ParameterVersion, on_delete=models.PROTECT, related_name="+")

    shared = True

    class Meta:
        verbose_name = "parameters of a model"
        verbose_name_plural = "parameters of models"

    def __str__(self) -> str:
        return f"{self.model}: {self.version}"
