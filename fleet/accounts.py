"""Accounts, roles, tokens, log-ins and passwords in the admin: each change is audited, and nobody grants what they lack."""

from typing import Any

from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import MaxLengthValidator
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import TabularInline
from unfold.forms import (
    AdminPasswordChangeForm,
    UserChangeForm,
    UserCreationForm,
)

from fleet.access.logins import LONGEST_NAME
from fleet.access.sessions import end_oldest_sessions
from fleet.translation import permission_label
from terminals.common.admin_base import AuditedAdmin, StateAdmin
from terminals.common.audit import services as audit
from terminals.common.errors import Refusal
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import EVERYWHERE, Grants, below, reach_of, within
from terminals.estate.grants import NODE_PATH, read_grants
from terminals.estate.models import Membership

NOBODYS = (
    "account",
    "admin",
    "axes",
    "contenttypes",
    "mfa",
    "sessions",
    "socialaccount",
    "usersessions",
)  # permissions that open no page of ours
for _model in (User, Group):
    admin.site.unregister(_model)


def grants_of(holder: User | Group) -> Grants:
    """Return what a user, active or not, or a group may do and where; of a superuser only what is written down."""
    if isinstance(holder, User):
        return read_grants(holder)
    names = Permission.objects.filter(group=holder).values_list("content_type__app_label", "codename")
    return {f"{app}.{name}": EVERYWHERE for app, name in names}


def covers(operator: Any, holder: User | Group) -> bool:
    """Whether an operator may do all that a user or a role may, wherever they may."""
    return all(
        reach_of(operator, permission).covers(path)
        for permission, reach in grants_of(holder).items()
        for path in reach.paths
    )


class GrantsAdmin(AuditedAdmin):
    """Grants are recorded besides the object's own columns; who may more than you is beyond your reach."""

    grants: tuple[str, ...] = ()

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if db_field.name in ("permissions", "user_permissions"):
            field.label_from_instance = permission_label
            field.queryset = field.queryset.exclude(content_type__app_label__in=NOBODYS)
        return field

    def _within_reach(self, request: HttpRequest, obj: Any) -> bool:
        if obj is None or request.user.is_superuser:
            return True
        return not getattr(obj, "is_superuser", False) and covers(request.user, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._within_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._within_reach(request, obj)

    def refuse_beyond_reach(self, request: HttpRequest, obj: Any, change: bool) -> None:
        """It is judged when all that is granted is saved (save_related)."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = self._granted(form.instance)
        super().save_related(request, form, formsets, change)
        after = self._granted(form.instance)
        if not self._within_reach(request, form.instance) or not self.may(request, "change", form.instance):
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


class NameOfOperator:
    """An operator's name stands in the audit: it fits there, and looks like nobody else's."""

    def clean_username(self) -> str:
        name: str = super().clean_username() if hasattr(super(), "clean_username") else self.cleaned_data["username"]  # type: ignore[misc,attr-defined]
        if "username" in self.changed_data:  # type: ignore[attr-defined]
            if self.instance.pk is not None:  # type: ignore[attr-defined]
                raise ValidationError(
                    _("a name stays: audit and approvals know an operator by it; make another account")
                )
            ASCIIUsernameValidator()(name)
            MaxLengthValidator(LONGEST_NAME)(name)
        return name


class OperatorForm(NameOfOperator, UserChangeForm):  # type: ignore[misc]
    pass


class NewOperatorForm(NameOfOperator, UserCreationForm):  # type: ignore[misc]
    pass


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if sum(bool(values.get(node)) for node in ("organisation", "merchant", "store")) != 1:
            raise ValidationError(_("choose one organisation, one merchant or one store"))
        return values

    def validate_constraints(self) -> None:
        """What `clean` refused the database's own words need not repeat."""
        if not self.errors:
            super().validate_constraints()


class MembershipRow(TabularInline):  # type: ignore[misc]
    """Where somebody works, and in which role. Who may keep an account may keep these rows of it."""

    model = Membership
    form = MembershipForm
    fields = ["role", "organisation", "merchant", "store"]
    autocomplete_fields = ["organisation", "merchant", "store"]
    extra = 0
    verbose_name = gettext_lazy("membership")
    verbose_name_plural = gettext_lazy(
        "memberships: what somebody may do at an organisation, a merchant or a store, and below"
    )

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "role":
            kwargs["queryset"] = within(db_field.remote_field.model.objects.all(), request.user, "auth.change_user")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


@admin.register(User)
class OperatorAdmin(GrantsAdmin, UserAdmin):  # type: ignore[misc,type-arg]
    """Operators. Who keeps accounts in a part of the tree sees those whose memberships all lie in it, and grants no others."""

    inlines = [MembershipRow]
    form = OperatorForm
    add_form = NewOperatorForm
    change_password_form = AdminPasswordChangeForm
    readonly_fields = ["last_login", "date_joined"]
    add_fieldsets = UserAdmin.add_fieldsets  # the theme's own base has an empty one
    grants = ("groups", "user_permissions", "memberships")
    # What holds everywhere is not for who keeps accounts somewhere.
    HOLD_EVERYWHERE = {"is_superuser", "groups", "user_permissions"}

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return self._keepable(super(StateAdmin, self).get_queryset(request), request, "view")

    def _keepable(self, users: QuerySet[User], request: HttpRequest, verb: str) -> QuerySet[User]:
        """Return the accounts to which the operator may do it: those that work nowhere but where that is allowed."""
        reach = reach_of(request.user, self.permission_to(verb))
        if reach.everywhere or not reach.paths:
            return users if reach.everywhere else users.none()
        placed = Membership.objects.filter(user=OuterRef("pk")).annotate(path=NODE_PATH)
        inside = below(["path"], reach.paths)
        everywhere = Q(is_superuser=True) | Q(groups__isnull=False) | Q(user_permissions__isnull=False)
        return users.filter(Exists(placed.filter(inside)), ~Exists(placed.exclude(inside))).exclude(everywhere)

    def may(self, request: HttpRequest, verb: str, obj: Any = None) -> bool:
        reach = reach_of(request.user, self.permission_to(verb))
        if obj is None or obj.pk is None or reach.everywhere:
            return bool(reach.paths)
        return bool(reach.paths) and self._keepable(User.objects.filter(pk=obj.pk), request, verb).exists()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if reach_of(request.user, self.permission_to("change")).everywhere:
            return fieldsets
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in self.HOLD_EVERYWHERE]})
            for title, options in fieldsets
        ]

    actions = ["take_second_factors"]

    @admin.action(
        description=gettext_lazy(
            "Take away second factors (a phone was lost): they log in by password until they have new ones"
        ),
        permissions=["change"],
    )
    def take_second_factors(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Whoever lost their second factor has an administrator take it away; each is audited (access/logins.py)."""
        require_fresh_login(request, self.permission_to("change"))
        if not all(self.has_change_permission(request, user) for user in queryset):
            raise PermissionDenied
        with transaction.atomic():
            _gone, counts = Authenticator.objects.filter(user__in=queryset).delete()
            for user in queryset:  # whoever holds the lost phone may hold an open session
                end_oldest_sessions(user, 0, besides=None)
        told = _("%(number)s second factors were taken away.") % {"number": sum(counts.values())}
        messages.success(request, told)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Whoever gets an account here is an operator, who may log in; what they may do is another matter."""
        obj.is_staff = obj.is_staff if change else True
        super().save_model(request, obj, form, change)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """What `within` cannot say of accounts is asked of each."""
        require_fresh_login(request, self.permission_to("delete"))
        if not all(self.has_delete_permission(request, user) for user in queryset):
            raise PermissionDenied
        self._record_lost_grants(request, list(queryset))
        audit.record_deletions(actor=request.user.get_username(), instances=list(queryset))
        queryset.delete()

    @transaction.atomic
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """What became of the password says what to record: the form's own messages do not always."""
        if request.method == "POST":
            require_fresh_login(request, self.permission_to("change"))
        user = self.get_object(request, id)
        before = user.password if user else ""
        answer = super().user_change_password(request, id, form_url)
        if user is not None:
            user.refresh_from_db(fields=["password"])
            if user.password != before:
                action = "user.set_password" if user.has_usable_password() else "user.disable_password"
                audit.record(actor=request.user.get_username(), action=action, subject=audit.subject_of(user))
        return answer


@admin.register(Group)
class RoleAdmin(GrantsAdmin, GroupAdmin):  # type: ignore[misc]
    grants = ("permissions",)
