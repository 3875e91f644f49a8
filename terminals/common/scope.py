"""Where an operator may do what. Every queryset that an operator sees passes `within`: nothing else narrows by place.

The estate is a tree, and where something stands in it is its path, for example `o1.o4.m7.s9.`: each node's path begins with
its parent's. A permission is held in the subtrees below some paths; the empty path is the whole installation. A model says
how it stands in the tree:

- `placed_by`, the lookup that leads to its path, or several of which one does: it is seen and touched where the permission is
  held;
- `owned_by`, the column that names its user: who holds the permission anywhere sees and touches their own;
- `shared = True`: it is seen by whoever holds the permission anywhere, and made, changed or decided on by who does everywhere;
- none of these: it is for those alone who hold the permission everywhere. So what is forgotten is closed.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db.models import Model, Q, QuerySet

EVERYWHERE_PATH = ""


class Reach(NamedTuple):
    """The paths of the topmost nodes under which a permission is held."""

    paths: tuple[str, ...]

    @property
    def everywhere(self) -> bool:
        return EVERYWHERE_PATH in self.paths

    def covers(self, path: str) -> bool:
        """Whether a path lies in one of the subtrees."""
        return path.startswith(self.paths)

    @classmethod
    def over(cls, paths: Iterable[str]) -> "Reach":
        """Return the reach over subtrees, without those that lie in another."""
        topmost: list[str] = []
        for path in sorted(set(paths)):
            if not path.startswith(tuple(topmost)):
                topmost.append(path)
        return cls(tuple(topmost))


NOWHERE = Reach(())
EVERYWHERE = Reach((EVERYWHERE_PATH,))
Grants = Mapping[str, Reach]  # permission -> where it is held


class Grantor:
    """Who knows the grants of a user who is no superuser; filled by the estate, which has the tree."""

    grants_of: Callable[[Any], Grants] | None = None


grantor = Grantor()


def grants_of(user: Any) -> Grants:
    """Return where a user holds which permission; asked of the database once for a user object, that is, once a request."""
    if not hasattr(user, "_grants"):
        user._grants = grantor.grants_of(user) if grantor.grants_of and user.pk else {}
    known: Grants = user._grants
    return known


def narrow(user: Any, permissions: set[str]) -> None:
    """Let a user, for the life of this object, act with no more than these permissions of theirs. It must not be saved."""
    held = dict.fromkeys(permissions, EVERYWHERE) if user.is_superuser else grants_of(user)
    user._grants = {name: reach for name, reach in held.items() if name in permissions}
    user.is_superuser = False


def reach_of(user: Any, permission: str) -> Reach:
    """Return where a user holds a permission."""
    if not user.is_active:
        return NOWHERE
    return EVERYWHERE if user.is_superuser else grants_of(user).get(permission, NOWHERE)


def placed_by(model: type[Model]) -> tuple[str, ...]:
    """Return the lookups that lead from a model's rows to their path; none where they have no place."""
    lookups = getattr(model, "placed_by", ())
    return (lookups,) if isinstance(lookups, str) else tuple(lookups)


def owned_by(model: type[Model]) -> str:
    """Return the column that names the user of a model's rows; empty where they are nobody's."""
    return str(getattr(model, "owned_by", ""))


def opens(user: Any, permission: str, model: type[Model]) -> bool:
    """Whether a user may do what the permission names to any row of a model; where it has places, `within` says to which."""
    reach = reach_of(user, permission)
    if placed_by(model) or owned_by(model) or reach.everywhere:
        return bool(reach.paths)
    meta = model._meta
    app, _dot, codename = permission.partition(".")
    own = app == meta.app_label and codename.endswith(f"_{meta.model_name}") and not codename.startswith("view_")
    return bool(reach.paths and getattr(model, "shared", False) and not own)


def within(rows: QuerySet[Any], user: Any, permission: str) -> QuerySet[Any]:
    """Return those of the rows to which a user may do what the permission names."""
    reach = reach_of(user, permission)
    if reach.everywhere:
        return rows
    if lookups := placed_by(rows.model):
        return rows.filter(_placed(rows.model, lookups, reach.paths)) if reach.paths else rows.none()
    if owner := owned_by(rows.model):
        return rows.filter(**{owner: user.pk}) if reach.paths else rows.none()
    return rows if opens(user, permission, rows.model) else rows.none()


FEW = 1000


def _placed(model: type[Model], lookups: tuple[str, ...], paths: tuple[str, ...]) -> Q:
    """Return what holds for a model's rows under one of the paths.

    Where rows lie with something that has the path, as commands do with terminals, and few of those lie there, they are looked
    up first: a plan that joins would walk through everybody's rows to find the few.
    """
    relation, _dash, column = lookups[0].rpartition("__")
    if len(lookups) == 1 and relation and "__" not in relation:
        placed: Any = model._meta.get_field(relation).related_model
        keys = placed._default_manager.order_by().filter(below([column], paths)).values_list("pk", flat=True)
        found = list(keys[: FEW + 1])
        if len(found) <= FEW:
            return Q(**{f"{relation}__in": found})
    return below(lookups, paths)


def below(lookups: Iterable[str], paths: Iterable[str]) -> Q:
    """Return what holds for rows that one of the lookups places under one of the paths."""
    return reduce(or_, (Q(**{f"{lookup}__startswith": path}) for path in paths for lookup in lookups))


def holds(user: Any, permission: str, instance: Model | None = None) -> bool:
    """Whether a user holds a permission: anywhere, or where an object stands **by the database**, not by what was typed."""
    reach = reach_of(user, permission)
    if instance is None or not reach.paths or reach.everywhere:
        return bool(reach.paths)
    model = type(instance)
    if not placed_by(model) and not owned_by(model):
        return opens(user, permission, model)
    rows = model._default_manager.filter(pk=instance.pk)
    if lookups := placed_by(model):  # of one row the join costs nothing
        return rows.filter(below(lookups, reach.paths)).exists()
    return within(rows, user, permission).exists()
