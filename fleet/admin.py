"""A model on one screen, and background work: admin pages that join rooms, or that a library registered, under the audit."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_celery_beat import admin as beat_admin
from django_celery_beat import models as beat
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from fleet import accounts, terminal_list  # noqa: F401 - they register their pages
from terminals.common.admin_base import AuditedAdmin
from terminals.common.api.parsers import parse_json
from terminals.common.audit import services as audit
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import opens
from terminals.estate.admin import TerminalModelAdmin
from terminals.estate.models import TerminalModel
from terminals.estate.targets.language import quoted
from terminals.keys.models import KeyRequirement
from terminals.parameters.models import ModelTemplate
from terminals.parameters.services import follow_model


class NeededRow(TabularInline):  # type: ignore[misc]
    """A row of what a model's terminals shall have."""

    extra = 0
    show_change_link = False

    def _opens(self, request: HttpRequest, verb: str) -> bool:
        return opens(request.user, f"{self.opts.app_label}.{verb}_{self.opts.model_name}", self.model)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._opens(request, "view") or self._opens(request, "change")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._opens(request, "add")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._opens(request, "change")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._opens(request, "delete")


class KeyRow(NeededRow):
    model = KeyRequirement
    fields = ["usage"]


class ParametersRow(NeededRow):
    model = ModelTemplate
    fields = ["template"]


admin.site.unregister(TerminalModel)


@admin.register(TerminalModel)
class TerminalModelScreen(TerminalModelAdmin):
    """A model on one screen: its platform, and the keys and parameters that each of its terminals gets. Its software comes by a
    campaign that follows."""

    inlines = [KeyRow, ParametersRow]
    readonly_fields = ["software"]

    @admin.display(description=gettext_lazy("Software"))
    def software(self, model: TerminalModel) -> str:
        """How its terminals are kept at a release: by a campaign that follows."""
        if model._state.adding:
            return _("Save the model first; then propose a campaign that keeps its terminals at a release.")
        asked = urlencode({"filter": f"model = {quoted(model.name)}", "follows": "on"})
        told = _("Propose a campaign that keeps its terminals at a release ...")
        return format_html('<a href="{}?{}">{}</a>', reverse("campaign-new"), asked, told)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Write rows with their audit entries."""
        label, name = formset.model._meta.app_label, formset.model._meta.model_name
        if formset.has_changed():
            require_fresh_login(request, f"{label}.change_{name}")
        actor, changed = request.user.get_username(), formset.save(commit=False)
        for row in changed:
            old = audit.stored_values(row)
            row.save()
            action = f"{row._meta.model_name}.{'update' if old else 'create'}"
            audit.record_change(actor=actor, action=action, instance=row, old=old, new=audit.stored_values(row))
        audit.record_deletions(actor=actor, instances=formset.deleted_objects)
        for row in formset.deleted_objects:
            row.delete()
        if formset.model is ModelTemplate:
            follow_model(form.instance.pk)


for _model in [m for m in admin.site._registry if m._meta.app_label == "django_celery_beat"]:
    admin.site.unregister(_model)


class BackgroundTaskForm(beat_admin.PeriodicTaskForm):  # type: ignore[misc]
    """The library's own fields, in the clothes of the others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["regtask"].widget = UnfoldAdminSelectWidget(choices=self.fields["regtask"].choices)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()

    def _json_of(self, name: str, kind: type, told: Any) -> str:
        """Return a field's JSON as it was typed; the scheduler would end with what is of another kind."""
        text = str(self.cleaned_data[name])
        try:
            if isinstance(parse_json(text), kind):
                return text
        except ValueError:
            pass
        raise ValidationError(told)

    def clean_args(self) -> str:
        return self._json_of("args", list, _("a JSON list, for example []"))

    def clean_kwargs(self) -> str:
        return self._json_of("kwargs", dict, _("a JSON object, for example {}"))

    def clean_headers(self) -> str:
        return self._json_of("headers", dict, _("a JSON object, for example {}"))


@admin.register(beat.PeriodicTask)
class BackgroundWorkAdmin(beat_admin.PeriodicTaskAdmin, AuditedAdmin):  # type: ignore[misc]
    """Switching off what asks terminals to settle leaves a trace."""

    form = BackgroundTaskForm
    list_display = ["shown_name", "enabled", "runs", "last_run_at", "one_off"]

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def shown_name(self, task: beat.PeriodicTask) -> str:
        return _(task.name)

    @admin.display(description=gettext_lazy("runs"))
    def runs(self, task: beat.PeriodicTask) -> str:
        return str(task.schedule)

    change_form_template = None  # the library's runs a script in the page, which the content security policy forbids

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The library's actions change tasks past save_model, and so past the audit."""
        return {}


class IntervalForm(forms.ModelForm):  # type: ignore[type-arg]
    """What the scheduler cannot compute would end it, and all background work with it."""

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        try:
            every = timedelta(**{values["period"]: values["every"]})
        except KeyError:  # refused already
            return values
        except OverflowError:
            every = timedelta.max
        if not timedelta(seconds=1) <= every <= timedelta(days=366):
            raise ValidationError(_("an interval is from one second to a year"))
        return values


@admin.register(beat.IntervalSchedule)
class IntervalAdmin(AuditedAdmin):
    """How often background work runs."""

    form = IntervalForm


@admin.register(beat.CrontabSchedule)  # and no solar ones: the scheduler would end with them
class CrontabAdmin(AuditedAdmin):
    """When background work runs, again and again."""


class ClockedForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_clocked_time(self) -> datetime:
        at: datetime = self.cleaned_data["clocked_time"]
        if not timezone.now() - timedelta(days=1) < at < timezone.now() + timedelta(days=3653):
            raise ValidationError(_("choose a time within the next ten years"))
        return at


@admin.register(beat.ClockedSchedule)
class ClockedAdmin(AuditedAdmin):
    """When background work runs, once."""

    form = ClockedForm
