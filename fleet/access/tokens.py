"""Who an API token speaks for, and how far: its operator, with all that they may do or with a role's share of it."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.cache import caches
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from fleet.access.models import ApiToken
from terminals.common.addresses import address_of
from terminals.common.scope import narrow

NOTED_EVERY = timedelta(
    minutes=1
)  # a use is noted no oftener: a row that is written at each request would be in the way
WINDOW_SECONDS = 60


class ApiTokens(TokenAuthentication):  # type: ignore[misc]
    """Knox's tokens, with a scope, and a trace of their last use."""

    def validate_user(self, auth_token: ApiToken) -> tuple[Any, ApiToken]:
        user, token = super().validate_user(auth_token)
        now = timezone.now()
        if token.last_used_at is None or token.last_used_at < now - NOTED_EVERY:
            stale = Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_EVERY)
            ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
        if token.role_id is not None:
            names = Permission.objects.filter(group=token.role_id).values_list("content_type__app_label", "codename")
            narrow(user, {f"{app}.{name}" for app, name in names})
        return user, token

    def _cleanup_token(self, auth_token: ApiToken) -> bool:
        """An ended token is refused, and stays to be seen in its owner's list; the library would delete it, unaudited."""
        return auth_token.expiry is not None and auth_token.expiry < timezone.now()


class ApiTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the API's document tells of tokens."""

    target_class = "fleet.access.tokens.ApiTokens"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class RequestsPerMinute(BaseThrottle):
    """At most API_REQUESTS_PER_MINUTE requests of a token, an operator or an address, counted by each web process."""

    def allow_request(self, request: Request, view: Any) -> bool:
        most = settings.API_REQUESTS_PER_MINUTE
        if not most:
            return True
        token = getattr(request.auth, "pk", None)
        who = token or (f"user-{request.user.pk}" if request.user.pk else address_of(request))
        now = timezone.now().timestamp()
        self._wait = WINDOW_SECONDS - now % WINDOW_SECONDS
        key, cache = f"requests-{who}-{int(now // WINDOW_SECONDS)}", caches["process"]
        return bool(cache.add(key, 1, WINDOW_SECONDS) or cache.incr(key) <= most)

    def wait(self) -> float:
        return self._wait
