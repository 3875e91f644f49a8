"""Accounts, roles, tokens, log-ins and passwords in the admin: each change is audited, and nobody grants what they lack."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from knox import admin as knox_admin  # noqa: F401 - it registers its pages, which are replaced below
from knox.models import AuthToken
from unfold.forms import (
    AdminOwnPasswordChangeForm,
    AdminPasswordChangeForm,
    AuthenticationForm,
    UserChangeForm,
    UserCreationForm,
)

from terminals.common.admin_base import AuditedAdmin
from terminals.common.audit import services as audit
from terminals.common.errors import Refusal

LONGEST_NAME = 140  # of a user, so that `user:NAME` fits the audit's subject
for _model in (User, Group, AuthToken):
    admin.site.unregister(_model)


def permissions_of(holder: Model) -> set[str]:
    """Return what a user, active or not, or a group may do, as `app.codename`; of a superuser only what is written down."""
    mine = Q(group=holder) if isinstance(holder, Group) else Q(user=holder) | Q(group__user=holder)
    return {
        f"{app}.{name}"
        for app, name in Permission.objects.filter(mine).values_list("content_type__app_label", "codename")
    }


class GrantsAdmin(AuditedAdmin):
    """Grants are recorded besides the object's own columns; who may more than you is beyond your reach."""

    grants: tuple[str, ...] = ()

    def _within_reach(self, request: HttpRequest, obj: Any) -> bool:
        if obj is None or request.user.is_superuser:
            return True
        return not getattr(obj, "is_superuser", False) and request.user.has_perms(permissions_of(obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._within_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._within_reach(request, obj)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = self._granted(form.instance)
        super().save_related(request, form, formsets, change)
        after = self._granted(form.instance)
        if not self._within_reach(request, form.instance):
            raise Refusal("beyond_your_own", "you cannot grant what you may not do yourself; nothing was changed")
        if before != after:
            action = f"{form.instance._meta.model_name}.grant"
            audit.record_change(
                actor=request.user.get_username(), action=action, instance=form.instance, old=before, new=after
            )

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._record_lost_grants(request, [obj])
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._record_lost_grants(request, list(queryset))
        super().delete_queryset(request, queryset)

    def _record_lost_grants(self, request: HttpRequest, going: list[Any]) -> None:
        for one in going:
            old = self._granted(one)
            if isinstance(one, Group):
                old["members"] = sorted(one.user_set.values_list("username", flat=True))
            action = f"{one._meta.model_name}.grant"
            audit.record_change(actor=request.user.get_username(), action=action, instance=one, old=old, new={})

    def _granted(self, instance: Model) -> dict[str, Any]:
        return {name: sorted(str(one) for one in getattr(instance, name).all()) for name in self.grants}


@admin.register(User)
class OperatorAdmin(GrantsAdmin, UserAdmin):  # type: ignore[misc,type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    add_fieldsets = UserAdmin.add_fieldsets  # the theme's own base has an empty one
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
class RoleAdmin(GrantsAdmin, GroupAdmin):  # type: ignore[misc]
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
            subject=audit.subject_of(obj),
            detail={"expiry": obj.expiry},
        )

    def response_add(self, request: HttpRequest, obj: AuthToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the token on this answer alone: a message would lie in the session."""
        context = admin.site.each_context(request) | {"title": _("Your API token"), "token": obj.shown_once}
        answer = render(request, "pages/token_page.html", context)
        answer["Cache-Control"] = "no-store"
        return answer


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]
    @transaction.atomic
    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit)
        audit.record(actor=user.get_username(), action="user.set_password", subject=audit.subject_of(user))
        return user


def change_own_password(request: HttpRequest) -> HttpResponseBase:
    """Stands before the admin's own page, which would leave no trace."""
    return PasswordChangeView.as_view(
        form_class=OwnPasswordForm,
        success_url=reverse("admin:password_change_done"),
        extra_context=admin.site.each_context(request),
    )(request)


class AuditedLogIn(AuthenticationForm):  # type: ignore[misc]
    """Log-ins and refused ones are recorded; what was typed as a password is not."""

    def clean(self) -> dict[str, Any]:
        try:
            cleaned: dict[str, Any] = super().clean()
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
