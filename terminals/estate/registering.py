"""Registering terminals: each row is judged for itself, what fits is put on the books together, set-based."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from django.db import connection, transaction
from django.db.models import QuerySet, Value

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_fact_of_many
from terminals.estate.facts import TerminalRegistered
from terminals.estate.models import Store, Terminal, TerminalModel
from terminals.estate.rules import TerminalState, check_identifier, check_tags, check_terminal, device_id_for

MOST = 1000


class Row(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
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


@transaction.atomic(savepoint=False)
def register_terminal(
    *,
    serial: str,
    model: TerminalModel,
    store: Store,
    actor: str,
    tid: str = "",
    mid: str = "",
    tags: Iterable[str] = (),
) -> Terminal:
    """Put a terminal on the books, in state `registered`; raise Refusal for an unusable serial or TID, or a taken one."""
    row = {"serial": serial, "model": model.pk, "store": store.pk, "tid": tid, "mid": mid, "tags": list(tags)}
    done = register_terminals([row], stores=Store.objects.all(), models=TerminalModel.objects.all(), actor=actor)
    for refusal in done.refused.values():
        raise refusal
    terminal = done.made[0]
    terminal.model, terminal.store = model, store
    return terminal


@transaction.atomic(savepoint=False)
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
    fit = {place: row for place, row in wanted.items() if place not in refused}
    made = _insert(fit) if fit else {}
    refused |= _taken({place: row for place, row in fit.items() if place not in made})
    if made:
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


def _unknown(wanted: Mapping[int, Row], stores: QuerySet[Any], models: QuerySet[Any]) -> dict[int, Refusal]:
    """Return the rows that name a store or a model that the actor has not."""
    of_stores = stores.order_by().filter(pk__in={row.store for row in wanted.values()})
    of_models = models.order_by().filter(pk__in={row.model for row in wanted.values()})
    both = (of_one.annotate(kind=Value(kind)) for kind, of_one in (("store", of_stores), ("model", of_models)))
    first, second = (of_one.values_list("kind", "pk") for of_one in both)
    known = set(first.union(second, all=True))
    refused = {}
    for place, row in wanted.items():
        if ("store", row.store) not in known:
            refused[place] = Refusal("unknown_store", "there is no store %(store)s", store=row.store)
        elif ("model", row.model) not in known:
            refused[place] = Refusal("unknown_model", "there is no model %(model)s", model=row.model)
    return refused


# Raw: bulk_create takes four times as long (bench/bulk.py). What another terminal or an earlier row has in the way is left out.
# In the order of the device ids, so that two lists wait for each other and do not deadlock; of two rows with one TID the first
# by that order is made.
INSERT = """
INSERT INTO terminals_terminal
       (serial, device_id, model_id, store_id, tid, mid, tags, state, public_key_pem, path, updated_at)
SELECT serial, device_id, model, store, tid, mid, tags, %s, '', '', now()
  FROM jsonb_to_recordset(%s::jsonb) AS row
       (place int, serial text, device_id text, model bigint, store bigint, tid text, mid text, tags text[])
 ORDER BY device_id, place ON CONFLICT DO NOTHING
RETURNING id, serial, device_id, model_id, store_id, tid, mid, tags, state, path, registered_at
"""


def _insert(rows: Mapping[int, Row]) -> dict[int, Terminal]:
    """Return the terminals that could be made, by their rows' places."""
    told = [
        {"place": place, "device_id": device_id_for(row.serial)} | msgspec.to_builtins(row)
        for place, row in rows.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [TerminalState.REGISTERED.value, msgspec.json.encode(told).decode()])
        names = [column.name for column in cursor.description or ()]
        made = [Terminal(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
    for terminal in made:
        terminal._state.adding, terminal._state.db = False, connection.alias
    by_key = {(terminal.serial, terminal.store_id, terminal.tid): terminal for terminal in made}
    # Of rows that are alike the first is the one that was made.
    return {
        place: by_key.pop(key) for place, row in rows.items() if (key := (row.serial, row.store, row.tid)) in by_key
    }


def _taken(left_out: Mapping[int, Row]) -> dict[int, Refusal]:
    """Return why rows could not be made: another terminal, or an earlier row, has the serial (by its device id) or the TID."""
    if not left_out:
        return {}
    names = {place: device_id_for(row.serial) for place, row in left_out.items()}
    ids = set(Terminal.objects.filter(device_id__in=names.values()).values_list("device_id", flat=True))
    refused = {}
    for place, row in left_out.items():
        if names[place] in ids:
            refused[place] = Refusal(
                "serial_taken",
                "%(serial)s is on the books, or twice in the list; case and signs do not count",
                serial=row.serial,
            )
        else:
            refused[place] = Refusal("tid_taken", "another terminal of the store has the TID %(tid)s", tid=row.tid)
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
