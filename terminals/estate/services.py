"""What operators do to the estate. Every function writes the change and its audit entry in one transaction."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from django.db import connection, models, transaction

from terminals.common import transitions
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.facts.services import record_facts
from terminals.common.states import Transition
from terminals.estate.facts import StateChanged, TerminalEdited, TerminalRegistered
from terminals.estate.models import Store, Terminal, TerminalModel
from terminals.estate.rules import (
    ImpossibleTransition,
    TerminalState,
    TerminalTransition,
    check_identifier,
    device_id_for,
)

# What each verb needs; page, admin and API ask the same.
REGISTER = "terminals.add_terminal"
TRANSITION_PERMISSIONS = {
    TerminalTransition.suspend: "terminals.suspend_terminal",
    TerminalTransition.resume: "terminals.suspend_terminal",
    TerminalTransition.retire: "terminals.retire_terminal",
}


# The money that an operator agrees to lose: minor units by currency, as they were shown.
WriteOff = Mapping[str, int]
NOTHING: WriteOff = MappingProxyType({})


@dataclass
class TransitionHooks:
    """What features ask and do when a terminal moves by a named transition; filled by the project (fleet/joints.py).

    `before` may refuse it (it gets the terminal, what the operator writes off, and the operator's name),
    `after` gets the terminal's id.
    """

    before: dict[Transition[TerminalState], list[Callable[[Terminal, WriteOff, str], object]]] = field(
        default_factory=dict
    )
    after: dict[Transition[TerminalState], list[Callable[[int], object]]] = field(default_factory=dict)


hooks = TransitionHooks()
# Who must know when a store's clock is changed (they get its id); filled by the project.
on_store_clock: list[Callable[[int], object]] = []
# Who must know when a terminal moves to another store (they get its id); filled by the project.
on_move: list[Callable[[int], object]] = []


@transaction.atomic
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
    """Put a terminal on the books, in state `registered`; raise Refusal for an unusable serial.

    A duplicate serial is the database's refusal (IntegrityError), which forms and the API turn into words.
    """
    check_identifier(tid)
    check_identifier(mid)
    terminal = Terminal.objects.create(
        serial=serial, device_id=device_id_for(serial), model=model, store=store, tid=tid, mid=mid, tags=list(tags)
    )
    audit.record(
        actor=actor,
        action="terminal.register",
        subject=subject_of(terminal),
        detail={"store": store.pk, "model": model.pk, "tid": tid, "mid": mid, "tags": list(tags)},
    )
    record_facts([(terminal.pk, TerminalRegistered(by=actor))])
    return terminal


def follow_clock(store: Store, before: str) -> None:
    """Tell those who go by a store's time zone, where it was changed."""
    if store.time_zone != before:
        for follow in on_store_clock:
            follow(store.pk)


def note_edit(terminal: Terminal, old: Mapping[str, object], *, actor: str) -> None:
    """After an edit of a terminal in the same transaction: say on its timeline what was edited; if it moved to another
    store, tell those who go by the store's clock. `old` holds its columns before."""
    new = audit.values_of(terminal)
    edited = [name.removesuffix("_id") for name, value in new.items() if old.get(name, value) != value]
    if edited:
        record_facts([(terminal.pk, TerminalEdited(by=actor, fields=edited))])
    if "store" in edited:
        for follow in on_move:
            follow(terminal.pk)


class Held(NamedTuple):
    """A terminal as it is while it is held."""

    serial: str
    device_id: str
    state: str


# Raw: the ORM has no FOR KEY SHARE.
HOLD = "SELECT id, serial, device_id, state FROM terminals_terminal WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"


def hold(terminal_ids: Iterable[int]) -> dict[int, Held]:
    """Keep terminals in their states until the transaction ends; return them (id -> Held) as they are now.

    Whoever makes something for terminals does this before it locks anything else: the order is terminals, by id, then
    what is theirs. It waits for nobody but change_state and enrolment.
    """
    with connection.cursor() as cursor:
        cursor.execute(HOLD, [sorted(set(terminal_ids))])
        return {row[0]: Held(*row[1:]) for row in cursor.fetchall()}


@transaction.atomic
def change_state(
    *,
    terminal: Terminal,
    transition: Transition[TerminalState],
    actor: str,
    reason: str = "",
    write_off: WriteOff = NOTHING,
) -> Terminal:
    """Move a terminal by a named transition.

    `write_off` lets a terminal retire though money in its open batches will never be settled; who asked (`hooks.before`)
    audits it. The row is locked first, as the inbox does: no money is recorded between the question and the move.

    Raises ImpossibleTransition, and changes nothing, where the terminal is in no state that the transition leaves.
    """
    before = Terminal.objects.select_for_update().get(pk=terminal.pk).state
    for ask in hooks.before.get(transition, ()):
        ask(terminal, write_off, actor)
    moved = move(Terminal.objects.filter(pk=terminal.pk), transition)
    if not moved:
        terminal.refresh_from_db(fields=["state"])
        raise ImpossibleTransition(
            "impossible_transition",
            "terminal %(serial)s is %(state)s; only %(states)s ones can %(verb)s",
            serial=terminal.serial,
            state=terminal.state,
            states=transition.sources,
            verb=transition.name,
        )
    detail = {"from": before, "to": transition.target.value, "reason": reason}
    audit.record(actor=actor, action=f"terminal.{transition.name}", subject=subject_of(terminal), detail=detail)
    record_facts([(terminal.pk, StateChanged(to=transition.target.value, by=actor, reason=reason))])
    for follow in hooks.after.get(transition, ()):
        follow(terminal.pk)
    terminal.refresh_from_db()
    return terminal


def move(terminals: models.QuerySet[Terminal], transition: Transition[TerminalState]) -> int:
    """Apply a named transition to every terminal of the set that may take it; return how many moved."""
    return transitions.move(terminals, transition, updated_at=models.functions.Now())
