"""What operators do to the estate. Every function writes the change and its audit entry in one transaction."""

from collections.abc import Callable, Iterable

from django.db import models, transaction

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.facts.services import record_facts
from terminals.estate.facts import StateChanged, TerminalRegistered
from terminals.estate.models import Store, Terminal, TerminalModel
from terminals.estate.rules import ImpossibleTransition, device_id_for, source_states, target_state

# What features do when a terminal leaves service for good (its id is given); filled by the project.
on_retired: list[Callable[[int], object]] = []


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


@transaction.atomic
def transition(*, terminal: Terminal, name: str, actor: str, reason: str = "") -> Terminal:
    """Move a terminal by a named transition of rules.TRANSITIONS.

    Raises ImpossibleTransition, and changes nothing, where the terminal is in no state that the transition leaves.
    """
    moved = move(Terminal.objects.filter(pk=terminal.pk), name)
    if not moved:
        terminal.refresh_from_db(fields=["state"])
        raise ImpossibleTransition(
            "impossible_transition",
            f"terminal {terminal.serial} is {terminal.state}; only {' or '.join(source_states(name))} ones can {name}",
        )
    detail = {"to": target_state(name), "reason": reason}
    audit.record(actor=actor, action=f"terminal.{name}", subject=subject_of(terminal), detail=detail)
    record_facts([(terminal.pk, StateChanged(to=target_state(name), by=actor, reason=reason))])
    if name == "retire":
        for leave in on_retired:
            leave(terminal.pk)
    terminal.refresh_from_db()
    return terminal


def move(terminals: models.QuerySet[Terminal], name: str) -> int:
    """Apply a named transition to every terminal of the set that may take it; return how many moved."""
    return terminals.filter(state__in=source_states(name)).update(
        state=target_state(name), updated_at=models.functions.Now()
    )
