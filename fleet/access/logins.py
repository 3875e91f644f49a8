"""Log-ins, lock-outs and one's own password: each leaves its entry in the audit."""

import time
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.account.signals import user_logged_in as session_began
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from axes.handlers.proxy import AxesProxyHandler
from axes.signals import user_locked_out
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from unfold.forms import AdminOwnPasswordChangeForm

from fleet.access.sessions import HAS_SECOND_FACTOR, end_oldest_sessions
from terminals.common.addresses import address_of
from terminals.common.audit import services as audit
from terminals.common.fresh import LOGGED_IN_AT


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]
    def clean_old_password(self) -> str:
        """A wrong old password counts like one at the log-in, and leads to the same lock-out."""
        request, credentials = context.request, {"username": self.user.get_username()}
        if not AxesProxyHandler.is_allowed(request, credentials):
            raise ValidationError(_("Too many attempts; wait 30 minutes."))
        try:
            return str(super().clean_old_password())
        except ValidationError:
            user_login_failed.send(sender=__name__, credentials=credentials, request=request)
            raise

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


LONGEST_NAME = 140  # of a user, so that `user:NAME` fits the audit's subject


@receiver(user_locked_out)
def record_lock_out(username: str | None = None, ip_address: str | None = None, **_of_signal: Any) -> None:
    """A lock-out is recorded like the refused log-ins that led to it."""
    shown = (username or "")[:LONGEST_NAME].replace("\0", "")
    with transaction.atomic():
        audit.record(actor=shown, action="login.locked_out", subject=f"user:{shown}", detail={"address": ip_address})


def _record(action: str, username: str, request: HttpRequest | None, **detail: Any) -> None:
    shown = username[:LONGEST_NAME].replace("\0", "")
    detail |= {"address": address_of(request) if request else ""}
    with transaction.atomic():
        audit.record(actor=shown, action=action, subject=f"user:{shown}", detail=detail)


@receiver(user_logged_in)
def note_login(request: HttpRequest, user: Any, **_of_signal: Any) -> None:
    """Record a log-in and what proved it; it counts as fresh from now on."""
    request.session[LOGGED_IN_AT] = time.time()
    proofs = [record.get("type") or record["method"] for record in get_authentication_records(request, user)]
    if proofs:  # or it is no person's
        _record("login", user.get_username(), request, proofs=proofs)


@receiver(session_began)
def end_the_oldest(request: HttpRequest, user: Any, **_of_signal: Any) -> None:
    """Whoever logs in once too often ends their oldest session."""
    end_oldest_sessions(user, settings.MOST_SESSIONS - 1, besides=request.session.session_key)


@receiver(user_login_failed)
def note_refused_login(credentials: dict[str, Any], request: HttpRequest | None = None, **_of_signal: Any) -> None:
    """Record a refused log-in; what was typed as a password or a code is not."""
    _record("login.refused", str(credentials.get("username", "")), request)


@receiver(authentication_failed)
def note_wrong_second_factor(request: HttpRequest, user: Any, **_of_signal: Any) -> None:
    """A wrong code counts like a wrong password, and leads to the same lock-out."""
    user_login_failed.send(sender=__name__, credentials={"username": user.get_username()}, request=request)


@receiver(post_save, sender=Authenticator)
def note_new_factor(instance: Authenticator, created: bool, **_of_signal: Any) -> None:
    """Record that an operator got a second factor, in the transaction that made it (the library's own signal comes after it)."""
    if created:
        _record_factor("added", instance)


@receiver(post_delete, sender=Authenticator)
def note_lost_factor(instance: Authenticator, **_of_signal: Any) -> None:
    """Record that an operator lost a second factor, whoever took it away."""
    request: HttpRequest | None = context.request
    if request is not None and hasattr(request, "session"):
        request.session.pop(HAS_SECOND_FACTOR, None)
    _record_factor("removed", instance)


def _record_factor(verb: str, factor: Authenticator) -> None:
    request: HttpRequest | None = context.request
    owner = factor.user.get_username()
    actor = request.user.get_username() if request is not None and hasattr(request, "user") else ""
    detail = {"kind": str(factor.type), "address": address_of(request) if request else ""}
    with transaction.atomic():
        audit.record(actor=actor or owner, action=f"second_factor.{verb}", subject=f"user:{owner}", detail=detail)
