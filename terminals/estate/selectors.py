"""Finding terminals by what people know of them. Reads only."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import F, Func, Q, QuerySet, TextField, Value

from terminals.common.errors import Refusal
from terminals.estate.models import Merchant, Organisation, Store, Terminal

SHORTEST = 3  # letters of a part that the indexes know (migration 0002); less is looked for at the beginning
LONGEST_LIST = 1000
_PARTS: Any = ArrayField(TextField())


def containing(rows: QuerySet[Any], column: str, text: str) -> QuerySet[Any]:
    """Return the rows whose column has the text in it, or, where that is shorter than SHORTEST, at its beginning."""
    if len(text) < SHORTEST:
        return rows.filter(**{f"{column}__istartswith": text})
    parts = Func(F(column), function="terminals_trigrams", output_field=_PARTS)
    wanted = Func(Value(text), function="terminals_trigrams", output_field=_PARTS)
    matching: QuerySet[Any] = rows.alias(**{f"{column}_parts": parts}).filter(
        **{f"{column}_parts__contains": wanted, f"{column}__icontains": text}
    )
    return matching


def find_terminals(terminals: QuerySet[Terminal], text: str) -> QuerySet[Terminal]:
    """Return the terminals that a person may mean: by a part of the serial or of the store's name, or the TID's beginning.

    Each way is looked up by its own index first, so that the cost grows with what is found and not with the fleet.
    """
    by_serial = containing(Terminal.objects.order_by(), "serial", text)
    by_tid = Terminal.objects.order_by().exclude(tid="").filter(tid__istartswith=text)
    stores = containing(Store.objects.order_by(), "name", text)
    return terminals.filter(
        Q(pk__in=ids_or_query(by_serial)) | Q(pk__in=ids_or_query(by_tid)) | Q(store__in=ids_or_query(stores))
    )


def ids_or_query(rows: QuerySet[Any]) -> Any:
    """Return the keys of a few rows as a list, which every plan is good for, and of many as a query."""
    keys = rows.values_list("pk", flat=True)
    found = list(keys[: LONGEST_LIST + 1])
    return found if len(found) <= LONGEST_LIST else keys


def of_terminals_named(text: str) -> Q:
    """Return what holds for rows of terminals (`terminal`) whose serial has the text in it; terminals are looked up first."""
    return Q(terminal__in=ids_or_query(containing(Terminal.objects.order_by(), "serial", text)))


def check_new_merchant(store: Store | None, merchant: Merchant) -> None:
    """Raise Refusal where a store would pass to another merchant with its terminals, and their money's history with them."""
    if store is not None and store.pk and store.merchant_id != merchant.pk and store.terminals.exists():
        raise Refusal(
            "has_terminals", "it has terminals, whose money was this merchant's; make a new store and move them there"
        )


def check_parent(organisation: Organisation | None, parent: Organisation | None) -> None:
    """Raise Refusal where an organisation would stand below itself; the database refuses it, too (migration 0004)."""
    if (
        organisation is not None
        and parent is not None
        and organisation.pk
        and parent.path.startswith(organisation.path)
    ):
        raise Refusal(
            "below_itself",
            "%(parent)s stands below %(organisation)s, or is the same: choose another",
            parent=parent,
            organisation=organisation,
        )
