"""Replacing a device in one step: the new one takes over the old one's place and work, the old one retires."""

from django.db import transaction

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.facts.services import record_facts
from terminals.estate.facts import Replaced, Replaces
from terminals.estate.models import Terminal, TerminalModel
from terminals.estate.registering import check_serial_free, register_terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import NOTHING, WriteOff, change_state, on_replace

REPLACE = "terminals.replace_terminal"  # what replacing a device needs


@transaction.atomic
def replace_terminal(
    *, terminal: Terminal, serial: str, actor: str, model: TerminalModel | None = None, write_off: WriteOff = NOTHING
) -> Terminal:
    """Return the new terminal, registered at the old one's store with its TID, MID, tags, groups and what features hand over.

    The old one retires, with all that follows (its certificate is revoked, its keys are destroyed); money that it has not
    settled must be written off, as when it retires. Raises Refusal, with nothing changed, where the serial is taken or the old
    one may not retire.
    """
    check_serial_free(serial)
    old = Terminal.objects.select_for_update(of=("self",)).select_related("model", "store").get(pk=terminal.pk)
    new = register_terminal(serial=serial, model=model or old.model, store=old.store, mid=old.mid, actor=actor)
    new.groups.set(old.groups.all())
    for take_over in on_replace:
        take_over(old.pk, new.pk, actor)
    change_state(
        terminal=old,
        transition=TerminalTransition.retire,
        actor=actor,
        reason=f"replaced by {serial}",
        write_off=write_off,
    )
    # A TID is free once its holder has retired; the tags of one that works are not judged again.
    new.tid, new.tags, new.replaces = old.tid, old.tags, old
    new.save(update_fields=["tid", "tags", "replaces", "updated_at"])
    audit.record(actor=actor, action="terminal.replace", subject=subject_of(old), detail={"by": serial, "tid": old.tid})
    record_facts([(old.pk, Replaced(by=actor, serial=serial)), (new.pk, Replaces(by=actor, serial=old.serial))])
    terminal.refresh_from_db()
    return new


def predecessors(terminal: Terminal) -> list[int]:
    """Return the ids of a terminal and of those that it replaced, one after the other."""
    found = [terminal.pk]
    before = terminal.replaces_id
    while before is not None and before not in found:
        found.append(before)
        before = Terminal.objects.values_list("replaces_id", flat=True).get(pk=before)
    return found
