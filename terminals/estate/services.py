"""What operators do to the estate. Every function writes the change and its audit entry in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from django.db import connection, models, transaction

from terminals.common import transitions
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_fact_of_many, record_facts
from terminals.common.states import Transition
from terminals.estate.facts import StateChanged, TerminalEdited
from terminals.estate.models import Store, Terminal, TerminalGroup
from terminals.estate.rules import (
    ImpossibleTransition,
    TerminalState,
    TerminalTransition,
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
Ids = Sequence[int]
Refusals = Mapping[int, Refusal]


@dataclass
class TransitionHooks:
    """What features ask and do when a terminal moves by a named transition; filled by the project (fleet/joints.py).

    `before` may refuse it to some (it gets the terminals' ids, what the operator writes off, and the operator's name, and
    returns id -> Refusal), `after` gets the ids of those that moved. `before_move` may
    refuse to some that they stand in another store.
    """

    before: dict[Transition[TerminalState], list[Callable[[Ids, WriteOff, str], Refusals]]] = field(
        default_factory=dict
    )
    after: dict[Transition[TerminalState], list[Callable[[Ids], object]]] = field(default_factory=dict)
    before_move: list[Callable[[Ids, Store], Refusals]] = field(default_factory=list)


hooks = TransitionHooks()
# Who must know when a store's clock is changed (they get its id); filled by the project.
on_store_clock: list[Callable[[int], object]] = []
# Who must know when terminals move to another store (they get their ids); filled by the project.
on_move: list[Callable[[Ids], object]] = []
# What a new device takes over from the one that it replaces (they get the old one's id, the new one's and who
# does it), while both are in service; filled by the project.
on_replace: list[Callable[[int, int, str], object]] = []


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
            follow([terminal.pk])


def refuse_move(terminal_ids: Ids, store: Store) -> dict[int, Refusal]:
    """Return why terminals cannot stand in another store, of those that cannot."""
    refused: dict[int, Refusal] = {}
    for ask in hooks.before_move:
        refused |= ask(terminal_ids, store)
    return refused


def record_members(group: TerminalGroup, before: Iterable[int], *, actor: str) -> None:
    """Audit who came into a group of named terminals and who left it, in the transaction that did it."""
    old, new = set(before), set(group.members.values_list("pk", flat=True))
    if old != new:
        detail = {"added": sorted(new - old), "removed": sorted(old - new)}
        audit.record(actor=actor, action="terminalgroup.members", subject=subject_of(group), detail=detail)


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


# Raw: as above, of the strength that the inbox takes.
HOLD_ALONE = "SELECT id FROM terminals_terminal WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"


def hold_alone(terminal_ids: Iterable[int]) -> None:
    """Keep everybody else from what is worked out of terminals' messages until the transaction ends: their inbox waits, and so
    does whoever else holds them alone. For short work that must not cross with what terminals report."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD_ALONE, [sorted(set(terminal_ids))])


@transaction.atomic
def change_state(
    *,
    terminal: Terminal,
    transition: Transition[TerminalState],
    actor: str,
    reason: str = "",
    write_off: WriteOff = NOTHING,
) -> Terminal:
    """Move one terminal by a named transition, with its audit entry.

    `write_off` lets a terminal retire though money in its open batches will never be settled; who asked (`hooks.before`)
    audits it. Raises Refusal, and changes nothing, where a hook refuses it or its state is none that the transition leaves.
    """
    before = Terminal.objects.select_for_update().get(pk=terminal.pk).state
    moved = change_states(
        terminal_ids=[terminal.pk], transition=transition, actor=actor, reason=reason, write_off=write_off
    )
    for refusal in moved.values():
        terminal.refresh_from_db(fields=["state"])
        raise refusal
    detail = {"from": before, "to": transition.target.value, "reason": reason}
    audit.record(actor=actor, action=f"terminal.{transition.name}", subject=subject_of(terminal), detail=detail)
    terminal.refresh_from_db()
    return terminal


@transaction.atomic
def change_states(
    *,
    terminal_ids: Ids,
    transition: Transition[TerminalState],
    actor: str,
    reason: str = "",
    write_off: WriteOff = NOTHING,
) -> dict[int, Refusal]:
    """Move terminals by a named transition, set-based; return those that could not, and why. Whoever calls it audits it.

    The rows are locked first, as the inbox does: no money is recorded between the question and the move.
    """
    rows = {row.pk: row for row in Terminal.objects.filter(pk__in=terminal_ids).order_by("pk").select_for_update()}
    refused: dict[int, Refusal] = {}
    for ask in hooks.before.get(transition, ()):
        refused |= ask([pk for pk in rows if pk not in refused], write_off, actor)
    refused |= {
        pk: _impossible(row, transition)
        for pk, row in rows.items()
        if pk not in refused and not transition.leaves(row.state)
    }
    fit = [pk for pk in rows if pk not in refused]
    if fit:
        move(Terminal.objects.filter(pk__in=fit), transition)
        record_fact_of_many(fit, StateChanged(to=transition.target.value, by=actor, reason=reason))
        for follow in hooks.after.get(transition, ()):
            follow(fit)
    return refused


def _impossible(terminal: Terminal, transition: Transition[TerminalState]) -> ImpossibleTransition:
    return ImpossibleTransition(
        "impossible_transition",
        "terminal %(serial)s is %(state)s; only %(states)s ones can %(verb)s",
        serial=terminal.serial,
        state=terminal.state,
        states=transition.sources,
        verb=transition.name,
    )


@transaction.atomic
def move_terminals(*, terminal_ids: Ids, store: Store, actor: str) -> None:
    """Put terminals into another store, set-based; whoever calls it audits it. Their TIDs must be free there."""
    moving = Terminal.objects.filter(pk__in=terminal_ids).exclude(store=store)
    ids = sorted(moving.values_list("pk", flat=True))
    moving.update(store=store, updated_at=models.functions.Now())
    record_fact_of_many(ids, TerminalEdited(by=actor, fields=["store"]))
    for follow in on_move:
        follow(ids)


@transaction.atomic
def tag_terminals(*, terminal_ids: Ids, tag: str, tagged: bool, actor: str) -> None:
    """Give terminals a tag, or take it from them, set-based; whoever calls it audits it."""
    has = models.Q(tags__contains=[tag])
    changing = Terminal.objects.filter(pk__in=terminal_ids).filter(~has if tagged else has)
    ids = sorted(changing.values_list("pk", flat=True))
    change = models.Func(models.F("tags"), models.Value(tag), function="array_append" if tagged else "array_remove")
    changing.update(tags=change, updated_at=models.functions.Now())
    record_fact_of_many(ids, TerminalEdited(by=actor, fields=["tags"]))


def move(terminals: models.QuerySet[Terminal], transition: Transition[TerminalState]) -> int:
    """Apply a named transition to every terminal of the set that may take it; return how many moved."""
    return transitions.move(terminals, transition, updated_at=models.functions.Now())
