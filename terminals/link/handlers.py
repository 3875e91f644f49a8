"""What the link itself does with messages: parse, refuse what does not fit, and delegate."""

from collections import defaultdict
from collections.abc import Iterable
from typing import cast
from uuid import UUID

from terminals.common.errors import Refusal
from terminals.link import outcomes, sessions
from terminals.link.models import Command
from terminals.link.protocol.messages.link import Hello, Presence, Result
from terminals.link.protocol.states import CommandState, last_word
from terminals.link.routes import Outcome, Received, RefusedMessage
from terminals.link.sessions import Boot

BOOTS_AT_ONCE = 3  # each costs a few statements, and neighbours wait


def on_hello(messages: list[Received]) -> list[RefusedMessage]:
    """Open sessions and offer open commands again (the broker may have lost them); refuse a foreign serial."""
    wrong = Refusal("wrong_serial", "hello names another serial than the terminal's certificate")
    refused = [RefusedMessage(m, wrong) for m in messages if cast(Hello, m.body).serial != m.sender.serial]
    foreign = {id(message) for message, _ in refused}  # not by message id: another terminal may have chosen the same
    now, waiting = messages[-1].received_at, set[int]()
    for hellos in _boot_by_boot(m for m in messages if id(m) not in foreign):
        waiting |= sessions.open_sessions(hellos, now)
    if waiting:
        outcomes.offer_again(waiting, now)
    return refused


def _boot_by_boot(messages: Iterable[Received]) -> list[dict[int, tuple[str, bool | None]]]:
    """Return hellos (terminal id -> boot id, locked or not said), of each terminal one boot at a time: two devices with one
    identity show by it, though what they said came together. Of more than BOOTS_AT_ONCE the last ones count as one."""
    rounds: list[dict[int, tuple[str, bool | None]]] = []
    at: dict[int, int] = {}
    for message in messages:
        said = (message.envelope.boot_id, cast(Hello, message.body).locked)
        number = at.get(message.terminal_id, 0)
        another = number < len(rounds) and rounds[number].get(message.terminal_id, said)[0] != said[0]
        if another and number + 1 < BOOTS_AT_ONCE:
            number += 1
        if number == len(rounds):
            rounds.append({})
        rounds[number][message.terminal_id] = said
        at[message.terminal_id] = number
    return rounds


def on_presence(messages: list[Received]) -> None:
    """Take last wills."""
    gone = [Boot(m.terminal_id, m.envelope.boot_id) for m in messages if cast(Presence, m.body).state == "offline"]
    sessions.leave_sessions(gone, messages[-1].received_at)


def on_lock_outcomes(ended: list[Outcome], *, locked: bool) -> None:
    """Note which terminals are locked, or no longer."""
    done = [outcome.terminal_id for outcome in ended if outcome.state == CommandState.SUCCEEDED]
    sessions.note_locked(done, locked=locked)


def on_result(messages: list[Received]) -> list[RefusedMessage]:
    """Advance commands by what their terminals say; a result for a command that is not the terminal's is refused."""
    named = {cast(Result, message.body).command_id for message in messages}
    known = set(Command.objects.filter(pk__in=named).values_list("terminal_id", "id"))
    by_command: dict[tuple[int, UUID], list[Result]] = defaultdict(list)
    refused = []
    for message in messages:
        result = cast(Result, message.body)
        if (message.terminal_id, result.command_id) in known:
            by_command[message.terminal_id, result.command_id].append(result)
        else:
            refusal = Refusal(
                "unknown_command", "no command %(command)s was made for this terminal", command=result.command_id
            )
            refused.append(RefusedMessage(message, refusal))
    chosen = [
        (terminal_id, last_word((result, result.state) for result in results))
        for (terminal_id, _), results in by_command.items()
    ]
    outcomes.advance_commands([(terminal_id, result) for terminal_id, result in chosen if result is not None])
    return refused
