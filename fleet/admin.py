"""Accounts, tokens and background work in the admin: everything that a library registered comes under the audit."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django_celery_beat import admin as beat_admin
from django_celery_beat import models as beat
from knox import admin as knox_admin  # noqa: F401 - it registers its pages, which are replaced below
from knox.models import AuthToken
from unfold.admin import TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from firmware.models import Baseline
from firmware.services import set_baseline
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
    def clean(self) -> None:
        """Refuse a release of another platform while everything that was typed still stands on the screen."""
        super().clean()
        for row in self.forms:
            release = row.cleaned_data.get("release") if hasattr(row, "cleaned_data") else None
            if release is not None and release.platform != self.instance.platform:
                told = _("%(release)s does not fit %(model)s, whose platform is %(platform)s")
                said = {"release": release, "model": self.instance, "platform": self.instance.platform}
                raise ValidationError(told % said)


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

    def _set_baseline(self, model: TerminalModel, row: Baseline, actor: str) -> None:
        """A row that now names a release of another package replaces the baseline that it was."""
        before = Baseline.objects.filter(pk=row.pk).first() if row.pk else None
        if before is not None and before.package_id != row.release.package_id:
            audit.record_change(
                actor=actor, action="baseline.delete", instance=before, old=audit.stored_values(before), new={}
            )
            before.delete()
        row.pk = set_baseline(model=model, release=row.release, actor=actor).pk

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Write rows with their audit entries; a baseline by its service, which knows what fits the platform."""
        actor = request.user.get_username()
        for row in formset.save(commit=False):
            if isinstance(row, Baseline):
                self._set_baseline(form.instance, row, actor)
                continue
            old = audit.stored_values(row)
            row.save()
            action = f"{row._meta.model_name}.{'update' if old else 'create'}"
            audit.record_change(actor=actor, action=action, instance=row, old=old, new=audit.stored_values(row))
        for row in formset.deleted_objects:
            action = f"{row._meta.model_name}.delete"
            audit.record_change(actor=actor, action=action, instance=row, old=audit.stored_values(row), new={})
            row.delete()


LONGEST_NAME = 140  # of a user, so that `user:NAME` fits the audit's subject
for _model in (User, Group, AuthToken, *(m for m in admin.site._registry if m._meta.app_label == "django_celery_beat")):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


class GrantsAudited(AuditedAdmin):
    """Who was given which group or permission is recorded besides the object's own columns."""

    grants: tuple[str, ...] = ()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = self._granted(form.instance)
        super().save_related(request, form, formsets, change)
        after = self._granted(form.instance)
        if before != after:
            action = f"{form.instance._meta.model_name}.grant"
            audit.record_change(
                actor=request.user.get_username(), action=action, instance=form.instance, old=before, new=after
            )

    def _granted(self, instance: Model) -> dict[str, Any]:
        return {name: sorted(str(one) for one in getattr(instance, name).all()) for name in self.grants}


@admin.register(User)
class OperatorAdmin(UserAdmin, GrantsAudited):  # type: ignore[misc,type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    grants = ("groups", "user_permissions")

    @transaction.atomic
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        return super().user_change_password(request, id, form_url)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> Any:
        if "password" in str(message).lower():
            audit.record(
                actor=request.user.get_username(), action="user.set_password", subject=audit.subject_of(obj), detail={}
            )
        return super().log_change(request, obj, message)


@admin.register(Group)
class RoleAdmin(GroupAdmin, GrantsAudited):  # type: ignore[misc]
    grants = ("permissions",)


class OwnTokenForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = AuthToken
        fields = ["expiry"]


@admin.register(AuthToken)
class OwnTokenAdmin(AuditedAdmin):
    """An operator's own tokens: one for somebody else would be that person's identity in another's hand."""

    form = OwnTokenForm
    list_display = ["token_key", "created", "expiry"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuthToken]:
        return super().get_queryset(request).filter(user=request.user)  # type: ignore[no-any-return]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: AuthToken, form: Any, change: bool) -> None:
        made, token = AuthToken.objects.create(user=request.user)
        AuthToken.objects.filter(pk=made.pk).update(expiry=form.cleaned_data["expiry"])
        obj.pk = made.pk
        obj.refresh_from_db()
        obj.shown_once = token  # until `response_add` has told it
        audit.record(
            actor=request.user.get_username(),
            action="authtoken.create",
            subject=f"authtoken:{obj.token_key}",
            detail={"expiry": obj.expiry},
        )

    def response_add(self, request: HttpRequest, obj: AuthToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the token on this answer alone: a message would lie in the session."""
        context = admin.site.each_context(request) | {"title": _("Your API token"), "token": obj.shown_once}
        answer = render(request, "pages/token_page.html", context)
        answer["Cache-Control"] = "no-store"
        return answer


@admin.register(beat.PeriodicTask)
class BackgroundWorkAdmin(beat_admin.PeriodicTaskAdmin, AuditedAdmin):  # type: ignore[misc]
    """Switching off what asks terminals to settle leaves a trace."""

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The library's actions change tasks past save_model, and so past the audit."""
        return {}


@admin.register(beat.IntervalSchedule, beat.CrontabSchedule, beat.SolarSchedule, beat.ClockedSchedule)
class ScheduleAdmin(AuditedAdmin):
    """When background work runs."""


class AuditedLogIn(AdminAuthenticationForm):
    """Log-ins and refused ones are recorded; what was typed as a password is not."""

    def clean(self) -> dict[str, Any]:
        try:
            cleaned = super().clean()
        except ValidationError:
            self._record("login.refused", str(self.cleaned_data.get("username", "")))
            raise
        if self.get_user() is not None:  # a form that lacks a name or a password asks nobody
            self._record("login", self.get_user().get_username())
        return cleaned

    def _record(self, action: str, username: str) -> None:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        shown = username[:LONGEST_NAME]
        with transaction.atomic():
            audit.record(actor=shown, action=action, subject=f"user:{shown}", detail={"address": address})


admin.site.login_form = AuditedLogIn
