"""What terminals run, how installations go, and the baseline for those who say hello with something else."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

import msgspec
from django.db import connection
from django.utils import timezone

from firmware import services
from firmware.facts import InstallationEnded, NotRunning
from firmware.models import Installation, Release
from firmware.rules import INSTALLATION, OPEN, InstallationState, outcome_of_command
from terminals.common.facts.services import record_facts
from terminals.estate.rules import COMMANDED_STATES
from terminals.link.protocol.messages.link import Hello
from terminals.link.routes import Outcome, Received
from terminals.link.services import Target

FORGET = """
DELETE FROM firmware_installedsoftware s
 WHERE s.terminal_id = ANY(%(ids)s)
   AND NOT EXISTS (SELECT 1 FROM json_to_recordset(%(told)s) AS r(terminal_id bigint, component text)
                    WHERE r.terminal_id = s.terminal_id AND r.component = s.component)
"""
REPORT = """
INSERT INTO firmware_installedsoftware AS s (terminal_id, component, version, reported_at)
SELECT DISTINCT ON (terminal_id, component) * FROM json_to_recordset(%s)
    AS r(terminal_id bigint, component text, version text, reported_at timestamptz)
 ORDER BY terminal_id, component, reported_at DESC
ON CONFLICT (terminal_id, component) DO UPDATE SET version = excluded.version, reported_at = excluded.reported_at
 WHERE s.version <> excluded.version
"""
# Terminals that lack their baseline, have nothing on its way, and have not already had this very release: one that was
# installed and is not reported, refused or failed would come again at each hello for ever.
LACKING = """
SELECT t.id, t.device_id, b.release_id
  FROM terminals_terminal t
  JOIN firmware_baseline b ON b.model_id = t.model_id
  JOIN firmware_release r ON r.id = b.release_id
  JOIN firmware_package p ON p.id = r.package_id
 WHERE t.id = ANY(%(ids)s) AND t.state = ANY(%(states)s)
   AND NOT EXISTS (SELECT 1 FROM firmware_installedsoftware s
                    WHERE s.terminal_id = t.id AND s.component = p.component AND s.version = r.version)
   AND NOT EXISTS (SELECT 1 FROM firmware_installation i
                    WHERE i.terminal_id = t.id
                      AND (i.state IN ('assigned', 'installing')
                           OR (i.release_id = r.id AND i.state IN ('installed', 'rejected', 'failed'))))
 ORDER BY t.id, b.id
"""
# What a terminal said that it installed and, well after it, does not report: its latest of a package only.
NOT_RUNNING = """
UPDATE firmware_installation i
   SET state = 'failed', reason = 'the terminal does not report this version as running'
  FROM firmware_release r JOIN firmware_package p ON p.id = r.package_id
 WHERE r.id = i.release_id AND i.terminal_id = ANY(%(ids)s) AND i.state = 'installed' AND i.finished_at < %(before)s
   AND NOT EXISTS (SELECT 1 FROM firmware_installedsoftware s
                    WHERE s.terminal_id = i.terminal_id AND s.component = p.component AND s.version = r.version)
   AND NOT EXISTS (SELECT 1 FROM firmware_installation n JOIN firmware_release nr ON nr.id = n.release_id
                    WHERE n.terminal_id = i.terminal_id AND nr.package_id = p.id AND n.id > i.id)
RETURNING i.terminal_id, r.version
"""
TIME_TO_RESTART = timedelta(minutes=15)


def on_hello(batch: list[Received]) -> None:
    """Note what terminals run and send each its model's baseline where it runs something else.

    A release that a terminal has had is not sent again by itself, whatever came of it; an operator assigns it anew.
    """
    _report(batch)
    parameters: dict[str, Any] = {
        "ids": [received.terminal_id for received in batch],
        "states": list(COMMANDED_STATES),
        "before": batch[-1].received_at - TIME_TO_RESTART,
    }
    with connection.cursor() as cursor:
        cursor.execute(NOT_RUNNING, parameters)
        record_facts((terminal_id, NotRunning(version=version)) for terminal_id, version in cursor.fetchall())
        cursor.execute(LACKING, parameters)
        lacking = {terminal_id: (device_id, release_id) for terminal_id, device_id, release_id in cursor.fetchall()}
    if lacking:
        releases = Release.objects.select_related("package").in_bulk({release_id for _, release_id in lacking.values()})
        services.install(
            [(Target(pk, device_id), releases[release_id]) for pk, (device_id, release_id) in lacking.items()],
            requested_by="baseline",
        )


def _report(batch: Iterable[Received]) -> None:
    """Replace what each terminal runs by what its latest hello of the batch says."""
    latest = {received.terminal_id: received for received in batch}
    rows = [
        {"terminal_id": pk, "component": component, "version": version, "reported_at": received.received_at}
        for pk, received in sorted(latest.items())
        for component, version in cast(Hello, received.body).software.items()
    ]
    with connection.cursor() as cursor:
        told = msgspec.json.encode(rows).decode()
        cursor.execute(FORGET, {"ids": sorted(latest), "told": told})
        cursor.execute(REPORT, [told])


def on_install_outcomes(batch: list[Outcome]) -> None:
    """Move installations with their commands. The version counts as running only when a hello reports it."""
    outcomes = {outcome.command_id: outcome for outcome in batch}
    installations = list(
        Installation.objects.filter(command__in=outcomes, state__in=OPEN).select_related("release__package")
    )
    for installation in installations:
        _move(installation, outcomes[installation.command_id])  # type: ignore[index]  # filtered by command above
    Installation.objects.bulk_update(installations, ["state", "percent", "finished_at", "reason"])
    record_facts(
        (
            installation.terminal_id,
            InstallationEnded(release=str(installation.release), state=installation.state, reason=installation.reason),
        )
        for installation in installations
        if installation.finished_at
    )


def _move(installation: Installation, outcome: Outcome) -> None:
    result = outcome.result
    if not outcome.is_final:
        installation.state = INSTALLATION.after(installation.state, "progress")
        installation.percent = (result.percent if result else None) or installation.percent
        return
    installation.state = INSTALLATION.after(installation.state, outcome_of_command(outcome.state))
    installation.finished_at = timezone.now()
    if installation.state == InstallationState.INSTALLED:
        installation.percent = 100
    else:
        words = (result.code, result.detail) if result else (outcome.state, None)
        installation.reason = ": ".join(word for word in words if word)
