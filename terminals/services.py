"""What operators do to the estate. Every function writes the change and its audit entry in one transaction."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection, models, transaction

from terminals import audit
from terminals.models import Store, Terminal, TerminalModel, TimelineEntry
from terminals.rules import ImpossibleTransition, device_id_for, source_states, target_state

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
    """Put a terminal on the books, in state `registered`; raise RuleBroken for an unusable serial.

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
    add_timeline([(terminal.pk, "state", f"registered by {actor}")])
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
            f"terminal {terminal.serial} is {terminal.state}; only {' or '.join(source_states(name))} ones can {name}"
        )
    detail = {"to": target_state(name), "reason": reason}
    audit.record(actor=actor, action=f"terminal.{name}", subject=subject_of(terminal), detail=detail)
    add_timeline([(terminal.pk, "state", f"{target_state(name)} by {actor}" + (f": {reason}" if reason else ""))])
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


def record_change(*, actor: str, action: str, instance: models.Model, detail: dict[str, Any]) -> None:
    """Audit a plain create, update or delete of an object that has no verb of its own."""
    audit.record(actor=actor, action=action, subject=subject_of(instance), detail=detail)


def add_timeline(entries: Iterable[tuple[int, str, str]]) -> None:
    """Append (terminal id, kind, text) lines to terminals' timelines."""
    TimelineEntry.objects.bulk_create(
        TimelineEntry(terminal_id=terminal_id, kind=kind, text=text[:300]) for terminal_id, kind, text in entries
    )


def subject_of(instance: models.Model) -> str:
    """Return the name by which the audit knows an object: `terminal:SN-1`, `merchant:7`."""
    key = instance.serial if isinstance(instance, Terminal) else instance.pk
    return f"{instance._meta.model_name}:{key}"


def delete_in_chunks(statement: str, parameters: list[Any], *, seconds: float = 60) -> int:
    """Repeat a DELETE of a limited number of rows until none is left or the time is over; return how many went.

    Each round is a transaction of its own, so that nobody waits for the whole.
    """
    deleted, deadline = 0, time.monotonic() + seconds
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(statement, parameters)
            deleted += cursor.rowcount
            if cursor.rowcount <= 0:
                break
    return deleted
