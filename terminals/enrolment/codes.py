"""Activation codes: issued, withdrawn, used, and claimed by whoever installs the device.

A code stands for a place: a store, with the TID that is registered there. Who installs claims it with the serial of the device
that they hold; where that is another than the one that was registered, it takes the other's place, as long as that never
enrolled.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_fact_of_many, record_facts
from terminals.common.scope import holds
from terminals.enrolment import rules
from terminals.enrolment.facts import Claimed, CodeIssued
from terminals.enrolment.models import ActivationCode
from terminals.estate.models import Terminal, TerminalModel
from terminals.estate.registering import change_serial, check_serial_free
from terminals.estate.replacing import replace_terminal
from terminals.estate.rules import TerminalState, TerminalTransition
from terminals.estate.services import NOTHING, TRANSITION_PERMISSIONS, Held, WriteOff, hold

ISSUE_CODE = "enrolment.add_activationcode"  # what issuing a code needs
CLAIM = "enrolment.claim_terminal"  # what installing a device needs
CODE_LIFETIME = timedelta(days=7)
UNKNOWN = Refusal("unknown_code", "this activation code was never issued or was replaced by a newer one")


@transaction.atomic
def issue_activation_code(*, terminal: Terminal, actor: str) -> str:
    """Return a fresh one-time code for the terminal; unused earlier ones lose their force. It is shown only now."""
    return issue_codes(terminal_ids=[terminal.pk], actor=actor)[terminal.pk]


@transaction.atomic
def issue_codes(*, terminal_ids: Sequence[int], actor: str) -> dict[int, str]:
    """Return a fresh one-time code for each terminal, in a fixed number of statements; earlier ones lose their force.

    They are shown only now. Raises Refusal, and issues none, where one of the terminals cannot enrol.
    """
    held = hold(terminal_ids)
    for one in held.values():
        _check_can_enrol(one)
    withdraw_codes(list(held))
    return _make_codes({pk: one.serial for pk, one in held.items()}, actor)


def issue_first_codes(*, terminals: Iterable[Terminal], actor: str) -> dict[int, str]:
    """As `issue_codes`, for terminals that this transaction registered: nobody else can know them, nor do they have a code."""
    serials = {terminal.pk: terminal.serial for terminal in terminals}
    return _make_codes(serials, actor) if serials else {}


# Raw: bulk_create takes three times as long (bench/bulk.py).
MAKE_CODES = """
INSERT INTO enrolment_activationcode (terminal_id, digest, created_at, created_by, expires_at, claimed_by)
SELECT terminal_id, digest, now(), %s, %s, '' FROM unnest(%s::bigint[], %s::text[]) AS code(terminal_id, digest)
"""


def _make_codes(serials: Mapping[int, str], actor: str) -> dict[int, str]:
    codes = {pk: rules.new_code() for pk in serials}
    expires_at = timezone.now() + CODE_LIFETIME
    with connection.cursor() as cursor:
        digests = [rules.code_digest(code) for code in codes.values()]
        cursor.execute(MAKE_CODES, [actor, expires_at, list(codes), digests])
    subjects = [f"terminal:{serial}" for serial in serials.values()]
    detail = {"expires_at": expires_at.isoformat()}
    audit.record_many(actor=actor, action="terminal.activation_code", subjects=subjects, detail=detail)
    record_fact_of_many(codes, CodeIssued(by=actor))
    return codes


@transaction.atomic
def replace_with_code(
    *, terminal: Terminal, user: Any, serial: str, model: TerminalModel | None = None, write_off: WriteOff = NOTHING
) -> tuple[Terminal, str | None]:
    """Let another device take a terminal's place; return it, and the code that enrols it where the user may issue one.

    Raises PermissionDenied where money is given up by one who may not retire terminals, Refusal as `replace_terminal` does.
    """
    if write_off and not holds(user, TRANSITION_PERMISSIONS[TerminalTransition.retire], terminal):
        raise PermissionDenied(gettext("whoever gives money up must be allowed to retire terminals"))
    actor = user.get_username()
    new = replace_terminal(terminal=terminal, serial=serial, model=model, write_off=write_off, actor=actor)
    return new, issue_activation_code(terminal=new, actor=actor) if holds(user, ISSUE_CODE, new) else None


def _check_can_enrol(held: Held) -> None:
    if held.state not in TerminalTransition.enrol.sources:
        raise Refusal(
            "cannot_enrol",
            "terminal %(serial)s is %(state)s and cannot enrol",
            serial=held.serial,
            state=held.state,
        )


def withdraw_codes(terminal_ids: Sequence[int]) -> None:
    """Take the force of terminals' unused codes: who leaves service must not come back by an old code."""
    ActivationCode.objects.filter(terminal__in=terminal_ids, used_at=None).delete()


def open_code(terminal: Terminal) -> ActivationCode | None:
    """Return the code by which a terminal may still enrol, if one was issued (not the code itself: nobody has that any more)."""
    usable = ActivationCode.objects.filter(terminal=terminal, used_at=None, expires_at__gt=timezone.now())
    return usable.order_by("-created_at").first()


def locked(code: str) -> ActivationCode:
    """Lock and return a code with its terminal; raise Refusal where it was never issued."""
    digest = rules.code_digest(code)
    # The terminal first, then what is its: the order of all who change one.
    Terminal.objects.select_for_update(of=("self",)).filter(activation_codes__digest=digest).first()
    activation = (
        ActivationCode.objects.select_for_update(of=("self",))
        .select_related("terminal__store__merchant", "terminal__model")
        .filter(digest=digest)
        .first()
    )
    if activation is None:
        raise UNKNOWN.again()
    return activation


def check_usable(activation: ActivationCode, now: datetime) -> None:
    """Raise Refusal for a code that was used, or whose time is over."""
    if activation.used_at is not None:
        raise Refusal("code_used", "this activation code was used before; ask for a new one")
    if activation.expires_at <= now:
        raise Refusal("code_expired", "this activation code has expired; ask for a new one")


@transaction.atomic
def claim(*, code: str, serial: str, user: Any, in_place: bool = False) -> Terminal:
    """Say that a device with this serial is what a code was issued for; return the terminal that it is to be.

    The one who claims must hold CLAIM where the terminal stands; for others the code does not exist. `in_place` lets a device of
    another serial take the place of the one that was registered. Raises Refusal, with nothing changed, where it cannot be.
    """
    activation = locked(code)
    terminal = activation.terminal
    if not holds(user, CLAIM, terminal):
        raise UNKNOWN.again()
    check_usable(activation, timezone.now())
    actor, expected = user.get_username(), terminal.serial
    if serial != expected:
        check_serial_free(serial)
        if not in_place:
            raise OtherSerial(
                "other_serial",
                "this code was issued for %(expected)s, not for %(serial)s; let it take that place, or find the right code",
                expected=expected,
                serial=serial,
            )
        if terminal.state != TerminalState.REGISTERED:
            raise Refusal("enrolled_before", "%(serial)s has enrolled; replace it on its page", serial=expected)
        change_serial(terminal, serial)
    ActivationCode.objects.filter(pk=activation.pk).update(claimed_at=timezone.now(), claimed_by=actor)
    audit.record(actor=actor, action="terminal.claim", subject=subject_of(terminal), detail={"registered_as": expected})
    record_facts([(terminal.pk, Claimed(by=actor, registered_as=expected if expected != serial else ""))])
    return terminal


class OtherSerial(Refusal):
    """The device at hand is not the one that was registered; whoever claims may let it take that one's place."""
