"""Second factors under the same lock-out as passwords: ten wrong ones lock an account for half an hour."""

from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from axes.handlers.proxy import AxesProxyHandler
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _


class _UnderLockOut:
    def clean_code(self) -> str:
        credentials = {"username": self.user.get_username()}  # type: ignore[attr-defined]
        if not AxesProxyHandler.is_allowed(context.request, credentials):
            raise ValidationError(_("Too many attempts; wait 30 minutes."))
        return str(super().clean_code())  # type: ignore[misc]


class SecondFactorForm(_UnderLockOut, AuthenticateForm):  # type: ignore[misc]
    pass


class SecondFactorAgainForm(_UnderLockOut, ReauthenticateForm):  # type: ignore[misc]
    pass
