"""What terminals get: documents worked out for those that are due, sent where they differ, and drift that is mended.

Whoever changes something marks for whom (`mark_due`: one statement, however many); `run_due` goes through them a thousand at a
time. A change at the top of the tree so costs what it touches, and no page waits for it.
"""

import base64
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from terminals.common import vault
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_facts
from terminals.common.refusals import columns_of
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.rules import COMMANDED_STATES
from terminals.estate.services import hold
from terminals.link.outcomes import supersede_commands
from terminals.link.protocol.messages.parameters import Configure
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome
from terminals.link.services import CommandRequest, Target, create_commands
from terminals.parameters import rules
from terminals.parameters.effective import Effective, effective
from terminals.parameters.facts import ParametersAnswered, ParametersDrifted
from terminals.parameters.models import (
    ParameterDocument,
    ParametersDue,
    ParameterSet,
    TemplateVersion,
    TerminalParameters,
)
from terminals.parameters.rules import SEALED, ParameterState

logger = logging.getLogger(__name__)
VALID_FOR = timedelta(days=7)
CHUNK = 1000
MENDED_EVERY = timedelta(hours=1)  # of a terminal, whatever it says: or it could let itself be sent to for ever
ACTOR = "parameters changed"  # who asks for the command: nobody in particular
Protected = Mapping[int, Mapping[str, Any]]


@dataclass
class Protection:
    """Who seals secrets for the terminals that get them: terminal -> name -> clear text becomes terminal -> name -> sealed. One
    that holds no protection key is left out. Filled by the project."""

    protect: Callable[[Mapping[int, Mapping[str, str]]], Protected] = lambda secrets: {}


protection = Protection()

# Raw: the ORM has no INSERT ... SELECT. The row of one that is due already is locked, so that the worker, which takes it away
# before it reads values, waits until these are committed.
MARK = "INSERT INTO parameters_parametersdue (terminal_id, again) SELECT id, %s FROM"
MARKED = "AS due(id) ORDER BY id ON CONFLICT (terminal_id) DO UPDATE SET again = parameters_parametersdue.again OR excluded.again"


def mark_due(terminals: QuerySet[Terminal], *, again: bool = False) -> None:
    """Let terminals' parameters be worked out anew; `again` sends them though they are the same."""
    try:
        query, parameters = terminals.order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:
        return
    with connection.cursor() as cursor:
        cursor.execute(f"{MARK} ({query}) {MARKED}", [again, *parameters])


def follow_resumed(terminal_ids: Iterable[int]) -> None:
    """Terminals that are back in service get what was set while they took no commands."""
    mark_due(Terminal.objects.filter(pk__in=list(terminal_ids)))


def run_due(until: float) -> int:
    """Work out parameters of due terminals as long as there is time (`until` by the monotonic clock); return how many."""
    done = 0
    while time.monotonic() < until and (handled := send_due()):
        done += handled
    return done


@transaction.atomic
def send_due() -> int:
    """Work out the parameters of the next due terminals and send what differs; return how many were looked at."""
    first = ParametersDue.objects.order_by("terminal_id").values_list("terminal_id", flat=True)[:CHUNK]
    held = hold(list(first))
    due = ParametersDue.objects.filter(terminal__in=held).order_by("terminal_id").select_for_update()
    again = dict(due.values_list("terminal_id", "again"))
    ParametersDue.objects.filter(terminal__in=again).delete()
    fit = [pk for pk in again if held[pk].state in COMMANDED_STATES]
    wanted = effective(Terminal.objects.filter(pk__in=fit))
    problems = _problems(wanted)
    _note_invalid(problems)
    documents = _documents({pk: one for pk, one in wanted.items() if pk not in problems})
    present = dict(TerminalParameters.objects.filter(terminal__in=documents).values_list("terminal_id", "wanted_id"))
    invalid = TerminalParameters.objects.filter(terminal__in=documents, state=ParameterState.INVALID)
    recovered = set(invalid.values_list("terminal_id", flat=True))
    sending = {
        pk: document
        for pk, document in documents.items()
        if again[pk] or pk in recovered or present.get(pk) != document.pk
    }
    send({Target(pk, held[pk].device_id): document for pk, document in sending.items()})
    return len(again)


def _problems(wanted: Mapping[int, Effective]) -> dict[int, str]:
    """Return why documents do not fit their template, of those that do not; each different document is looked at once."""
    judged: dict[int, str] = {}
    for one in wanted.values():
        if id(one.values) not in judged and one.template.current is not None:
            judged[id(one.values)] = rules.problem_of(one.template.current.schema, one.values)
    return {pk: judged[id(one.values)] for pk, one in wanted.items() if judged.get(id(one.values))}


def _note_invalid(problems: Mapping[int, str]) -> None:
    if problems:
        supersede_commands(sorted(problems), ["configure"])
    now, rows = timezone.now(), []
    for pk, problem in problems.items():
        told = columns_of(Refusal("invalid", "the values do not fit together: %(why)s", why=problem))
        rows.append(TerminalParameters(terminal_id=pk, state=ParameterState.INVALID, changed_at=now, **told))
    TerminalParameters.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["terminal"],
        update_fields=["state", "reason", "template", "values", "changed_at"],
    )


def _documents(wanted: Mapping[int, Effective]) -> dict[int, ParameterDocument]:
    """Return the document of each terminal, made where nobody has it yet."""
    made: dict[tuple[int, str], ParameterDocument] = {}
    keys: dict[int, tuple[int, str]] = {}
    by_values: dict[int, tuple[int, str]] = {}
    for pk, one in wanted.items():
        if one.template.current is None:
            continue
        if id(one.values) not in by_values:
            version = one.template.current
            key = (version.pk, rules.digest_of(one.values))
            plain = rules.plain_digest(one.values, rules.sealed_in(one.values))
            made[key] = ParameterDocument(
                template_version=version, digest=key[1], plain_digest=plain, values=one.values
            )
            by_values[id(one.values)] = key
        keys[pk] = by_values[id(one.values)]
    ParameterDocument.objects.bulk_create(made.values(), ignore_conflicts=True)
    digests = [digest for _version, digest in made]
    stored = ParameterDocument.objects.select_related("template_version__template").filter(digest__in=digests)
    known = {(document.template_version_id, document.digest): document for document in stored}
    return {pk: known[key] for pk, key in keys.items()}


def send(wanted: Mapping[Target, ParameterDocument]) -> None:
    """Queue `configure` for each terminal and note what it shall have; one whose secrets cannot be sealed for it fails."""
    secrets = _clear_secrets(wanted)
    clear = {pk: texts for pk, texts in secrets.items() if texts is not None}
    protected = protection.protect(clear) if clear else {}
    unable = [target for target in wanted if target.terminal_id in secrets and target.terminal_id not in protected]
    able = {target: document for target, document in wanted.items() if target not in unable}
    bodies = {target: _body(document, protected.get(target.terminal_id, {})) for target, document in able.items()}
    supersede_commands([target.terminal_id for target in wanted], ["configure"])
    requests = [CommandRequest(target, "configure", body, VALID_FOR) for target, body in bodies.items()]
    commands = create_commands(requests, requested_by=ACTOR)
    pending, failed = {"state": ParameterState.PENDING}, {"state": ParameterState.FAILED, **NO_KEY}
    _note_wanted(
        [
            TerminalParameters(terminal_id=target.terminal_id, wanted=document, command=command, **pending)
            for (target, document), command in zip(able.items(), commands, strict=True)
        ]
        + [TerminalParameters(terminal_id=t.terminal_id, wanted=wanted[t], **failed) for t in unable]
    )


NO_KEY = columns_of(
    Refusal("no_protection_key", "a secret cannot be sealed for it: it has no protection key, or the vault's is gone")
)


def _note_wanted(rows: Sequence[TerminalParameters]) -> None:
    now = timezone.now()
    for row in rows:
        row.changed_at = now
    TerminalParameters.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["terminal"],
        update_fields=["wanted", "state", "command", "reason", "template", "values", "changed_at"],
    )


def _clear_secrets(wanted: Mapping[Target, ParameterDocument]) -> dict[int, dict[str, str] | None]:
    """Return the secrets of those documents that have any, open: terminal -> name -> clear text, None where one does not open."""
    opened = {document.pk: _opened(document) for document in {d.pk: d for d in wanted.values()}.values()}
    return {target.terminal_id: opened[document.pk] for target, document in wanted.items() if opened[document.pk] != {}}


def _opened(document: ParameterDocument) -> dict[str, str] | None:
    template_id = document.template_version.template_id
    try:
        return {
            name: vault.unseal(
                base64.b64decode(document.values[name][SEALED]), bound_to=f"parameter:{template_id}:{name}"
            ).decode()
            for name in rules.sealed_in(document.values)
        }
    except (vault.VaultError, ValueError, KeyError, TypeError):
        logger.exception("a secret of parameters %s does not open", document.pk)
        return None


def _body(document: ParameterDocument, secrets: Mapping[str, Any]) -> Configure:
    plain = {name: value for name, value in document.values.items() if not rules.is_sealed(value)}
    name = document.template_version.template.name
    return Configure(name, document.pk, {**plain, **secrets}, sorted(secrets))


# --- what terminals say ----------------------------------------------------------------------------------------------
def forget_parameters(terminal: Terminal, public_key: object) -> dict[str, Any]:
    """A device that enrols has no parameters, whatever the one before it had; it gets its own when it says hello."""
    TerminalParameters.objects.filter(terminal=terminal).delete()
    return {}


def note_answers(answers: Mapping[UUID, Outcome]) -> list[tuple[TerminalParameters, Outcome]]:
    """Note applied and refused documents, by command id, and return whose they are. An answer to an older command than the last
    one changes nothing.

    A command that a newer one superseded is no news: what happens to the newer one is.
    """
    waiting = TerminalParameters.objects.filter(command__in=answers)
    told = list(
        waiting.select_related("wanted__template_version__template").select_for_update(of=("self",)).order_by("pk")
    )
    applied = [command_id for command_id, outcome in answers.items() if outcome.state == CommandState.SUCCEEDED]
    move(waiting.filter(command__in=applied), rules.ParameterTransition.apply, applied_id=F("wanted_id"))
    move(waiting.exclude(command__in=applied), rules.ParameterTransition.fail)
    outcomes = [(row, answers[cast(UUID, row.command_id)]) for row in told]
    record_facts(
        (row.terminal_id, ParametersAnswered(outcome=outcome.state, version=str(row.wanted)))
        for row, outcome in outcomes
        if outcome.state != CommandState.CANCELLED
    )
    return outcomes


def look_at_hellos(reported: Mapping[int, tuple[int, str | None]]) -> None:
    """Terminal -> (version, digest) as it says. One that never got parameters gets them; one that has others than it applied, or
    has lost them, gets them again, once an hour at most; so does one that was away until its command had expired."""
    known = TerminalParameters.objects.filter(terminal__in=id_set(reported)).select_related(
        "applied__template_version__template"
    )
    rows, long_ago = {row.terminal_id: row for row in known}, timezone.now() - MENDED_EVERY
    drifted = [
        row
        for row in rows.values()
        if (row.mended_at is None or row.mended_at < long_ago) and _lacks(row, *reported[row.terminal_id])
    ]
    if drifted:
        mark_due(Terminal.objects.filter(pk__in=[row.terminal_id for row in drifted]), again=True)
        TerminalParameters.objects.filter(pk__in=[row.pk for row in drifted]).update(mended_at=timezone.now())
        record_facts(
            (row.terminal_id, ParametersDrifted(reported=reported[row.terminal_id][0], version=str(row.applied)))
            for row in drifted
            if row.state == ParameterState.APPLIED
        )
    if lacking := [pk for pk in reported if pk not in rows]:
        mark_due(Terminal.objects.filter(pk__in=id_set(lacking), model__parameter_template__isnull=False))


def _lacks(row: TerminalParameters, version: int, digest: str | None) -> bool:
    """Whether a terminal has others than it applied, or never got what it shall have: it was away too long, or refused it."""
    if row.state == ParameterState.FAILED:
        return row.wanted_id is not None and version != row.wanted_id
    applied = row.applied if row.state == ParameterState.APPLIED else None
    return applied is not None and (version != applied.pk or (digest is not None and digest != applied.plain_digest))


# --- the vault's master key is replaced ------------------------------------------------------------------------------
def _reseal_values(template_id: int, values: dict[str, Any]) -> bool:
    """Seal secrets anew that lie under an earlier master key, in place; return whether any did."""
    changed = False
    for name, value in values.items():
        if rules.is_sealed(value) and not (sealed := base64.b64decode(value[SEALED])).startswith(vault.current_head()):
            bound_to = f"parameter:{template_id}:{name}"
            clear = vault.unseal(sealed, bound_to=bound_to)
            values[name] = {**value, SEALED: base64.b64encode(vault.seal(clear, bound_to=bound_to)).decode()}
            changed = True
    return changed


@transaction.atomic
def reseal_secrets() -> int:
    """Seal all secrets among values and documents under the present master key; return how many rows changed."""
    changed = 0
    with_secrets = Q(values__has_any_keys=_secret_names())
    for one in ParameterSet.objects.filter(with_secrets).select_for_update():
        if _reseal_values(one.template_id, one.values):
            one.save(update_fields=["values"])
            changed += 1
    documents = ParameterDocument.objects.select_related("template_version").filter(with_secrets)
    for document in documents.select_for_update(of=("self",)):
        if _reseal_values(document.template_version.template_id, document.values):
            document.save(update_fields=["values"])
            changed += 1
    return changed


def _secret_names() -> Sequence[str]:
    schemas = TemplateVersion.objects.values_list("schema", flat=True)
    return sorted({name for schema in schemas for name in rules.secrets_of(schema)})
