"""Where an operator may do what: paths follow every move, and nothing is found or done outside one's part of the tree."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import IntegrityError, transaction

from terminals.common.scope import Reach, holds, within
from terminals.estate.models import Membership, Merchant, Organisation, Store, Terminal, TerminalModel
from terminals.estate.registering import register_terminal


class Tree:
    """acquirer A (with reseller B below it) and acquirer C; a merchant, a store and a terminal below each."""

    def __init__(self) -> None:
        self.model = TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
        self.a = Organisation.objects.create(name="A")
        self.b = Organisation.objects.create(name="B", parent=self.a, kind="reseller")
        self.c = Organisation.objects.create(name="C")
        self.terminals = {name: self.grow(name, getattr(self, name.lower())) for name in "ABC"}

    def grow(self, name: str, organisation: Organisation | None) -> Terminal:
        merchant = Merchant.objects.create(name=f"Merchant {name}", mid=name, organisation=organisation)
        store = Store.objects.create(merchant=merchant, name="Corner")
        return register_terminal(serial=f"SN-{name}", model=self.model, store=store, actor="ops")


@pytest.fixture
def tree(db: None) -> Tree:
    return Tree()


def seen_by(user: User) -> set[str]:
    user = User.objects.get(pk=user.pk)
    return set(within(Terminal.objects.all(), user, "terminals.view_terminal").values_list("serial", flat=True))


def member(name: str, *permissions: str, **node: Any) -> User:
    user, _ = User.objects.get_or_create(username=name, is_staff=True)
    role, _ = Group.objects.get_or_create(name=" ".join(sorted(permissions)))
    role.permissions.set(Permission.objects.filter(codename__in=permissions))
    Membership.objects.create(user=user, role=role, **node)
    return user


def test_a_reach_holds_only_topmost_nodes() -> None:
    assert Reach.over(["o1.m2.", "o1.", "o12.", "o1.m2.s3."]).paths == ("o1.", "o12.")
    assert Reach.over(["o1.", ""]).everywhere
    assert not Reach.over(["o1."]).covers("o12.m3.")


def test_paths_follow_every_move(tree: Tree) -> None:
    terminal, merchant = tree.terminals["B"], Merchant.objects.get(name="Merchant B")
    store = merchant.stores.get()
    assert store.path == f"o{tree.a.pk}.o{tree.b.pk}.m{merchant.pk}.s{store.pk}."
    assert terminal.path == store.path, "an insert brings it back"
    Organisation.objects.filter(pk=tree.b.pk).update(parent=tree.c)
    terminal.refresh_from_db()
    assert terminal.path == f"o{tree.c.pk}.o{tree.b.pk}.m{merchant.pk}.s{store.pk}."
    merchant.organisation = None
    merchant.save()
    store.save()  # read before the move, it carries the old path
    terminal.refresh_from_db()
    assert terminal.path == f"m{merchant.pk}.s{store.pk}."
    Terminal.objects.filter(pk=terminal.pk).update(store=tree.terminals["A"].store)
    terminal.refresh_from_db()
    assert terminal.path == Store.objects.get(pk=tree.terminals["A"].store_id).path


def test_an_organisation_cannot_stand_below_itself(tree: Tree) -> None:
    for parent in (tree.a, tree.b):
        with pytest.raises(IntegrityError, match="below itself"), transaction.atomic():
            Organisation.objects.filter(pk=tree.a.pk).update(parent=parent)
    assert Organisation.objects.get(pk=tree.a.pk).parent is None


def test_a_member_sees_the_subtree_and_nothing_else(tree: Tree) -> None:
    assert seen_by(member("ann", "view_terminal", organisation=tree.a)) == {"SN-A", "SN-B"}
    assert seen_by(member("ben", "view_terminal", merchant=Merchant.objects.get(name="Merchant C"))) == {"SN-C"}
    assert seen_by(member("ben", "view_terminal", store=tree.terminals["B"].store)) == {"SN-B", "SN-C"}
    assert seen_by(member("cid", "retire_terminal", organisation=tree.a)) == set()


def test_a_permission_counts_where_it_is_held(tree: Tree) -> None:
    user = member("ann", "view_terminal", organisation=tree.a)
    member("ann", "view_terminal", "retire_terminal", organisation=tree.b)
    user = User.objects.get(username="ann")
    assert user.has_perm("terminals.retire_terminal")
    assert not user.has_perm("terminals.retire_terminal", tree.terminals["A"])
    assert user.has_perm("terminals.retire_terminal", tree.terminals["B"])
    assert holds(user, "terminals.view_terminal", tree.terminals["A"])


def test_what_has_no_place_is_changed_only_by_who_may_everywhere(tree: Tree) -> None:
    user = member("ann", "view_terminalmodel", "change_terminalmodel", "view_user", organisation=tree.a)
    models = TerminalModel.objects.all()
    assert within(models, user, "terminals.view_terminalmodel").count() == 1
    assert within(models, user, "terminals.change_terminalmodel").count() == 0
    assert within(User.objects.all(), user, "auth.view_user").count() == 0
    user.user_permissions.add(Permission.objects.get(codename="change_terminalmodel"))
    assert within(models, User.objects.get(pk=user.pk), "terminals.change_terminalmodel").count() == 1


def test_an_account_that_is_switched_off_may_nothing(tree: Tree) -> None:
    user = member("ann", "view_terminal", organisation=tree.a)
    User.objects.update(is_active=False)
    assert seen_by(user) == set()


def test_a_tree_is_no_deeper_than_a_path_can_say(tree: Tree) -> None:
    def below(parent: Organisation) -> Organisation | None:
        try:
            with transaction.atomic():
                return Organisation.objects.create(name=f"below {parent.pk}", parent=parent)
        except IntegrityError as error:
            if "too deep" not in str(error):
                raise
            return None

    deepest, depth = tree.a, 1
    while deeper := below(deepest):
        deepest, depth = deeper, depth + 1
    deepest.refresh_from_db()
    assert depth > 10
    assert 180 < len(deepest.path) <= 190
    with pytest.raises(IntegrityError, match="too deep"), transaction.atomic():
        Organisation.objects.filter(pk=tree.c.pk).update(parent=deepest)
    assert seen_by(member("ann", "view_terminal", organisation=tree.a)) == {"SN-A", "SN-B"}
