"""Writing parameter versions and sending them to terminals."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.parameters import Configure
from terminals.link.services import CommandRequest, create_commands, supersede_commands, target_of
from terminals.parameters import rules
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
    chosen = list(terminals)
    body = Configure(name=version.name, version=version.version, parameters=version.parameters)
    requests = [CommandRequest(target_of(terminal), "configure", body, VALID_FOR) for terminal in chosen]
    supersede_commands([terminal.pk for terminal in chosen], ["configure"])
    commands = create_commands(requests, requested_by=actor)
    now = timezone.now()
    TerminalParameters.objects.bulk_create(
        [
            TerminalParameters(
                terminal=terminal, wanted=version, state=rules.ParameterState.PENDING, command=command, changed_at=now
            )
            for terminal, command in zip(chosen, commands, strict=True)
        ],
        update_conflicts=True,
        unique_fields=["terminal"],
        update_fields=["wanted", "state", "command", "changed_at"],
    )
    audit.record_many(
        actor=actor, action="parameters.send", subjects=map(subject_of, chosen), detail={"name": str(version)}
    )
    return len(chosen)
