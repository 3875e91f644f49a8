"""Who of a target is unfit for what is to be done, and why: asked before (a preview) and when it is done (a chunk)."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.db.models import QuerySet

from terminals.bulk.verbs import Unfit
from terminals.common.errors import Refusal
from terminals.common.sql import id_set
from terminals.estate.models import Terminal

SHOWN = 5  # serials that a preview names for each reason


class LeftOut(NamedTuple):
    """How many would be left out for one reason, and some of them."""

    refusal: Refusal
    number: int
    serials: list[str]


def refusal_of(unfit: Unfit) -> Refusal:
    return Refusal(unfit.reason, unfit.template, **unfit.values)


def left_out_of(refusal: Refusal, concerned: QuerySet[Terminal]) -> LeftOut | None:
    """Return those whom one reason concerns, counted, with some of their serials; nothing where it concerns nobody."""
    if not (number := concerned.count()):
        return None
    return LeftOut(refusal, number, list(concerned.order_by("serial").values_list("serial", flat=True)[:SHOWN]))


def without_unfit(terminals: QuerySet[Terminal], unfits: Sequence[Unfit]) -> tuple[QuerySet[Terminal], list[LeftOut]]:
    """Return the fit ones of a target, and who is left out, each by the first reason that holds: two statements a reason."""
    left_out = []
    for unfit in unfits:
        if one := left_out_of(refusal_of(unfit), terminals.filter(unfit.q)):
            left_out.append(one)
            terminals = terminals.exclude(unfit.q)
    return terminals, left_out


def refused_among(ids: Collection[int], unfits: Sequence[Unfit]) -> dict[int, Refusal]:
    """Return who of some terminals is unfit as they are now, each by the first reason that holds: a statement a reason."""
    refused: dict[int, Refusal] = {}
    for unfit in unfits:
        rest = Terminal.objects.order_by().filter(pk__in=id_set(set(ids) - refused.keys()))
        refused |= dict.fromkeys(rest.filter(unfit.q).values_list("pk", flat=True), refusal_of(unfit))
    return refused
