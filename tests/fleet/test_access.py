"""Proving who one is: second factors and their lock-out, fresh log-ins, sessions that end, tokens with a name and a scope."""

import base64
import re
import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from fleet.access.adapters import SingleSignOnAdapter
from fleet.access.models import ApiToken
from fleet.access.sessions import ACTIVE_AT
from terminals.common import vault
from terminals.common.audit.models import AuditEntry
from terminals.common.fresh import LOGGED_IN_AT
from terminals.common.scope import narrow
from terminals.estate.models import Membership, Merchant, Organisation
from terminals.importing.services import bring, run_imports, start
from tests.conftest import working_device

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-password-here"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def ann() -> User:
    return User.objects.create_superuser("ann", password=PASSWORD)


def code_now() -> str:
    return str(format_hotp_value(hotp_value(SECRET, next(iter(yield_hotp_counters_from_time())))))


def log_in(client: Client, password: str = PASSWORD) -> Any:
    return client.post(reverse("account_login"), {"login": "ann", "password": password})


def test_the_admins_log_in_leads_to_ours_and_back(client: Client, ann: User) -> None:
    answer = client.get("/admin/terminals/terminal/", follow=True)
    assert answer.redirect_chain[-1][0].startswith(reverse("account_login"))
    next_page = {"login": "ann", "password": PASSWORD, "next": "/admin/terminals/terminal/"}
    assert client.post(reverse("account_login"), next_page)["Location"] == "/admin/terminals/terminal/"
    assert AuditEntry.objects.get(action="login").detail == {"address": "127.0.0.1", "proofs": ["password"]}


def test_with_a_second_factor_a_password_alone_opens_nothing(client: Client, ann: User) -> None:
    TOTP.activate(ann, SECRET)
    answer = log_in(client)
    assert answer["Location"] == reverse("mfa_authenticate")
    assert client.get(reverse("admin:index")).status_code == 302
    assert client.post(reverse("mfa_authenticate"), {"code": "000000"}).status_code == 200
    code = code_now()
    assert client.post(reverse("mfa_authenticate"), {"code": code}).status_code == 302
    assert client.get(reverse("admin:index")).status_code == 200
    assert AuditEntry.objects.get(action="login").detail["proofs"] == ["password", "totp"]
    assert AuditEntry.objects.filter(action="login.refused", actor="ann").count() == 1
    again = Client()
    log_in(again)
    assert again.post(reverse("mfa_authenticate"), {"code": code}).status_code == 200, "a code is used once"


def test_a_recovery_code_opens_once(client: Client, ann: User) -> None:
    TOTP.activate(ann, SECRET)
    code = RecoveryCodes.activate(ann).get_unused_codes()[0]
    log_in(client)
    assert client.post(reverse("mfa_authenticate"), {"code": code}).status_code == 302
    again = Client()
    log_in(again)
    assert again.post(reverse("mfa_authenticate"), {"code": code}).status_code == 200


def test_ten_wrong_codes_lock_out_like_ten_wrong_passwords(client: Client, ann: User) -> None:
    TOTP.activate(ann, SECRET)
    log_in(client)
    for _ in range(10):
        client.post(reverse("mfa_authenticate"), {"code": "000000"})
    shown = client.post(reverse("mfa_authenticate"), {"code": code_now()})
    assert shown.status_code in (200, 429)
    assert client.get(reverse("admin:index")).status_code == 302
    assert log_in(Client()).status_code == 429


def test_secrets_of_second_factors_lie_sealed(ann: User) -> None:
    TOTP.activate(ann, SECRET)
    RecoveryCodes.activate(ann)
    kept = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert SECRET not in kept
    sealed = base64.b64decode(Authenticator.objects.get(type="totp").data["secret"])
    assert vault.unseal(sealed, bound_to="second factor").decode() == SECRET


def test_a_second_factor_is_set_up_on_its_page_and_audited(client: Client, ann: User) -> None:
    log_in(client)
    page = client.get(reverse("mfa_activate_totp"), follow=True)
    if reverse("account_reauthenticate") in page.redirect_chain[-1][0]:
        page = client.post(
            reverse("account_reauthenticate"), {"password": PASSWORD, "next": reverse("mfa_activate_totp")}, follow=True
        )
    secret = re.search(r'value="([A-Z2-7]{16,})"', page.content.decode())
    assert secret is not None
    counter = next(iter(yield_hotp_counters_from_time()))
    code = format_hotp_value(hotp_value(secret[1], counter))
    assert client.post(reverse("mfa_activate_totp"), {"code": code}).status_code == 302
    assert set(Authenticator.objects.values_list("type", flat=True)) == {"totp", "recovery_codes"}
    assert AuditEntry.objects.filter(action="second_factor.added", actor="ann").exists(), list(
        AuditEntry.objects.values()
    )


def test_where_it_is_required_nothing_is_seen_before_one_has_a_second_factor(
    client: Client, ann: User, settings: Any
) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    client.force_login(ann)
    for page in ("admin:index", "bulk", "preferences"):
        assert client.get(reverse(page))["Location"] == reverse("mfa_index")
    assert client.get(reverse("mfa_index")).status_code == 200
    TOTP.activate(ann, SECRET)
    assert client.get(reverse("admin:index")).status_code == 200


# --- fresh log-ins ---------------------------------------------------------------------------------------------------
def grow_old(client: Client) -> None:
    session = client.session
    session[LOGGED_IN_AT] = time.time() - 3600
    session.save()


def test_roles_need_a_fresh_log_in_which_leads_back_to_what_was_asked(client: Client, ann: User) -> None:
    client.force_login(ann)
    grow_old(client)
    url = reverse("admin:auth_group_add")
    assert client.get(url).status_code == 200, "to look is no harm"
    asked = client.post(url, {"name": "night shift"})
    assert asked["Location"] == f"{reverse('account_reauthenticate')}?next={quote(url, safe='')}"
    assert not Group.objects.filter(name="night shift").exists()
    wrong = client.post(reverse("account_reauthenticate"), {"password": "wrong", "next": url})
    assert wrong.status_code == 200
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD, "next": url})
    assert Group.objects.filter(name="night shift").exists(), "what was asked is done after the log-in"


def test_what_was_asked_of_an_address_with_a_query_is_done_after_the_log_in(client: Client, ann: User) -> None:
    client.force_login(ann)
    grow_old(client)
    url = f"{reverse('admin:auth_group_add')}?_changelist_filters=q%3Dnight"
    asked = client.post(url, {"name": "night shift"})
    assert not Group.objects.filter(name="night shift").exists()
    done = client.post(asked["Location"], {"password": PASSWORD, "next": reverse("admin:auth_group_add")})
    assert done.status_code == 302
    assert Group.objects.filter(name="night shift").exists()


def test_a_key_is_delivered_after_the_log_in_that_it_needs(client: Client, register: Any) -> None:
    client.force_login(User.objects.create_superuser("bo", password=PASSWORD))
    terminal = register("SN-1")
    working_device(terminal)
    grow_old(client)
    keys = terminal.keys.count()
    page = client.get(reverse("terminal-page", args=[terminal.pk]), {"tab": "keys"}).content.decode()
    found = re.search(r'<form method="post" action="([^"]+)"[^>]*id="do-deliver_key"', page)
    assert found
    asked = client.post(found[1], {"action": "deliver_key", "chosen": "P0", "tab": "keys"})
    done = client.post(asked["Location"], {"password": PASSWORD, "next": found[1]})
    assert done["Location"].endswith("?tab=keys")
    assert terminal.keys.count() == keys + 1


def test_keys_releases_accounts_and_tokens_need_it_and_everyday_work_does_not(client: Client, ann: User) -> None:
    client.force_login(ann)
    grow_old(client)
    for page in ("admin:auth_user_add", "admin:access_apitoken_add", "admin:firmware_release_add"):
        assert client.post(reverse(page), {})["Location"].startswith(reverse("account_reauthenticate")), page
    assert client.post(reverse("admin:auth_user_delete", args=[ann.pk]), {"post": "yes"}).status_code == 302
    assert User.objects.filter(pk=ann.pk).exists()
    assert client.post(reverse("admin:terminals_merchant_add"), {"name": "Bakery", "mid": "1"}).status_code == 302
    assert Merchant.objects.exists()


def test_in_the_api_an_old_session_is_refused_and_a_token_is_a_proof(client: Client, ann: User) -> None:
    client.force_login(ann)
    grow_old(client)
    refused = client.post("/api/v1/key-requirements/", {}, content_type="application/json")
    assert (refused.status_code, "fresh log-in" in refused.json()["detail"]) == (403, True)
    assert client.post("/api/v1/merchants/", {}, content_type="application/json").status_code == 400
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.objects.create(user=ann)[1]}")
    assert api.post("/api/v1/key-requirements/", {}).status_code == 400


# --- sessions --------------------------------------------------------------------------------------------------------
def test_a_session_that_nobody_uses_ends_and_a_page_that_refreshes_itself_is_no_use(client: Client, ann: User) -> None:
    client.force_login(ann)
    assert client.get(reverse("admin:index")).status_code == 200
    began = client.session[ACTIVE_AT]
    with time_machine.travel(timezone.now() + timedelta(minutes=30)):
        assert client.get(reverse("overview-panel"), headers={"HX-Request": "true"}).status_code == 200
        assert client.session[ACTIVE_AT] == began
    with time_machine.travel(timezone.now() + timedelta(minutes=50)):
        client.get(reverse("admin:index"))
        assert client.session[ACTIVE_AT] > began
    with time_machine.travel(timezone.now() + timedelta(minutes=111)):
        assert client.get(reverse("overview-panel")).status_code == 302
    assert "_auth_user_id" not in client.session


def test_an_operator_has_a_number_of_sessions_and_the_oldest_ends(ann: User, settings: Any) -> None:
    settings.MOST_SESSIONS = 2
    clients = [Client() for _ in range(3)]
    for client in clients:
        log_in(client)
    assert [client.get(reverse("admin:index")).status_code for client in clients] == [302, 200, 200]
    assert UserSession.objects.count() == 2
    clients[2].post(reverse("usersessions_list"), {"others": "1"})
    assert [client.get(reverse("admin:index")).status_code for client in clients] == [302, 302, 200]


def test_one_session_is_ended_and_nobody_elses(ann: User) -> None:
    clients = [Client() for _ in range(3)]
    for client in clients:
        log_in(client)
    first, _second, own = UserSession.objects.order_by("id")
    stranger = UserSession.objects.create(
        user=User.objects.create_user("other"), session_key="x", ip="127.0.0.1", user_agent="x", data={}
    )
    for chosen in (first.pk, own.pk, stranger.pk, "x", 2**70):
        assert clients[2].post(reverse("usersessions_list"), {"end": chosen}).status_code == 302
    assert [client.get(reverse("admin:index")).status_code for client in clients] == [302, 200, 200]
    assert UserSession.objects.filter(pk=stranger.pk).exists()
    (entry,) = AuditEntry.objects.filter(action="session.end")
    assert (entry.actor, entry.detail) == ("ann", {"ended": 1})


def test_who_logs_out_comes_to_the_log_in_page(client: Client, ann: User) -> None:
    log_in(client)
    answer = client.post(reverse("admin:logout"))
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("account_login"))
    assert client.get(reverse("admin:index")).status_code == 302


# --- tokens ----------------------------------------------------------------------------------------------------------
def bearer(user: User, **values: Any) -> tuple[APIClient, ApiToken]:
    token, text = ApiToken.objects.create(user=user, name="report", **values)
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return api, token


@pytest.mark.parametrize("superuser", [True, False])
def test_a_token_of_a_role_may_do_no_more_than_the_role(superuser: bool) -> None:
    north = Organisation.objects.create(name="North")
    if superuser:
        user = User.objects.create_superuser("root")
    else:
        user = User.objects.create_user("ben", is_staff=True)
        Membership.objects.create(user=user, role=Group.objects.get(name="administrator"), organisation=north)
    api, _token = bearer(user, role=Group.objects.get(name="viewer"))
    assert api.get("/api/v1/merchants/").status_code == 200
    assert api.get("/api/v1/audit/").status_code == 403
    body = {"name": "Bakery", "mid": "1", "organisation": north.pk}
    assert api.post("/api/v1/merchants/", body).status_code == 403
    whole, _token = bearer(user)
    assert whole.post("/api/v1/merchants/", body).status_code == 201
    user.refresh_from_db()
    assert user.is_superuser is superuser


def test_a_role_gives_a_token_nothing_that_its_operator_lacks() -> None:
    ben = User.objects.create_user("ben", is_staff=True)
    north = Organisation.objects.create(name="North")
    Membership.objects.create(user=ben, role=Group.objects.get(name="viewer"), organisation=north)
    api, _token = bearer(ben, role=Group.objects.get(name="administrator"))
    assert api.post("/api/v1/merchants/", {"name": "B", "mid": "1", "organisation": north.pk}).status_code == 403


def test_a_tokens_last_use_is_noted_once_a_minute(ann: User) -> None:
    api, token = bearer(ann)
    api.get("/api/v1/merchants/")
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    api.get("/api/v1/merchants/")
    token.refresh_from_db()
    assert token.last_used_at == first
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        api.get("/api/v1/merchants/")
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert token.last_used_at > first


def test_an_ended_token_is_refused_and_stays_in_its_owners_list(ann: User, client: Client) -> None:
    api, token = bearer(ann, expiry=timedelta(minutes=1))
    assert api.get("/api/v1/merchants/").status_code == 200
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        assert api.get("/api/v1/merchants/").status_code == 401
    assert ApiToken.objects.filter(pk=token.pk).exists()
    client.force_login(ann)
    assert "report" in client.get(reverse("admin:access_apitoken_changelist")).content.decode()


def test_a_token_is_made_with_a_name_and_a_role(ann: User, client: Client) -> None:
    client.force_login(ann)
    role = Group.objects.get(name="viewer")
    form = {"name": "nightly", "role": str(role.pk), "expiry_0": "", "expiry_1": ""}
    page = client.post(reverse("admin:access_apitoken_add"), form).content.decode()
    assert "no more than the role viewer" in page
    token = ApiToken.objects.get()
    assert (token.name, token.role) == ("nightly", role)
    assert AuditEntry.objects.get(action="apitoken.create").detail["role"] == "viewer"


def test_requests_of_a_token_are_counted_by_the_minute(ann: User, settings: Any) -> None:
    settings.API_REQUESTS_PER_MINUTE = 3
    caches["process"].clear()
    api, _token = bearer(ann)
    other, _token = bearer(ann)
    with time_machine.travel(timezone.now().replace(second=10), tick=False):
        answers = [api.get("/api/v1/merchants/") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[3]["Retry-After"] == "50"
        assert other.get("/api/v1/merchants/").status_code == 200
    with time_machine.travel(timezone.now() + timedelta(minutes=1)):
        assert api.get("/api/v1/merchants/").status_code == 200


# --- what attackers found ---------------------------------------------------------------------------------------------
def test_the_rules_of_sessions_hold_for_the_api_too(client: Client, ann: User, settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    client.force_login(ann)
    refused = client.get("/api/v1/terminals/")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    api, _token = bearer(ann)
    assert api.get("/api/v1/terminals/").status_code == 200, "a token is another matter"
    settings.REQUIRE_SECOND_FACTOR = False
    assert client.get("/api/v1/terminals/").status_code == 200
    with time_machine.travel(timezone.now() + timedelta(hours=5)):
        assert client.get("/api/v1/terminals/").status_code in (401, 403)


def test_bulk_work_with_keys_needs_a_fresh_log_in_in_the_api_too(client: Client, ann: User) -> None:
    client.force_login(ann)
    grow_old(client)
    body = {"verb": "deliver_key", "filter": "state = active", "arguments": {"usage": "P0"}}
    assert client.post("/api/v1/bulk/", body, content_type="application/json").status_code == 403
    body = {"verb": "tag", "filter": "state = active", "arguments": {"tag": "x"}}
    assert client.post("/api/v1/bulk/", body, content_type="application/json").status_code == 409, "nobody passes"


def test_whose_second_factors_are_taken_away_is_logged_out(client: Client, ann: User) -> None:
    TOTP.activate(ann, SECRET)
    log_in(client)
    client.post(reverse("mfa_authenticate"), {"code": code_now()})
    assert client.get(reverse("admin:index")).status_code == 200
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    asked = {"action": "take_second_factors", "_selected_action": [str(ann.pk)]}
    assert boss.post(reverse("admin:auth_user_changelist"), asked).status_code == 302
    assert not Authenticator.objects.exists()
    assert AuditEntry.objects.filter(action="second_factor.removed", actor="boss", subject="user:ann").exists()
    assert client.get(reverse("admin:index")).status_code == 302


def test_a_form_with_a_password_does_not_wait_in_the_session(client: Client, ann: User) -> None:
    client.force_login(ann)
    grow_old(client)
    asked = client.post(reverse("admin:auth_user_add"), {"username": "new", "password1": "hush-hush-hush"})
    assert asked["Location"].startswith(reverse("account_reauthenticate"))
    assert "hush" not in str(dict(client.session))


def test_wrong_old_passwords_lock_out_too(client: Client, ann: User) -> None:
    client.force_login(ann)
    form = {"old_password": "guess", "new_password1": "another-long-one", "new_password2": "another-long-one"}
    for _ in range(10):
        client.post("/admin/password_change/", form)
    client.post("/admin/password_change/", form | {"old_password": PASSWORD})
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD)


def test_a_narrow_token_starts_no_import_that_adds_more_than_it_may(ann: User) -> None:
    ann.is_superuser = True
    job = bring(file=ContentFile(b"merchant,mid\nBakery,1", name="x.csv"), user=ann)
    narrowed = User.objects.get(pk=ann.pk)
    narrow(narrowed, {"terminals.add_terminal"})
    start(job=job, user=narrowed)
    run_imports(time.monotonic() + 10)
    assert not Merchant.objects.exists()
    assert job.rows.get().reason == "not_allowed"


def test_a_name_at_the_provider_binds_an_operator_once(rf: Any) -> None:
    boss = User.objects.create_user("boss", is_staff=True)
    SocialAccount.objects.create(user=boss, provider="oidc", uid="real")
    account = SocialAccount(provider="oidc", uid="mallory", extra_data={"userinfo": {"preferred_username": "boss"}})
    request = rf.get("/")
    request.user = AnonymousUser()
    with pytest.raises(ImmediateHttpResponse):
        SingleSignOnAdapter().pre_social_login(request, SocialLogin(user=User(), account=account))
    assert SocialAccount.objects.count() == 1
