"""What django-allauth asks of this project: nobody signs up by themselves, secrets of second factors lie in the vault."""

import base64
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import render

from terminals.common import vault
from terminals.common.addresses import address_of

BOUND_TO = "second factor"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return address_of(request) or "::"

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """No mail is sent; what happened to an account is in the audit."""

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Its pages say what became of a request; a message would wait for a page that shows it."""


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def encrypt(self, text: str) -> str:
        return base64.b64encode(vault.seal(text.encode(), bound_to=BOUND_TO)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return vault.unseal(base64.b64decode(encrypted_text), bound_to=BOUND_TO).decode()

    def get_totp_label(self, user: Any) -> str:
        return str(user.get_username())

    def can_delete_authenticator(self, authenticator: Any) -> bool:
        """Where a second factor is required, the last one stays."""
        others = type(authenticator).objects.filter(user=authenticator.user_id).exclude(pk=authenticator.pk)
        return not settings.REQUIRE_SECOND_FACTOR or others.exclude(type="recovery_codes").exists()


class SingleSignOnAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """The provider says who somebody is; which accounts there are is an administrator's decision."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Bind the provider's account, at its first log-in, to the operator of the same name who has no password here.

        One who has a password, or is bound already, is not taken over by whoever bears the name there.
        """
        if sociallogin.is_existing:
            return
        said = sociallogin.account.extra_data
        name = (said.get("userinfo") or said.get("id_token") or said).get("preferred_username", "")
        user = User.objects.filter(username=name, is_active=True, is_staff=True).first() if name else None
        if user is None or user.has_usable_password() or SocialAccount.objects.filter(user=user).exists():
            raise ImmediateHttpResponse(render(request, "account/unknown_operator.html", {"name": name}, status=403))
        sociallogin.connect(request, user)


def reseal_factors() -> int:
    """Seal second factors' secrets anew under the vault's present master key; return how many."""
    adapter, number = SecondFactorAdapter(), 0
    with transaction.atomic():
        for factor in Authenticator.objects.select_for_update().order_by("pk"):
            sealed = {name: factor.data[name] for name in ("secret", "seed") if name in factor.data}
            if sealed:
                factor.data |= {name: adapter.encrypt(adapter.decrypt(text)) for name, text in sealed.items()}
                factor.save(update_fields=["data"])
                number += 1
    return number
