"""A model on one screen, and background work: admin pages that join rooms, or that a library registered, under the audit."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django_celery_beat import admin as beat_admin
from django_celery_beat import models as beat
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from firmware.models import Baseline, Release
from firmware.services import set_baselines
from fleet import accounts  # noqa: F401 - it registers its pages
from terminals.common.admin_base import AuditedAdmin
from terminals.common.audit import services as audit
from terminals.estate.admin import TerminalModelAdmin
from terminals.estate.models import TerminalModel
from terminals.keys.models import KeyRequirement
from terminals.parameters.models import ModelParameters


class NeededRow(TabularInline):  # type: ignore[misc]
    """A row of what a model's terminals shall have."""

    extra = 0
    show_change_link = False


class FittingBaselines(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    @property
    def releases(self) -> list[Release]:
        """The releases that the rows name once everything is saved."""
        typed = [row.cleaned_data for row in self.forms if getattr(row, "cleaned_data", None)]
        return [values["release"] for values in typed if values.get("release") and not values.get("DELETE")]

    def clean(self) -> None:
        """Refuse a release of another platform while everything that was typed still stands on the screen."""
        super().clean()
        packages = set()
        for release in self.releases:
            said = {"release": release, "model": self.instance, "platform": self.instance.platform}
            if release.platform != self.instance.platform:
                raise ValidationError(_("%(release)s does not fit %(model)s, whose platform is %(platform)s") % said)
            if release.package_id in packages:
                raise ValidationError(_("there is another release of the package of %(release)s; keep one") % said)
            packages.add(release.package_id)


class BaselineRow(NeededRow):
    model = Baseline
    formset = FittingBaselines
    fields = ["release"]


class KeyRow(NeededRow):
    model = KeyRequirement
    fields = ["usage"]


class ParametersRow(NeededRow):
    model = ModelParameters
    fields = ["version"]


admin.site.unregister(TerminalModel)


@admin.register(TerminalModel)
class TerminalModelScreen(TerminalModelAdmin):
    """A model on one screen: its platform, and the software, keys and parameters that each of its terminals gets."""

    inlines = [BaselineRow, KeyRow, ParametersRow]

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Write rows with their audit entries; a baseline by its service, which knows what fits the platform."""
        actor, changed = request.user.get_username(), formset.save(commit=False)
        if isinstance(formset, FittingBaselines):
            set_baselines(model=form.instance, releases=formset.releases, actor=actor)
            return
        for row in changed:
            old = audit.stored_values(row)
            row.save()
            action = f"{row._meta.model_name}.{'update' if old else 'create'}"
            audit.record_change(actor=actor, action=action, instance=row, old=old, new=audit.stored_values(row))
        audit.record_deletions(actor=actor, instances=formset.deleted_objects)
        for row in formset.deleted_objects:
            row.delete()


for _model in [m for m in admin.site._registry if m._meta.app_label == "django_celery_beat"]:
    admin.site.unregister(_model)


class BackgroundTaskForm(beat_admin.PeriodicTaskForm):  # type: ignore[misc]
    """The library's own fields, in the clothes of the others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["regtask"].widget = UnfoldAdminSelectWidget(choices=self.fields["regtask"].choices)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()


@admin.register(beat.PeriodicTask)
class BackgroundWorkAdmin(beat_admin.PeriodicTaskAdmin, AuditedAdmin):  # type: ignore[misc]
    """Switching off what asks terminals to settle leaves a trace."""

    form = BackgroundTaskForm
    change_form_template = None  # the library's runs a script in the page, which the content security policy forbids

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The library's actions change tasks past save_model, and so past the audit."""
        return {}


@admin.register(beat.IntervalSchedule, beat.CrontabSchedule, beat.ClockedSchedule)  # no solar ones: beat dies of them
class ScheduleAdmin(AuditedAdmin):
    """When background work runs."""
