"""Logging in at a browser: with a code of an authenticator app, with a passkey, by single sign-on."""

import re
from collections.abc import Iterator
from typing import Any

import oidc_provider_mock
import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.core.cache import cache
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from terminals.common.audit.models import AuditEntry
from tests.browser.conftest import PASSWORD, log_in


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_superuser("ann", password=PASSWORD)


def code_for(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time())))))


def log_out(page: Page, url: str) -> None:
    page.goto(f"{url}/admin/account/logout/")
    page.get_by_role("button").first.click()


def test_an_authenticator_app_is_set_up_and_asked_for_from_then_on(
    ann: User, page: Page, live_server: LiveServer
) -> None:
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/account/second-factors/totp/activate/")
    if "reauthenticate" in page.url:
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Confirm").click()
    expect(page.locator("img")).to_be_visible()
    secret = page.locator("#authenticator_secret, input[readonly], input[disabled]").first.input_value()
    page.locator("input[name=code]").fill(code_for(secret))
    page.get_by_role("button", name="Activate").click()
    expect(page.locator("textarea, #recovery_codes").first).to_be_visible()
    assert Authenticator.objects.count() == 2

    cache.clear()  # the code that was just used would not do within its half minute
    log_out(page, live_server.url)
    log_in(page, live_server.url, "ann")
    expect(page.get_by_role("heading", name="Fleet overview")).to_have_count(0)
    page.locator("input[name=code]").fill(code_for(secret))
    page.get_by_role("button", name=re.compile("Sign In|Log in|Confirm")).first.click()
    expect(page.get_by_role("heading", name="Fleet overview")).to_be_visible()
    assert AuditEntry.objects.filter(action="login").latest("id").detail["proofs"] == ["password", "totp"]


@pytest.fixture
def passkeys(page: Page) -> None:
    """A device in the browser that holds passkeys and always says yes."""
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_a_passkey_logs_in_without_a_password(ann: User, page: Page, passkeys: None, live_server: LiveServer) -> None:
    violations: list[str] = []
    page.on("console", lambda m: violations.append(m.text) if "Content Security Policy" in m.text else None)
    log_in(page, live_server.url, "ann")
    page.goto(f"{live_server.url}/admin/account/second-factors/webauthn/add/")
    if "reauthenticate" in page.url:
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Confirm").click()
    page.locator("input[name=name]").fill("laptop")
    page.locator("input[name=passwordless]").check()
    page.locator("#mfa_webauthn_add").click()
    expect(page.locator("textarea, #recovery_codes, table").first).to_be_visible()
    assert set(Authenticator.objects.values_list("type", flat=True)) >= {"webauthn"}

    log_out(page, live_server.url)
    page.goto(f"{live_server.url}/admin/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Fleet overview")).to_be_visible()
    assert AuditEntry.objects.filter(action="login").latest("id").detail["proofs"] == ["webauthn"]
    assert violations == []


@pytest.fixture
def provider(settings: Any) -> Iterator[None]:
    """An OpenID provider that knows ann and bea."""
    people = [oidc_provider_mock.User(sub=f"id-{name}", claims={"preferred_username": name}) for name in ("ann", "bea")]
    with oidc_provider_mock.run_server_in_thread(user_claims=people) as server:
        app = {
            "provider_id": "oidc",
            "name": "Acme log-in",
            "client_id": "tillwarden",
            "secret": "shared",
            "settings": {"server_url": f"http://localhost:{server.server_port}", "oauth_pkce_enabled": True},
        }
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
        yield


def sign_on(page: Page, url: str, name: str) -> None:
    page.goto(f"{url}/admin/")
    page.get_by_role("link", name="Log in with Acme log-in").click()
    page.get_by_role("button", name=f"id-{name}", exact=True).first.click()


def test_single_sign_on_opens_the_account_that_has_no_password_and_no_other(
    ann: User, provider: None, page: Page, live_server: LiveServer
) -> None:
    sign_on(page, live_server.url, "ann")
    expect(page.get_by_role("heading", name="No operator of this name")).to_be_visible()
    sign_on(page, live_server.url, "bea")
    expect(page.get_by_role("heading", name="No operator of this name")).to_be_visible()
    assert not SocialAccount.objects.exists()
    assert not User.objects.filter(username="bea").exists()

    User.objects.create_user("bea", is_staff=True)
    User.objects.filter(username="bea").update(is_superuser=True)
    sign_on(page, live_server.url, "bea")
    expect(page.get_by_role("heading", name="Fleet overview")).to_be_visible()
    assert SocialAccount.objects.get().uid == "id-bea"
    assert AuditEntry.objects.get(action="login", actor="bea").detail["proofs"] == ["socialaccount"]
