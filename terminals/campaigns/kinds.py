"""What campaigns can move: kinds, which the project registers from its features (fleet/campaign_kinds.py)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from terminals.bulk.verbs import Arguments, Unfit
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.link.services import Target

Ids = Sequence[int]


def asked_by(campaign_id: int) -> str:
    """Who asks for what a campaign sends: no operator is called so."""
    return f"campaign {campaign_id}"


class Order(NamedTuple):
    """What terminals are asked for: the kind's arguments, how long they have, what must hold at the terminal, by which campaign,
    and from when on it may change."""

    arguments: Arguments
    valid_for: timedelta
    conditions: Mapping[str, Any]
    campaign_id: int
    activate_at: datetime | None = None  # only downloaded before

    @property
    def requested_by(self) -> str:
        return asked_by(self.campaign_id)


@dataclass(frozen=True)
class Kind:
    """One kind of thing that a campaign moves.

    `thing` says what no two campaigns may move on a terminal at once; `order` asks terminals (held and fit), set-based, in a
    way that they can answer within a time; what came of it, the feature says by `services.report`. `take_back` ends orders that
    no terminal can have seen and returns their terminals. `before` says what is there now, as arguments of a campaign that
    would bring it back; a terminal of which nobody knows is left out; a kind without it cannot be rolled back. `passing` are
    the reasons of `unfit` that pass by themselves: for those a terminal waits. `needs_approval`: somebody else agrees first.
    `takes_conditions`: terminals hold what they are asked for against conditions. `has_it` holds for terminals that need not be
    brought it (again); a kind without it cannot be followed: nobody knows who lacks it.
    """

    name: str
    permission: str
    thing: Callable[[Arguments], str]
    order: Callable[[Sequence[Target], Order], None]
    check: Callable[[Arguments, Any], dict[str, Any]]
    unfit: Callable[[Arguments], Sequence[Unfit]] = lambda arguments: ()
    told: Callable[[Arguments], str] = lambda arguments: ", ".join(str(value) for value in arguments.values() if value)
    take_back: Callable[[Ids, Order], set[int]] = lambda ids, order: set()
    passing: frozenset[str] = frozenset()
    before: Callable[[Ids, Arguments], Mapping[int, Mapping[str, Any]]] | None = None
    needs_approval: Callable[[Arguments], bool] = lambda arguments: False
    takes_conditions: bool = False
    has_it: Callable[[Arguments], Q] | None = None


Measure = Callable[[QuerySet[Terminal]], QuerySet[Terminal]]  # those of some terminals that are in trouble


class Kinds:
    """The kinds that are known, and what is measured on terminals before and after; an object that the project fills at start."""

    def __init__(self) -> None:
        self._known: dict[str, Kind] = {}
        self.measures: dict[str, Measure] = {}

    def fill(self, *kinds: Kind, measures: Mapping[str, Measure]) -> None:
        self._known = {kind.name: kind for kind in kinds}
        self.measures = dict(measures)

    def all(self) -> list[Kind]:
        return list(self._known.values())

    def named(self, name: str) -> Kind:
        """Return a kind; raise Refusal for an unknown one."""
        if name not in self._known:
            raise Refusal(
                "unknown_kind",
                "no campaign moves %(name)s; choose one of %(names)s",
                name=repr(name[:40]),
                names=", ".join(self._known),
            )
        return self._known[name]


kinds = Kinds()
