"""What terminals run, and how installations go on them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone
from psycopg.types.json import Jsonb

from firmware import moving
from firmware.facts import InstallationEnded, NotReported, NotRunning
from firmware.models import Installation, InstalledSoftware
from firmware.rules import OPEN, InstallationState, InstallationTransition, outcome_of_command
from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.link.facts import failure_reason
from terminals.link.routes import Outcome

TIME_TO_RESTART = timedelta(minutes=15)


# Raw: an UPDATE ... FROM that returns what it changed. What a terminal said that it installed and, well after it, does not
# report: its latest of a package only.
NOT_RUNNING = """
UPDATE firmware_installation i
   SET state = %(failed)s, reasons = %(why)s
  FROM firmware_release r JOIN firmware_package p ON p.id = r.package_id
 WHERE r.id = i.release_id AND i.terminal_id = ANY(%(ids)s) AND i.state = %(installed)s AND i.finished_at < %(before)s
   AND NOT EXISTS (SELECT 1 FROM firmware_installedsoftware s
                    WHERE s.terminal_id = i.terminal_id AND s.component = p.component AND s.version = r.version)
   AND NOT EXISTS (SELECT 1 FROM firmware_installation n JOIN firmware_release nr ON nr.id = n.release_id
                      JOIN firmware_package np ON np.id = nr.package_id AND np.component = p.component
                    WHERE n.terminal_id = i.terminal_id AND n.id > i.id)
RETURNING i.terminal_id, r.version, p.component
"""


def report_software(software: Mapping[int, Mapping[str, str]], now: datetime) -> None:
    """Replace what terminals run (terminal id -> component -> version), and note what was installed and does not run."""
    _keep_reported(software, now)
    parameters: dict[str, Any] = {
        "ids": sorted(software),
        "before": now - TIME_TO_RESTART,
        "installed": InstallationState.INSTALLED,
        "failed": InstallationTransition.not_running.target,
        "why": Jsonb([NotReported().stored()]),
    }
    with connection.cursor() as cursor:
        cursor.execute(NOT_RUNNING, parameters)
        lost = cursor.fetchall()
    record_facts((terminal_id, NotRunning(version=version)) for terminal_id, version, _component in lost)
    moving.report_lost(lost)
    moving.report_running(software)


def _keep_reported(software: Mapping[int, Mapping[str, str]], now: datetime) -> None:
    """Write what changed, which mostly is nothing. The caller holds the terminals."""
    rows = InstalledSoftware.objects.filter(terminal__in=id_set(software))
    known = {
        (terminal_id, component): (row_id, version)
        for row_id, terminal_id, component, version in rows.values_list("pk", "terminal_id", "component", "version")
    }
    told = {(pk, component): version for pk, said in software.items() for component, version in said.items()}
    if gone := known.keys() - told.keys():
        InstalledSoftware.objects.filter(pk__in=[known[key][0] for key in gone]).delete()
    changed = [
        InstalledSoftware(terminal_id=pk, component=component, version=version, reported_at=now)
        for (pk, component), version in sorted(told.items())
        if (pk, component) not in known or known[pk, component][1] != version
    ]
    if changed:
        key, said = ["terminal", "component"], ["version", "reported_at"]
        InstalledSoftware.objects.bulk_create(changed, update_conflicts=True, unique_fields=key, update_fields=said)


def report_component(terminal_id: int, component: str, version: str) -> None:
    """Note what a terminal runs of one component; of the others nothing was said. The caller holds the terminal."""
    InstalledSoftware.objects.update_or_create(
        terminal_id=terminal_id, component=component, defaults={"version": version, "reported_at": timezone.now()}
    )
    moving.report_running([terminal_id])


def reset_software(terminal: Terminal, public_key: object) -> dict[str, Any]:
    """A device that enrols runs nothing that we know, and had nothing: campaigns that follow bring it theirs."""
    forget_software([terminal.pk])
    move(Installation.objects.filter(terminal=terminal), InstallationTransition.replace)
    return {}


def forget_software(terminal_ids: Sequence[int]) -> None:
    """Terminals that left service for good run nothing that anybody counts."""
    InstalledSoftware.objects.filter(terminal__in=terminal_ids).delete()


def follow_commands(outcomes: Mapping[UUID, Outcome]) -> None:
    """Move installations with their commands. The version counts as running only when a hello reports it."""
    installations = list(
        Installation.objects.filter(command__in=outcomes, state__in=OPEN).select_related("release__package")
    )
    for installation in installations:
        _move(installation, outcomes[installation.command_id])  # type: ignore[index]  # filtered by command above
    Installation.objects.bulk_update(installations, ["state", "percent", "finished_at", "reasons"])
    record_facts(
        (one.terminal_id, InstallationEnded(release=str(one.release), state=one.state, reasons=one.reasons))
        for one in installations
        if one.finished_at
    )
    moving.report_ended(installations, outcomes)


def _move(installation: Installation, outcome: Outcome) -> None:
    result = outcome.result
    if not outcome.is_final:
        installation.state = InstallationTransition.progress.after(installation.state)
        installation.percent = (result.percent if result else None) or installation.percent
        return
    installation.state = outcome_of_command(outcome.state).after(installation.state)
    installation.finished_at = timezone.now()
    if installation.state == InstallationState.INSTALLED:
        installation.percent = 100
    else:
        installation.reasons = [failure_reason(outcome).stored()]
