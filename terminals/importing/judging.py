"""Judging rows against the estate as it stands: what each would add, or why it cannot be taken.

An import only adds. What is there already and is the same is left as it is, so that a file can be brought twice; what is
there and differs is told, and nothing is changed. Rows are judged in their order: each sees what the earlier ones add.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db.models import Model, Q

from terminals.common.errors import Refusal
from terminals.common.scope import reach_of, within
from terminals.estate.models import Merchant, Organisation, Store, Terminal, TerminalModel
from terminals.estate.rules import TerminalState, device_id_for
from terminals.estate.services import REGISTER
from terminals.importing.rules import Row

VIEW_ORGANISATION = "terminals.view_organisation"
NEEDS = {"merchant": "terminals.add_merchant", "store": "terminals.add_store", "terminal": REGISTER}
SEEN = {"merchant": "terminals.view_merchant", "terminal": "terminals.view_terminal"}
ASKED = (VIEW_ORGANISATION, *SEEN.values(), *NEEDS.values())  # all that judging asks
DEFAULT_ZONE = "UTC"
StoreKey = tuple[str, str]  # the merchant's name and the store's


class Verdict(NamedTuple):
    """What a row adds, or why it is refused; adding nothing is no refusal. `terminal` is the one that is there already."""

    adds: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    terminal: Terminal | None = None


def is_new(instance: Model) -> bool:
    """Whether it does not stand on the books yet."""
    return instance._state.adding


@dataclass
class Estate:
    """What some rows name, as it stands, and what they add to it: new objects have no key yet."""

    covers: Callable[[str, str], bool]  # whether a permission reaches a path
    organisations: dict[str, Organisation] = field(default_factory=dict)
    merchants: dict[str, Merchant] = field(default_factory=dict)
    by_mid: dict[str, Merchant] = field(default_factory=dict)
    stores: dict[StoreKey, Store] = field(default_factory=dict)
    models: dict[str, TerminalModel] = field(default_factory=dict)
    terminals: dict[str, Terminal] = field(default_factory=dict)  # by device id
    tids: set[tuple[str, str, str]] = field(default_factory=set)  # merchant, store, TID

    def add_merchant(self, merchant: Merchant) -> None:
        self.merchants[merchant.name] = self.by_mid[merchant.mid] = merchant

    def add_store(self, store: Store) -> None:
        self.stores[store.merchant.name, store.name] = store


def estate_of(rows: Sequence[Row], user: Any) -> Estate:
    """Return what rows name, as it stands: a fixed number of statements."""
    estate = Estate(covers=lambda path, permission: reach_of(user, permission).covers(path))
    organisations = within(Organisation.objects.all(), user, VIEW_ORGANISATION)
    names = {row.organisation for row in rows} - {""}
    estate.organisations = {one.name: one for one in organisations.filter(name__in=names)}
    merchants = Q(name__in={row.merchant for row in rows}) | Q(mid__in={row.mid for row in rows} - {""})
    for merchant in Merchant.objects.select_related("organisation").filter(merchants):
        estate.add_merchant(merchant)
    stores = Store.objects.select_related("merchant").filter(name__in={row.store for row in rows} - {""})
    for store in stores.filter(merchant__name__in={row.merchant for row in rows}):
        estate.add_store(store)
    for model in TerminalModel.objects.all():
        estate.models[str(model)] = model
    ids = {device_id_for(row.serial) for row in rows if row.serial}
    known = Terminal.objects.select_related("store__merchant", "model").defer("public_key_pem")
    estate.terminals = {one.device_id: one for one in known.filter(device_id__in=ids)}
    tids = Terminal.objects.exclude(state=TerminalState.RETIRED).filter(
        tid__in={row.tid for row in rows} - {""}, store__in=[store.pk for store in estate.stores.values()]
    )
    estate.tids = set(tids.values_list("store__merchant__name", "store__name", "tid"))
    return estate


def judge(estate: Estate, row: Row) -> Verdict:
    """Return what a row adds, and note it in the estate; a row that is refused adds nothing."""
    try:
        merchant = _merchant(estate, row)
        store = _store(estate, row, merchant) if row.store else None
        terminal = _terminal(estate, row, store) if store is not None and row.serial else None
    except Refusal as refusal:
        return Verdict(refusals=(refusal, *unknown_model(estate, row, besides=refusal)))
    adds: list[str] = []
    if is_new(merchant) and merchant.name not in estate.merchants:
        estate.add_merchant(merchant)
        adds.append("merchant")
    if store is not None and is_new(store) and (merchant.name, store.name) not in estate.stores:
        estate.add_store(store)
        adds.append("store")
    if terminal is None or not is_new(terminal):
        return Verdict(tuple(adds), terminal=terminal)
    estate.terminals[terminal.device_id] = terminal
    if row.tid:
        estate.tids.add((merchant.name, row.store, row.tid))
    return Verdict((*adds, "terminal"))


def unknown_model(estate: Estate, row: Row, *, besides: Refusal | None = None) -> list[Refusal]:
    """Return that there is no such model, if so, whatever else is wrong with a row; nothing where `besides` says it."""
    try:
        if row.model:
            _model(estate, row)
    except Refusal as refusal:
        return [refusal] if besides is None or besides.reason != refusal.reason else []
    return []


def _model(estate: Estate, row: Row) -> TerminalModel:
    if row.model not in estate.models:
        known = ", ".join(sorted(estate.models)[:10])
        raise Refusal("unknown_model", "there is no model %(model)s; known are %(known)s", model=row.model, known=known)
    return estate.models[row.model]


def _check_allowed(estate: Estate, what: str, path: str) -> None:
    if not estate.covers(path, NEEDS[what]):
        raise Refusal("not_allowed", "you may not add a %(what)s there", what=what)


def _check_same(**pairs: tuple[str, str]) -> None:
    """Raise Refusal where what a row says of something differs from what stands; an empty cell says nothing."""
    for name, (said, stands) in pairs.items():
        if said and said != stands:
            raise Refusal(
                "differs",
                "%(column)s is %(stands)s on the books; an import changes nothing, edit it there",
                column=name,
                stands=stands or "-",
            )


def _path_of(merchant: Merchant) -> str:
    """Return where a merchant stands, or will stand."""
    return merchant.path or (merchant.organisation.path if merchant.organisation else "")


def _merchant(estate: Estate, row: Row) -> Merchant:
    """Return the merchant that a row names, as it stands or as it would be made."""
    if row.organisation and row.organisation not in estate.organisations:
        raise Refusal("unknown_organisation", "there is no organisation %(name)s", name=row.organisation)
    found = estate.merchants.get(row.merchant)
    if found is None:
        return _new_merchant(estate, row)
    if not estate.covers(_path_of(found), SEEN["merchant"]):
        raise _merchant_taken(row)
    organisation = found.organisation.name if found.organisation else ""
    _check_same(mid=(row.mid, found.mid), organisation=(row.organisation, organisation))
    return found


def _merchant_taken(row: Row) -> Refusal:
    return Refusal("merchant_taken", "another merchant has the name or the MID of %(name)s", name=row.merchant)


def _new_merchant(estate: Estate, row: Row) -> Merchant:
    if not row.mid:
        raise Refusal("unknown_merchant", "there is no merchant %(name)s; a new one needs its MID", name=row.merchant)
    if row.mid in estate.by_mid:
        raise _merchant_taken(row)
    organisation = estate.organisations.get(row.organisation)
    _check_allowed(estate, "merchant", organisation.path if organisation else "")
    return Merchant(name=row.merchant, mid=row.mid, organisation=organisation)


def _store(estate: Estate, row: Row, merchant: Merchant) -> Store:
    found = estate.stores.get((merchant.name, row.store))
    if found is None:
        _check_allowed(estate, "store", _path_of(merchant))
        return Store(merchant=merchant, name=row.store, city=row.city, time_zone=row.time_zone or DEFAULT_ZONE)
    _check_same(city=(row.city, found.city), time_zone=(row.time_zone, found.time_zone))
    return found


def _terminal(estate: Estate, row: Row, store: Store) -> Terminal:
    model = _model(estate, row)
    device_id = device_id_for(row.serial)
    found = estate.terminals.get(device_id)
    if found is not None:
        return _same_terminal(estate, row, found, store, model)
    _check_allowed(estate, "terminal", store.path or _path_of(store.merchant))
    if row.tid and (store.merchant.name, store.name, row.tid) in estate.tids:
        raise Refusal("tid_taken", "another terminal of the store has the TID %(tid)s", tid=row.tid)
    return Terminal(serial=row.serial, device_id=device_id, model=model, store=store, tid=row.tid)


def _same_terminal(estate: Estate, row: Row, found: Terminal, store: Store, model: TerminalModel) -> Terminal:
    """Return a terminal that is on the books just as a row says; raise Refusal for any other."""
    seen = not is_new(found) and estate.covers(found.path, SEEN["terminal"])
    if not seen or found.serial != row.serial or found.state == TerminalState.RETIRED:
        raise Refusal(
            "serial_taken",
            "%(serial)s is on the books, or twice in the list; case and signs do not count",
            serial=row.serial,
        )
    _check_same(
        store=(str(store), str(found.store)),
        model=(str(model), str(found.model)),
        tid=(row.tid, found.tid),
        terminal_mid=(row.terminal_mid, found.mid),
        tags=("; ".join(sorted(row.tags)), "; ".join(sorted(found.tags))),
    )
    return found
