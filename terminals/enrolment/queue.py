"""Devices that nobody registered and that ask to enrol: they wait until an operator gives them a place, or sends them away.

Switched on by ENROLMENT_QUEUE. What waits is a request with a key; who is approved is that key, so that nobody else who knows
the serial gets in. A stranger can fill the queue and nothing else: it is short, for each address and in all.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils import timezone

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.scope import holds
from terminals.common.transitions import move
from terminals.enrolment import rules
from terminals.enrolment.models import EnrolmentRequest
from terminals.enrolment.rules import PublicKey, RequestState, RequestTransition
from terminals.estate.models import Store, Terminal, TerminalModel
from terminals.estate.registering import check_serial_free, check_tid_free, register_terminal
from terminals.estate.rules import TerminalState, device_id_for
from terminals.estate.services import REGISTER

DECIDE = "enrolment.change_enrolmentrequest"  # what letting a waiting device in needs
MOST_WAITING, MOST_OF_AN_ADDRESS = 1000, 20
KEPT_FOR = timedelta(days=7)  # that a device which went silent waits


def admitted(*, serial: str, csr_pem: str, address: str) -> tuple[Terminal, PublicKey] | None:
    """Return the terminal and key of a device that asks without a code, where an operator has let it in; None where nobody
    has decided yet. Raises Refusal where the queue is closed or full, or the device was sent away.
    """
    if not settings.ENROLMENT_QUEUE:
        raise Refusal("unknown_code", "this server enrols by activation code only; ask for one")
    device_id = device_id_for(serial)
    public_key = rules.checked_public_key(csr_pem, serial=serial, device_id=device_id)
    digest = rules.public_key_digest(public_key)
    request = EnrolmentRequest.objects.select_for_update().filter(public_key_digest=digest).first()
    if request is None:
        _wait(serial, digest, address, timezone.now())
    elif request.serial != serial:
        raise Refusal("wrong_serial", "this key asked before under another serial number")
    elif request.state == RequestState.REJECTED:
        raise Refusal("rejected", "an operator has refused this device")
    elif request.state == RequestState.APPROVED and request.terminal is not None:
        _check_still_meant(request, request.terminal)
        move(EnrolmentRequest.objects.filter(pk=request.pk), RequestTransition.enrol)
        return request.terminal, public_key
    elif request.state == RequestState.ENROLLED:
        raise Refusal("code_used", "this device was let in once before; ask for an activation code")
    else:
        EnrolmentRequest.objects.filter(pk=request.pk).update(last_asked_at=timezone.now())
    return None


def _check_still_meant(request: EnrolmentRequest, terminal: Terminal) -> None:
    """Raise Refusal where an approval is old, or the terminal has become another device's meanwhile: it is no open door."""
    decided_at = request.decided_at
    is_old = decided_at is None or decided_at < timezone.now() - KEPT_FOR
    if is_old or terminal.serial != request.serial or terminal.state != TerminalState.REGISTERED:
        raise Refusal("code_expired", "the approval of this device holds no more; ask for an activation code")


def _wait(serial: str, digest: str, address: str, now: datetime) -> None:
    """Put a device into the queue, if there is room. Whether its serial is taken only the operator is told."""
    waiting = EnrolmentRequest.objects.filter(state=RequestState.WAITING)
    waiting.filter(last_asked_at__lt=now - KEPT_FOR).delete()
    if waiting.filter(address=address)[:MOST_OF_AN_ADDRESS].count() == MOST_OF_AN_ADDRESS:
        raise Refusal("too_many", "too many devices from this address wait; ask again later")
    if waiting[:MOST_WAITING].count() == MOST_WAITING:
        raise Refusal("too_many", "too many devices wait; ask again later")
    try:
        with transaction.atomic():
            EnrolmentRequest.objects.create(serial=serial, public_key_digest=digest, address=address, last_asked_at=now)
    except IntegrityError:  # the same device asked twice at this moment
        return


def _decide(request: EnrolmentRequest, transition: Any, actor: str, **columns: Any) -> None:
    columns |= {"decided_by": actor, "decided_at": timezone.now()}
    if not move(EnrolmentRequest.objects.filter(pk=request.pk), transition, **columns):
        raise Refusal("decided", "somebody has decided about this device before")


@transaction.atomic
def approve(*, request: EnrolmentRequest, store: Store, model: TerminalModel, user: Any, tid: str = "") -> Terminal:
    """Register the device at a store, where the user may register terminals; it enrols when it asks again.

    Raises Refusal where its serial or TID is taken, PermissionDenied elsewhere in the tree.
    """
    actor = user.get_username()
    if not holds(user, REGISTER, store):
        raise PermissionDenied
    check_serial_free(request.serial)
    check_tid_free(store, tid)
    terminal = register_terminal(serial=request.serial, model=model, store=store, tid=tid, actor=actor)
    _decide(request, RequestTransition.approve, actor, terminal=terminal)
    detail = {"terminal": terminal.serial, "store": store.pk, "key": request.fingerprint}
    audit.record(actor=actor, action="enrolmentrequest.approve", subject=subject_of(request), detail=detail)
    return terminal


@transaction.atomic
def reject(*, request: EnrolmentRequest, actor: str) -> None:
    """Send a device away: it is refused when it asks again."""
    _decide(request, RequestTransition.reject, actor)
    detail = {"serial": request.serial, "key": request.fingerprint}
    audit.record(actor=actor, action="enrolmentrequest.reject", subject=subject_of(request), detail=detail)
