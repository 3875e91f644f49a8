"""Registering terminals in lists: each row is judged for itself, what fits is put on the books together, set-based."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from django.db import transaction
from django.db.models import Q, QuerySet

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_fact_of_many
from terminals.estate.facts import TerminalRegistered
from terminals.estate.models import Store, Terminal, TerminalModel
from terminals.estate.rules import TerminalState, check_identifier, check_tags, check_terminal, device_id_for

MOST = 1000


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """A terminal to register: model and store by their ids."""

    serial: str
    model: int
    store: int
    tid: str = ""
    mid: str = ""
    tags: list[str] = []


class Registered(NamedTuple):
    """What came of the rows, by their place in the list."""

    made: dict[int, Terminal]
    refused: dict[int, Refusal]


@transaction.atomic
def register_terminals(
    rows: Sequence[object], *, stores: QuerySet[Store], models: QuerySet[TerminalModel], actor: str
) -> Registered:
    """Put terminals on the books, in state `registered`, each with its audit entry; a fixed number of statements.

    `stores` and `models` are those that the actor may use. A row that does not fit is left out, with the reason.
    """
    refused: dict[int, Refusal] = {}
    wanted: dict[int, Row] = {}
    for place, row in enumerate(rows):
        try:
            wanted[place] = _read(row)
        except Refusal as refusal:
            refused[place] = refusal
    refused |= _unknown(wanted, stores, models)
    refused |= _taken({place: row for place, row in wanted.items() if place not in refused})
    fit = {place: row for place, row in wanted.items() if place not in refused}
    made = dict(zip(fit, Terminal.objects.bulk_create(map(_terminal, fit.values())), strict=True))
    audit.record_each(
        actor=actor,
        action="terminal.register",
        entries=((subject_of(terminal), msgspec.to_builtins(fit[place])) for place, terminal in made.items()),
    )
    record_fact_of_many((terminal.pk for terminal in made.values()), TerminalRegistered(by=actor))
    return Registered(made, refused)


def _read(row: object) -> Row:
    try:
        read = msgspec.convert(row, Row)
    except msgspec.ValidationError as error:
        raise Refusal("bad_row", "%(error)s", error=error) from None
    check_terminal(read.serial, read.tid, read.mid)
    check_tags(read.tags)
    return read


def _terminal(row: Row) -> Terminal:
    return Terminal(
        serial=row.serial,
        device_id=device_id_for(row.serial),
        model_id=row.model,
        store_id=row.store,
        tid=row.tid,
        mid=row.mid,
        tags=row.tags,
    )


def _unknown(wanted: Mapping[int, Row], stores: QuerySet[Any], models: QuerySet[Any]) -> dict[int, Refusal]:
    """Return the rows that name a store or a model that the actor has not."""
    known_stores = set(stores.filter(pk__in={row.store for row in wanted.values()}).values_list("pk", flat=True))
    known_models = set(models.filter(pk__in={row.model for row in wanted.values()}).values_list("pk", flat=True))
    refused = {}
    for place, row in wanted.items():
        if row.store not in known_stores:
            refused[place] = Refusal("unknown_store", "there is no store %(store)s", store=row.store)
        elif row.model not in known_models:
            refused[place] = Refusal("unknown_model", "there is no model %(model)s", model=row.model)
    return refused


def _taken(wanted: Mapping[int, Row]) -> dict[int, Refusal]:
    """Return the rows whose serial (by its device id), or TID in its store, another terminal or an earlier row has."""
    names = {place: device_id_for(row.serial) for place, row in wanted.items()}
    there = Q(tid__in={row.tid for row in wanted.values()} - {""}, store__in={row.store for row in wanted.values()})
    ids = set(Terminal.objects.filter(device_id__in=names.values()).values_list("device_id", flat=True))
    in_use = Terminal.objects.filter(there).exclude(state=TerminalState.RETIRED)
    tids = set(in_use.values_list("store_id", "tid"))
    refused = {}
    for place, row in wanted.items():
        if names[place] in ids:
            refused[place] = Refusal(
                "serial_taken", "%(serial)s is on the books, or twice in the list", serial=row.serial
            )
        elif row.tid and (row.store, row.tid) in tids:
            refused[place] = Refusal("tid_taken", "another terminal of the store has the TID %(tid)s", tid=row.tid)
        else:
            ids.add(names[place])
            tids.add((row.store, row.tid))
    return refused


def check_serial_free(serial: str) -> None:
    """Raise Refusal where a serial is none, or a terminal has it, or one that makes the same device id."""
    if Terminal.objects.filter(device_id=device_id_for(serial)).exists():
        raise Refusal("serial_taken", "a terminal with the serial %(serial)s is on the books already", serial=serial)


def check_tid_free(store: Store, tid: str) -> None:
    """Raise Refusal where a TID is none, or a terminal in service at the store has it."""
    check_identifier(tid)
    in_use = Terminal.objects.exclude(state=TerminalState.RETIRED)
    if tid and in_use.filter(store=store, tid=tid).exists():
        raise Refusal("tid_taken", "another terminal of the store has the TID %(tid)s", tid=tid)


def change_serial(terminal: Terminal, serial: str) -> None:
    """Let a device of another serial be a terminal that never enrolled; the caller holds it and audits it."""
    check_serial_free(serial)
    terminal.serial, terminal.device_id = serial, device_id_for(serial)
    terminal.save(update_fields=["serial", "device_id", "updated_at"])
