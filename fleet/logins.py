"""Log-ins, lock-outs and one's own password: each leaves its entry in the audit."""

from typing import Any

from axes.signals import user_locked_out
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from fleet.accounts import LONGEST_NAME
from terminals.common.addresses import address_of
from terminals.common.audit import services as audit


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


@receiver(user_locked_out)
def record_lock_out(username: str | None = None, ip_address: str | None = None, **_of_signal: Any) -> None:
    """A lock-out is recorded like the refused log-ins that led to it."""
    shown = (username or "")[:LONGEST_NAME].replace("\0", "")
    with transaction.atomic():
        audit.record(actor=shown, action="login.locked_out", subject=f"user:{shown}", detail={"address": ip_address})


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
        address = address_of(self.request) if self.request else ""
        shown = username[:LONGEST_NAME]
        with transaction.atomic():
            audit.record(actor=shown, action=action, subject=f"user:{shown}", detail={"address": address})


admin.site.login_form = AuditedLogIn
