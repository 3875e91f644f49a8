"""Who keeps accounts in a part of the tree: sees those that work in it alone, and grants nothing beyond it."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from fleet.roles import ROLES, keep_roles
from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Membership, Merchant, Organisation

PASSWORD = "a-long-password-here"


class Org:
    def __init__(self, name: str) -> None:
        self.organisation = Organisation.objects.create(name=name)
        self.merchant = Merchant.objects.create(name=f"{name} shops", mid=name, organisation=self.organisation)


@pytest.fixture
def home(db: None) -> Org:
    return Org("HOME")


@pytest.fixture
def foreign(db: None) -> Org:
    return Org("FOREIGN")


@pytest.fixture
def keeper(client: Client, home: Org) -> User:
    """The administrator of an organisation."""
    user = works("keeper", "administrator", organisation=home.organisation)
    client.force_login(user)
    return user


def works(name: str, role: str, **node: Any) -> User:
    user, _made = User.objects.get_or_create(username=name, is_staff=True)
    Membership.objects.create(user=user, role=Group.objects.get(name=role), **node)
    return user


def rows(*memberships: dict[str, Any], kept: int = 0) -> dict[str, Any]:
    form: dict[str, Any] = {"memberships-TOTAL_FORMS": len(memberships), "memberships-INITIAL_FORMS": kept}
    for n, membership in enumerate(memberships):
        form |= {f"memberships-{n}-{name}": getattr(value, "pk", value) for name, value in membership.items()}
    return form


def add(client: Client, *memberships: dict[str, Any], **more: Any) -> int:
    new = {"username": "ann", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    return client.post(reverse("admin:auth_user_add"), new | rows(*memberships) | more, follow=True).status_code


def role(name: str) -> Group:
    return Group.objects.get(name=name)


def test_an_account_is_made_with_a_membership_of_the_own_part(client: Client, keeper: User, home: Org) -> None:
    add(client, {"role": role("operator"), "merchant": home.merchant})
    ann = User.objects.get(username="ann")
    assert [str(m) for m in ann.memberships.all()] == ["ann: operator, HOME shops"]
    granted = AuditEntry.objects.get(action="user.grant")
    assert granted.detail["new"]["memberships"] == ["ann: operator, HOME shops"]
    page = client.get(reverse("admin:auth_user_changelist")).context["cl"].result_list
    assert {user.username for user in page} == {"keeper", "ann"}


@pytest.mark.parametrize("where", ["foreign", "nowhere", "two nodes", "no membership"])
def test_no_account_is_made_outside_the_own_part(
    client: Client, keeper: User, home: Org, foreign: Org, where: str
) -> None:
    memberships: dict[str, list[dict[str, Any]]] = {
        "foreign": [{"role": role("viewer"), "organisation": foreign.organisation}],
        "nowhere": [{"role": role("viewer")}],
        "two nodes": [{"role": role("viewer"), "organisation": home.organisation, "merchant": home.merchant}],
        "no membership": [],
    }
    add(client, *memberships[where])
    assert not User.objects.filter(username="ann").exists()
    assert not AuditEntry.objects.filter(action__startswith="user.").exists()


def test_nobody_grants_a_role_that_may_more(client: Client, home: Org) -> None:
    clerk = works("clerk", "viewer", organisation=home.organisation)
    for codename in ("view_user", "add_user", "change_user"):
        role("viewer").permissions.add(Permission.objects.get(codename=codename))
    client.force_login(clerk)
    add(client, {"role": role("administrator"), "merchant": home.merchant})
    assert not User.objects.filter(username="ann").exists()
    add(client, {"role": role("viewer"), "merchant": home.merchant})
    assert User.objects.filter(username="ann").exists()


def test_nothing_that_holds_everywhere_is_granted_from_a_part(client: Client, keeper: User, home: Org) -> None:
    ann = works("ann", "viewer", merchant=home.merchant)
    mine = ann.memberships.get()
    row = {"id": mine, "role": mine.role, "merchant": home.merchant}
    form = {"username": "ann", "is_active": "on", "is_staff": "on", "is_superuser": "on", **rows(row, kept=1)}
    form |= {"groups": [role("viewer").pk], "user_permissions": [Permission.objects.get(codename="view_terminal").pk]}
    page = client.get(reverse("admin:auth_user_change", args=[ann.pk]))
    assert not {"is_superuser", "groups", "user_permissions"} & set(page.context["adminform"].form.fields)
    assert client.post(reverse("admin:auth_user_change", args=[ann.pk]), form).status_code == 302
    ann.refresh_from_db()
    assert (ann.is_superuser, ann.groups.count(), ann.user_permissions.count()) == (False, 0, 0)


def test_accounts_that_work_elsewhere_too_are_beyond_reach(
    client: Client, keeper: User, home: Org, foreign: Org
) -> None:
    both = works("both", "viewer", merchant=home.merchant)
    works("both", "viewer", merchant=foreign.merchant)
    stranger = works("stranger", "viewer", merchant=foreign.merchant)
    root = User.objects.create_superuser("root")
    everywhere = User.objects.create_user("everywhere", is_staff=True)
    everywhere.groups.add(role("viewer"))
    listed = client.get(reverse("admin:auth_user_changelist")).context["cl"].result_list
    assert {user.username for user in listed} == {"keeper"}
    for user in (both, stranger, root, everywhere):
        for page in ("auth_user_change", "auth_user_delete", "auth_user_password_change"):
            assert client.get(reverse(f"admin:{page}", args=[user.pk])).status_code in (403, 404), (user, page)
    assert client.get(reverse("admin:auth_group_changelist")).status_code == 403, "roles hold for everybody"


def test_who_only_sees_accounts_elsewhere_changes_none_there(client: Client, home: Org, foreign: Org) -> None:
    works("keeper", "administrator", organisation=home.organisation)
    keeper = works("keeper", "auditor", organisation=foreign.organisation)
    works("ann", "viewer", merchant=home.merchant)
    ann = works("ann", "viewer", merchant=foreign.merchant)
    client.force_login(keeper)
    role("auditor").permissions.add(Permission.objects.get(codename="view_user"))
    form = {"username": "ann", "is_active": "on", "password1": "taken-over-1", "password2": "taken-over-1"}
    for page in ("change", "delete", "password_change"):
        client.post(reverse(f"admin:auth_user_{page}", args=[ann.pk]), form | {"post": "yes", **rows()})
    chosen = {"action": "delete_selected", "_selected_action": [ann.pk], "post": "yes"}
    client.post(reverse("admin:auth_user_changelist"), chosen)
    ann.refresh_from_db()
    assert not ann.check_password("taken-over-1")
    assert ann.memberships.count() == 2


def test_the_administrator_of_a_node_saves_it_though_it_hangs_on_what_is_above(client: Client, home: Org) -> None:
    keeper = works("keeper", "administrator", merchant=home.merchant)
    client.force_login(keeper)
    form = {"name": "Renamed", "mid": home.merchant.mid, "organisation": home.organisation.pk, "time_zone": "UTC"}
    url = reverse("admin:terminals_merchant_change", args=[home.merchant.pk])
    fields = client.get(url).context["adminform"].form.initial
    assert client.post(url, {name: value or "" for name, value in fields.items()} | form).status_code == 302
    home.merchant.refresh_from_db()
    assert home.merchant.name == "Renamed"
    api = APIClient()
    api.force_authenticate(keeper)
    body = api.get(f"/api/v1/merchants/{home.merchant.pk}/").json() | {"name": "Again"}
    assert api.put(f"/api/v1/merchants/{home.merchant.pk}/", body, format="json").status_code == 200
    other = Organisation.objects.create(name="OTHER")
    assert api.put(f"/api/v1/merchants/{home.merchant.pk}/", body | {"organisation": other.pk}).status_code == 400


def test_a_membership_ends_and_leaves_its_entry(client: Client, keeper: User, home: Org) -> None:
    ann = works("ann", "viewer", merchant=home.merchant)
    works("ann", "operator", organisation=home.organisation)
    first, second = ann.memberships.order_by("pk")
    form = {"username": "ann", "is_active": "on", "is_staff": "on"}
    kept: list[dict[str, Any]] = [
        {"id": first, "role": first.role, "merchant": home.merchant},
        {"id": second, "role": second.role, "organisation": home.organisation, "DELETE": "on"},
    ]
    url = reverse("admin:auth_user_change", args=[ann.pk])
    assert client.post(url, form | rows(*kept, kept=2)).status_code == 302
    assert ann.memberships.get() == first
    assert AuditEntry.objects.filter(action="user.grant").latest("id").detail["old"]["memberships"] == [
        "ann: operator, HOME",
        "ann: viewer, HOME shops",
    ]


def test_roles_are_kept_as_written(db: None) -> None:
    role("viewer").permissions.clear()
    Group.objects.get(name="auditor").delete()
    keep_roles()
    for name, needs in ROLES.items():
        held = role(name).permissions.values_list("content_type__app_label", "codename")
        assert {f"{app}.{codename}" for app, codename in held} == needs


def test_a_viewer_changes_nothing_but_own_tokens() -> None:
    assert {one for one in ROLES["viewer"] if not one.partition(".")[2].startswith("view_")} == {
        "access.add_apitoken",
        "access.delete_apitoken",
    }
