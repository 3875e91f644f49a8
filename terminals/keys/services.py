"""Making and delivering working keys. No function here returns, logs or raises with a clear key."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.db import transaction
from django.db.models import BinaryField, Func, QuerySet
from django.utils import timezone

from terminals.common import vault
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import FactBody
from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.common.transitions import move
from terminals.estate.models import Terminal
from terminals.estate.rules import COMMANDED_STATES
from terminals.keys import rules
from terminals.keys.facts import KeyConfirmed, KeyMismatched, KeyNotDelivered
from terminals.keys.models import KeyRequirement, ProtectionKey, TerminalKey
from terminals.link.protocol import signing
from terminals.link.protocol.messages.keys import DeliverKey
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome
from terminals.link.services import CommandRequest, Target, create_commands, new_id, target_of

DELIVER_KEY = "keys.add_terminalkey"  # what making and delivering a key needs
VALID_FOR = timedelta(days=1)


def establish_protection_key(
    terminal: Terminal, public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
) -> dict[str, Any]:
    """Agree on the terminal's KBPK during enrolment and return the signed offer for the answer; the old one is gone with it.

    The offer names whom it is for: the device id and, by its id, the terminal's public key.
    Working keys under the old KBPK count no longer: the terminal starts with an empty key store.
    """
    established = rules.establish_with(public_key, device_id=terminal.device_id, random_key=vault.random_key(32))
    sealed = vault.seal(established.kbpk, bound_to=_kbpk_name(terminal.pk))
    ProtectionKey.objects.update_or_create(
        terminal=terminal, defaults={"sealed_key": sealed, "kcv": established.offer["kcv"]}
    )
    move(TerminalKey.objects.filter(terminal=terminal), rules.KeyTransition.replace)
    offer = {**established.offer, "device_id": terminal.device_id, "terminal_key_id": signing.key_id(public_key)}
    return {"key_protection": signing.sign_envelope(offer, *signing.command_signing_key())}


@transaction.atomic
def request_key_delivery(*, terminal: Terminal, usage: str, actor: str) -> TerminalKey:
    """Make a working key and queue its delivery; raise Refusal where the terminal cannot take one now."""
    target = target_of(terminal)
    rules.check_usage(usage)
    if TerminalKey.objects.filter(terminal=terminal, usage=usage, state=rules.KeyState.PENDING).exists():
        raise Refusal(
            "key_pending",
            "a %(usage)s key is already on its way to %(serial)s; wait for its answer",
            usage=usage,
            serial=terminal.serial,
        )
    key = deliver_keys([(target, usage)], requested_by=actor)
    if not key:
        raise Refusal(
            "no_protection_key",
            "terminal %(serial)s has no protection key; it must enrol first",
            serial=terminal.serial,
        )
    detail = {"key": str(key[0].pk), "usage": usage, "kcv": key[0].kcv}
    audit.record(actor=actor, action="key.deliver", subject=subject_of(terminal), detail=detail)
    return key[0]


def deliver_keys(
    wanted: Iterable[tuple[Target, str]], *, requested_by: str, valid_for: timedelta = VALID_FOR
) -> list[TerminalKey]:
    """Make one working key for each (terminal, usage) and queue its delivery; set-based, two inserts in all.

    Terminals without a protection key are left out.
    """
    wanted = list(wanted)
    kbpks = ProtectionKey.objects.in_bulk([target.terminal_id for target, _ in wanted])
    keys, requests = [], []
    for target, usage in wanted:
        if target.terminal_id in kbpks:
            key, body = _make_key(kbpks[target.terminal_id], target, usage)
            keys.append(key)
            requests.append(CommandRequest(target, "deliver_key", body, valid_for))
    commands = create_commands(requests, requested_by=requested_by)
    for key, command in zip(keys, commands, strict=True):
        key.command = command
    return TerminalKey.objects.bulk_create(keys)


def deliver_required(terminal_ids: Collection[int]) -> None:
    """Give each terminal the keys that its model requires and that it neither has nor awaits.

    A mismatch or a refusal is not tried again by itself: it would come back at each hello, and somebody must look.
    """
    required = KeyRequirement.objects.filter(
        model__terminals__in=id_set(terminal_ids), model__terminals__state__in=COMMANDED_STATES
    ).values_list("model__terminals__id", "model__terminals__device_id", "usage")
    if not required:
        return
    keys = TerminalKey.objects.filter(terminal__in=terminal_ids, state__in=rules.HELD)
    held = set(keys.values_list("terminal_id", "usage"))
    missing = [(Target(pk, device_id), usage) for pk, device_id, usage in required if (pk, usage) not in held]
    if missing:
        deliver_keys(missing, requested_by="key requirement")


def destroy_keys(terminal_ids: Sequence[int]) -> None:
    """Destroy terminals' keys for good: the sealed material goes, check values and states remain as the record."""
    ProtectionKey.objects.filter(terminal__in=terminal_ids).delete()
    move(TerminalKey.objects.filter(terminal__in=terminal_ids), rules.KeyTransition.destroy, sealed_key=b"")


def reseal_keys(*, actor: str) -> tuple[int, list[str]]:
    """Seal what lies under an older master key under the current one; return how many, and the names of those not opened.

    A thousand a transaction, each with its audit entry. Nothing but the seal changes: terminals and their keys notice nothing.
    """
    resealed, unopened = 0, list[str]()
    for model, name in ((ProtectionKey, _kbpk_name), (TerminalKey, _key_name)):
        last: Any = None
        while True:
            last, done = _reseal_some(model, name, last, unopened, actor)
            resealed += done
            if last is None:
                break
    return resealed, unopened


def keys_under_earlier_masters() -> int:
    """Return how many sealed keys would not open without an earlier master key."""
    return sum(_under_earlier_masters(model).count() for model in (ProtectionKey, TerminalKey))


def _under_earlier_masters(model: type[ProtectionKey] | type[TerminalKey]) -> "QuerySet[Any]":
    head = Func("sealed_key", 1, vault.HEAD, function="substr", output_field=BinaryField())
    sealed: QuerySet[Any] = model._default_manager.exclude(sealed_key=b"")
    under_earlier: QuerySet[Any] = sealed.alias(head=head).exclude(head=vault.current_head())
    return under_earlier


@transaction.atomic
def _reseal_some(
    model: type[ProtectionKey] | type[TerminalKey],
    name: Callable[[Any], str],
    last: Any,
    unopened: list[str],
    actor: str,
) -> tuple[Any, int]:
    """Seal up to a thousand rows after `last` anew; return the last of them (None after the end) and how many."""
    old = _under_earlier_masters(model).order_by("pk").select_for_update(of=("self",))
    rows = list((old if last is None else old.filter(pk__gt=last))[:1000])
    done = []
    for row in rows:
        bound_to = name(row.pk)
        try:
            row.sealed_key = vault.seal(vault.unseal(bytes(row.sealed_key), bound_to=bound_to), bound_to=bound_to)
        except vault.VaultError:
            unopened.append(bound_to)
        else:
            done.append(row)
    model._default_manager.bulk_update(done, ["sealed_key"])
    if rows:
        detail = {"of": model._meta.model_name, "keys": len(done), "not_opened": len(rows) - len(done)}
        audit.record(actor=actor, action="vault.reseal", subject=f"vault:{vault.current_head().hex()}", detail=detail)
    return (rows[-1].pk if rows else None), len(done)


def _make_key(protection: ProtectionKey, target: Target, usage: str) -> tuple[TerminalKey, DeliverKey]:
    """Return the row (sealed) and the message (wrapped) of a new AES-128 key."""
    key_id = new_id()
    working_key = vault.random_key(16)
    kbpk = vault.unseal(bytes(protection.sealed_key), bound_to=_kbpk_name(target.terminal_id))
    key_block = rules.wrap(kbpk=kbpk, working_key=working_key, usage=usage)
    row = TerminalKey(
        id=key_id,
        terminal_id=target.terminal_id,
        usage=usage,
        kcv=rules.aes_kcv(working_key),
        sealed_key=vault.seal(working_key, bound_to=_key_name(key_id)),
    )
    return row, DeliverKey(key_id=key_id, usage=usage, key_block=key_block)


def _kbpk_name(terminal_id: int) -> str:
    return f"kbpk:{terminal_id}"


def _key_name(key_id: UUID) -> str:
    return f"key:{key_id}"


def end_deliveries(outcomes: Mapping[UUID, Outcome]) -> list[TerminalKey]:
    """Move pending keys by what became of their commands (command id -> final outcome), and write it down; return them.

    A key is confirmed only if the terminal computed the same check value; a wrong one is a mismatch, for a person.
    """
    keys = list(
        TerminalKey.objects.filter(command__in=outcomes, state=rules.KeyState.PENDING).select_for_update(of=("self",))
    )
    for key in keys:
        outcome = outcomes[key.command_id]  # type: ignore[index]  # filtered by command above
        key.answered_at = timezone.now()
        key.answered_kcv = (outcome.result.kcv or "") if outcome.result else ""
        transition = rules.outcome_of_delivery(
            expired=outcome.result is None,
            succeeded=outcome.state == CommandState.SUCCEEDED,
            kcv_fits=key.answered_kcv == key.kcv,
        )
        key.state = transition.after(key.state)
    _replace_predecessors([key for key in keys if key.state == rules.KeyState.CONFIRMED])
    TerminalKey.objects.bulk_update(keys, ["state", "answered_at", "answered_kcv"])
    record_facts((key.terminal_id, _fact(key, outcomes[key.command_id].state)) for key in keys)  # type: ignore[index]
    return keys


def _replace_predecessors(confirmed: list[TerminalKey]) -> None:
    """Make room for the newly confirmed: the database holds one confirmed key for a terminal and usage."""
    for usage in {key.usage for key in confirmed}:
        terminal_ids = [key.terminal_id for key in confirmed if key.usage == usage]
        held = TerminalKey.objects.filter(terminal__in=terminal_ids, usage=usage, state=rules.KeyState.CONFIRMED)
        move(held, rules.KeyTransition.replace)


def _fact(key: TerminalKey, outcome: str) -> FactBody:
    if key.state == rules.KeyState.MISMATCH:
        return KeyMismatched(usage=key.usage, kcv=key.kcv, answered_kcv=key.answered_kcv)
    if key.state == rules.KeyState.CONFIRMED:
        return KeyConfirmed(usage=key.usage, kcv=key.kcv)
    return KeyNotDelivered(usage=key.usage, outcome=outcome)


def protect_texts(texts: Mapping[int, Mapping[str, str]]) -> dict[int, dict[str, dict[str, str]]]:
    """Seal texts for the terminals that get them (terminal -> name -> text); one without a protection key is left out."""
    found: dict[int, dict[str, dict[str, str]]] = {}
    for protection in ProtectionKey.objects.filter(terminal__in=texts):
        kbpk = vault.unseal(bytes(protection.sealed_key), bound_to=_kbpk_name(protection.terminal_id))
        mine = texts[protection.terminal_id]
        found[protection.terminal_id] = {name: rules.protect(kbpk, text, bound_to=name) for name, text in mine.items()}
    return found
