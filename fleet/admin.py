"""Operators' accounts in the admin, in the admin's own look."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from terminals.common.admin_base import AuditedAdmin

admin.site.unregister(User)


@admin.register(User)
class OperatorAdmin(UserAdmin, AuditedAdmin):  # type: ignore[misc,type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
