"""Writing parameter versions and sending them to terminals."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Max, Q
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.facts.services import record_facts
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.rules import COMMANDED_STATES
from terminals.link.protocol.messages.parameters import Configure
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome
from terminals.link.services import CommandRequest, Target, create_commands, supersede_commands, targets_of
from terminals.parameters import rules
from terminals.parameters.facts import ParametersAnswered
from terminals.parameters.models import ParameterVersion, TerminalParameters

SEND_PARAMETERS = "parameters.add_terminalparameters"  # what sending a version to terminals needs
VALID_FOR = timedelta(days=7)


@transaction.atomic
def publish_parameters(*, name: str, parameters: dict[str, Any], actor: str) -> ParameterVersion:
    """Write the next version of a named document; raise Refusal where it does not fit."""
    parameters = rules.checked(parameters)
    with connection.cursor() as cursor:  # two writers of the same name take turns
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"parameters:{name}"])
    latest = ParameterVersion.objects.filter(name=name).aggregate(latest=Max("version"))["latest"] or 0
    version = ParameterVersion.objects.create(name=name, version=latest + 1, parameters=parameters, created_by=actor)
    audit.record(actor=actor, action="parameters.publish", subject=subject_of(version), detail={"name": str(version)})
    return version


@transaction.atomic
def configure_terminals(*, terminals: Iterable[Terminal], version: ParameterVersion, actor: str) -> int:
    """Send a version to terminals; return how many. One that is still on its way is replaced."""
    chosen = list({terminal.pk: terminal for terminal in terminals}.values())
    send([(target, version) for target in targets_of(chosen)], requested_by=actor)
    audit.record_many(
        actor=actor, action="parameters.send", subjects=map(subject_of, chosen), detail={"name": str(version)}
    )
    return len(chosen)


def forget_parameters(terminal: Terminal, public_key: object) -> dict[str, Any]:
    """A device that enrols has no parameters, whatever the one before it had."""
    TerminalParameters.objects.filter(terminal=terminal).delete()
    return {}


def note_answers(answers: Mapping[UUID, Outcome]) -> None:
    """Note applied and refused versions, by command id; an answer to an older command than the last one changes nothing.

    A command that a newer one superseded is no news: what happens to the newer one is.
    """
    waiting = TerminalParameters.objects.filter(command__in=answers)
    told = list(waiting.select_related("wanted").select_for_update(of=("self",)).order_by("pk"))
    applied = [command_id for command_id, outcome in answers.items() if outcome.state == CommandState.SUCCEEDED]
    move(waiting.filter(command__in=applied), rules.ParameterTransition.apply, applied_id=F("wanted_id"))
    move(waiting.exclude(command__in=applied), rules.ParameterTransition.fail)
    outcomes = [(row, answers[cast(UUID, row.command_id)].state) for row in told]
    record_facts(
        (row.terminal_id, ParametersAnswered(outcome=outcome, version=str(row.wanted)))
        for row, outcome in outcomes
        if outcome != CommandState.CANCELLED
    )


def send_defaults(terminal_ids: Iterable[int]) -> None:
    """Send each terminal that never got parameters those of the device that it replaced, or else of its model."""
    lacking = Terminal.objects.filter(pk__in=terminal_ids, state__in=COMMANDED_STATES, parameters=None)
    known = lacking.filter(
        Q(model__default_parameters__isnull=False) | Q(replaces__parameters__isnull=False)
    ).select_related("model__default_parameters__version", "replaces__parameters__wanted")
    wanted = [(Target(terminal.pk, terminal.device_id), _first_version(terminal)) for terminal in known]
    if wanted:
        send(wanted, requested_by="terminal model")


def _first_version(terminal: Terminal) -> ParameterVersion:
    replaced = terminal.replaces
    if replaced is not None and hasattr(replaced, "parameters"):
        return replaced.parameters.wanted
    return terminal.model.default_parameters.version


def send(wanted: Sequence[tuple[Target, ParameterVersion]], *, requested_by: str) -> None:
    """Queue `configure` for each terminal and note what it shall have."""
    requests = [
        CommandRequest(target, "configure", Configure(v.name, v.version, v.parameters), VALID_FOR)
        for target, v in wanted
    ]
    supersede_commands([target.terminal_id for target, _ in wanted], ["configure"])
    commands = create_commands(requests, requested_by=requested_by)
    now, pending = timezone.now(), rules.ParameterState.PENDING
    TerminalParameters.objects.bulk_create(
        [
            TerminalParameters(
                terminal_id=target.terminal_id, wanted=version, state=pending, command=command, changed_at=now
            )
            for (target, version), command in zip(wanted, commands, strict=True)
        ],
        update_conflicts=True,
        unique_fields=["terminal"],
        update_fields=["wanted", "state", "command", "changed_at"],
    )
