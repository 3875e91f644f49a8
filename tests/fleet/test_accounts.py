"""Accounts: nobody grants what they lack, and what happens to passwords and tokens is recorded."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from fleet.access.models import ApiToken
from terminals.common.addresses import address_of
from terminals.common.audit.models import AuditEntry

PASSWORD = "a-long-password-here"


@pytest.fixture
def clerk(db: None, client: Client) -> User:
    """Somebody who may keep accounts and see terminals, and no more."""
    user = User.objects.create_user("clerk", password=PASSWORD, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="auth") | Permission.objects.filter(codename="view_terminal")
    )
    client.force_login(user)
    return user


NO_ROWS = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}


def form_of(user: User, **changes: Any) -> dict[str, Any]:
    groups = list(user.groups.values_list("pk", flat=True))
    form = {"username": user.username, "is_active": "on", "is_staff": "on", "groups": groups}
    form["user_permissions"] = list(user.user_permissions.values_list("pk", flat=True))
    return form | {"date_joined_0": "2026-11-24", "date_joined_1": "00:00:00"} | NO_ROWS | changes


def change(client: Client, user: User, **changes: Any) -> int:
    return client.post(reverse("admin:auth_user_change", args=[user.pk]), form_of(user, **changes)).status_code


def test_nobody_makes_himself_a_superuser_or_grants_more_than_he_has(client: Client, clerk: User) -> None:
    change(client, clerk, is_superuser="on")
    foreign = Permission.objects.get(codename="retire_terminal")
    change(client, clerk, user_permissions=[*form_of(clerk)["user_permissions"], foreign.pk])
    role = Group.objects.create(name="retirers")
    role.permissions.add(foreign)
    change(client, clerk, groups=[role.pk])
    clerk.refresh_from_db()
    assert not clerk.is_superuser
    assert foreign not in clerk.user_permissions.all()
    assert not clerk.groups.exists()
    assert not AuditEntry.objects.filter(action__startswith="user.").exists()


def test_a_group_is_not_given_more_than_one_has(client: Client, clerk: User) -> None:
    role = Group.objects.create(name="clerks")
    clerk.groups.add(role)
    allowed, foreign = (Permission.objects.get(codename=name) for name in ("view_terminal", "retire_terminal"))
    url = reverse("admin:auth_group_change", args=[role.pk])
    assert client.post(url, {"name": "clerks", "permissions": [allowed.pk]}).status_code == 302
    client.post(url, {"name": "clerks", "permissions": [foreign.pk]})
    assert list(role.permissions.all()) == [allowed]


@pytest.mark.parametrize("active", [True, False])
def test_the_account_of_somebody_who_may_more_is_beyond_ones_reach(client: Client, clerk: User, active: bool) -> None:
    custodian = User.objects.create_user("custodian", password=PASSWORD, is_active=active)
    custodian.user_permissions.add(Permission.objects.get(codename="add_terminalkey"))
    boss = User.objects.create_superuser("boss", password=PASSWORD, is_active=active)
    new = {"password1": "another-long-password", "password2": "another-long-password", "usable_password": "true"}
    for user in (custodian, boss):
        assert change(client, user, username="taken") == 403
        assert client.post(reverse("admin:auth_user_password_change", args=[user.pk]), new).status_code == 403
        assert client.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"}).status_code == 403
        user.refresh_from_db()
        assert user.check_password(PASSWORD)
    url = reverse("admin:auth_user_changelist")
    chosen = {"action": "delete_selected", "_selected_action": [custodian.pk, boss.pk], "post": "yes"}
    client.post(url, chosen)
    assert User.objects.filter(username__in=["custodian", "boss"]).count() == 2


def test_who_may_less_is_kept_as_ever(client: Client, clerk: User) -> None:
    helper = User.objects.create_user("helper", password=PASSWORD)
    assert change(client, helper, first_name="Ann") == 302
    assert User.objects.get(username="helper").first_name == "Ann"


def test_a_password_that_one_changes_oneself_is_audited(client: Client, clerk: User) -> None:
    assert reverse("admin:password_change") == "/admin/password_change/"
    page = client.get(reverse("admin:password_change"))
    assert page.status_code == 200
    new = {"old_password": PASSWORD, "new_password1": "another-long-password", "new_password2": "another-long-password"}
    assert client.post(reverse("admin:password_change"), new | {"old_password": "wrong"}).status_code == 200
    assert not AuditEntry.objects.filter(action="user.set_password").exists()
    assert client.post(reverse("admin:password_change"), new).status_code == 302
    entry = AuditEntry.objects.get(action="user.set_password")
    assert (entry.actor, entry.subject) == ("clerk", f"user:{clerk.pk}")
    assert "another-long-password" not in str(entry.detail)


def test_a_token_that_ends_is_audited_by_its_first_letters(client: Client, operator: Any) -> None:
    client.force_login(operator)
    token, _ = ApiToken.objects.create(user=operator)
    client.post(reverse("admin:access_apitoken_delete", args=[token.pk]), {"post": "yes"})
    entry = AuditEntry.objects.get(action="apitoken.delete")
    assert entry.subject == f"apitoken:{token.token_key}"
    assert token.digest not in str(entry.detail)


def test_a_token_is_made_for_oneself_only_and_stands_in_the_audit_without_its_secret(
    staff: Client, operator: Any
) -> None:
    other = get_user_model().objects.create_superuser("other", password="a-long-password-here")
    url = reverse("admin:access_apitoken_add")
    page = staff.post(
        url, {"user": other.pk, "name": "report", "expiry_0": "", "expiry_1": ""}, follow=True
    ).content.decode()
    token = ApiToken.objects.get()
    assert token.user == operator
    assert "Shown only now" in page
    entry = AuditEntry.objects.get(action="apitoken.create")
    assert entry.subject == f"apitoken:{token.token_key}"


def test_log_ins_and_refused_ones_are_recorded(client: Client, operator: Any) -> None:
    url = reverse("account_login")
    client.post(url, {"login": "ops", "password": "wrong"})
    client.post(url, {"login": "ops", "password": "a-long-password-here"})
    assert list(AuditEntry.objects.order_by("id").values_list("action", "actor")) == [
        ("login.refused", "ops"),
        ("login", "ops"),
    ]
    assert "wrong" not in str(AuditEntry.objects.values())


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "password"), [("", ""), ("ops", ""), ("x\0y", "z"), ("n" * 150, "wrong")])
def test_a_log_in_that_cannot_be_is_refused_in_the_form(client: Client, name: str, password: str) -> None:
    answer = client.post(reverse("account_login"), {"login": name, "password": password})
    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session


def test_a_password_set_for_somebody_is_audited(staff: Client) -> None:
    other = get_user_model().objects.create_user("other", password="before-it-was-set")
    new = {"password1": "a-new-long-password", "password2": "a-new-long-password", "usable_password": "true"}
    answer = staff.post(reverse("admin:auth_user_password_change", args=[other.pk]), new)
    assert answer.status_code == 302, answer.content.decode()[:500]
    other.refresh_from_db()
    assert other.check_password("a-new-long-password")
    assert AuditEntry.objects.filter(action="user.set_password", subject=f"user:{other.pk}").count() == 1


def test_a_new_token_is_shown_on_its_answer_and_kept_nowhere(staff: Client) -> None:
    answer = staff.post(reverse("admin:access_apitoken_add"), {"name": "report", "expiry_0": "", "expiry_1": ""})
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    shown = re.search(r"<code>([0-9a-zA-Z]+)</code>", answer.content.decode())
    assert shown is not None
    assert ApiToken.objects.get().token_key == shown[1][:15]
    assert shown[1] not in str(dict(staff.session))


def test_an_operator_is_made_in_the_browser(staff: Client) -> None:
    page = staff.get(reverse("admin:auth_user_add")).content.decode()
    assert 'name="username"' in page
    new = {"username": "ann", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert staff.post(reverse("admin:auth_user_add"), new | NO_ROWS).status_code == 302
    assert User.objects.get(username="ann").check_password(PASSWORD)


def test_what_went_with_a_role_or_an_account_is_in_the_audit(staff: Client) -> None:
    role, allowed = Group.objects.create(name="retirers"), Permission.objects.get(codename="retire_terminal")
    role.permissions.add(allowed)
    helper = User.objects.create_user("helper", password=PASSWORD)
    helper.groups.add(role)
    helper.user_permissions.add(allowed)
    staff.post(reverse("admin:auth_group_delete", args=[role.pk]), {"post": "yes"})
    lost = AuditEntry.objects.get(action="group.grant").detail["old"]
    assert lost["members"] == ["helper"]
    assert "retire" in str(lost["permissions"])
    staff.post(reverse("admin:auth_user_delete", args=[helper.pk]), {"post": "yes"})
    assert "retire" in str(AuditEntry.objects.get(action="user.grant").detail["old"]["user_permissions"])


def test_a_password_that_is_disabled_is_audited(staff: Client) -> None:
    other = get_user_model().objects.create_user("other", password="before-it-was-set")
    url = reverse("admin:auth_user_password_change", args=[other.pk])
    assert staff.post(url, {"usable_password": "false", "unset-password": "x"}).status_code == 302
    other.refresh_from_db()
    assert not other.has_usable_password()
    assert AuditEntry.objects.get(action="user.disable_password").subject == f"user:{other.pk}"


@pytest.mark.parametrize("name", ["n" * 141, "\u0430dmin"])
def test_a_name_that_the_audit_could_not_tell_is_refused(staff: Client, name: str) -> None:
    new = {"username": name, "password1": "a-new-long-password", "password2": "a-new-long-password"}
    answer = staff.post(reverse("admin:auth_user_add"), new | NO_ROWS | {"usable_password": "true"})
    assert answer.status_code == 200
    assert "username" in answer.context["adminform"].form.errors
    assert User.objects.count() == 1


def attempt(client: Client, name: str = "ops", password: str = "wrong", address: str = "10.0.0.1") -> int:  # noqa: S107
    body = {"login": name, "password": password}
    return client.post(reverse("account_login"), body, REMOTE_ADDR=address).status_code


def test_ten_failures_lock_an_account_out_for_half_an_hour_wherever_they_come_from(
    client: Client, operator: Any
) -> None:
    for n in range(10):
        assert attempt(client, address=f"10.0.1.{n}") in (200, 429)
    assert attempt(client, password=PASSWORD, address="10.0.2.1") == 429, "the right one is not looked at"
    assert "_auth_user_id" not in client.session
    other = User.objects.create_superuser("other", password=PASSWORD)
    assert attempt(client, other.username, PASSWORD, "10.0.2.1") == 302
    entry = AuditEntry.objects.filter(action="login.locked_out").earliest("id")
    assert (entry.subject, entry.detail["address"]) == ("user:ops", "10.0.1.9")
    with time_machine.travel(timezone.now() + timedelta(minutes=31)):
        assert attempt(client, password=PASSWORD) == 302


def test_ten_failures_lock_an_address_out_whatever_names_it_tries(client: Client, operator: Any) -> None:
    for n in range(10):
        attempt(client, f"name-{n}")
    assert attempt(client, password=PASSWORD) == 429
    assert attempt(client, password=PASSWORD, address="10.0.0.2") == 302


def test_failures_during_a_lock_out_do_not_prolong_it(client: Client, operator: Any) -> None:
    start = timezone.now()
    for minute in (0,) * 10 + (10, 20, 29):
        with time_machine.travel(start + timedelta(minutes=minute), tick=False):
            attempt(client, address="10.1.1.1")
    with time_machine.travel(start + timedelta(minutes=31)):
        assert attempt(client, password=PASSWORD, address="10.9.9.9") == 302


def test_behind_a_proxy_the_last_address_that_it_names_counts(settings: Any) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="6.6.6.6, 10.0.0.7")
    assert address_of(request) == "127.0.0.1"
    settings.BEHIND_PROXY = True
    assert address_of(request) == "10.0.0.7"
    request.META["HTTP_X_FORWARDED_FOR"] = "nonsense"
    assert address_of(request) == "127.0.0.1"
