"""A virtual terminal without its wires: messages in, messages out, a memory. No I/O and no clock of its own.

It judges commands as a real terminal must: the server's signature, its own device id, the time window, once only.
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
import uuid_utils.compat

from terminals.common.errors import Refusal
from terminals.keys import rules as key_rules
from terminals.link.protocol import messages, signing
from terminals.link.protocol.messages.base import CommandEnvelope
from terminals.link.protocol.messages.health import Money
from terminals.link.protocol.messages.keys import DeliverKey
from terminals.link.protocol.messages.link import Ack, HeldKey, Hello, Presence, Result
from terminals.link.protocol.messages.parameters import Configure
from terminals.link.protocol.messages.settlement import UploadTransactions
from terminals.link.protocol.messages.software import Install
from terminals.simulator import identity, not_taken, till
from terminals.simulator.books import NotAssigned, assigned, net_minor, parameters_digest
from terminals.simulator.faults import Faults
from terminals.simulator.hardware import FULL_ROLL, Hardware
from terminals.simulator.memory import HeldWorkingKey, Memory, PendingEvent, PendingInstall

FORGET_AFTER = timedelta(days=7)  # an outcome whose command's end is not known any more, after a restart
FINAL = ("succeeded", "failed", "rejected")


class Outgoing(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes
    retain: bool = False


PUT_OFF = 2  # installations that `says_later` puts off
LATER = timedelta(minutes=15)  # so long it asks for, where it cannot be changed now


class Device:
    """One virtual terminal. Methods return what is to be sent; `changed` says that the memory wants saving."""

    def __init__(self, memory: Memory, *, faults: Faults, dice: random.Random, now: Callable[[], datetime]) -> None:
        self.memory = memory
        self.faults = faults
        self.dice = dice
        self.now = now
        self.boot_id = _new_id()
        self.changed = False
        self.pending_install: PendingInstall | None = None
        self.reboot_wanted = False
        self.reconnect_wanted = False
        self.refused_commands = 0
        self.quiet_until: dict[str, float] = {}  # channel -> by the monotonic clock
        self.hello_id = ""
        self.on_closed: Callable[[int], None] = lambda batch_number: None
        self.on_command: Callable[[CommandEnvelope, datetime], None] = lambda envelope, since: None
        self.seq = 0
        self._ignored: set[str] = set()
        self._expiries: dict[str, datetime] = {}
        self._hardware = Hardware(dice)

    # --- what it says of itself --------------------------------------------------------------------------------------
    def boot(self) -> None:
        """Start anew: another boot id, sequence numbers from zero; the memory stays."""
        self.boot_id = _new_id()
        self.seq = 0
        self.reboot_wanted = False
        running = self.memory.software.get("payment", "")
        if self.memory.before and self.faults.has("crashes", running):  # its watchdog brings the version before back
            self.memory.software = {**self.memory.software, "payment": self.memory.before}
            self.memory.before, self.changed = "", True

    def hello(self) -> Outgoing:
        memory = self.memory
        body = Hello(
            serial=memory.serial,
            software=memory.software,
            parameters_version=memory.parameters_version,
            parameters_digest=parameters_digest(memory.parameters, memory.secret_parameters),
            keys=[HeldKey(key_id=msgspec.convert(k.key_id, UUID), usage=k.usage, kcv=k.kcv) for k in memory.keys],
            batch_number=memory.batch_number,
            trust=memory.trust or None,
            locked=memory.locked,
        )
        outgoing = self._outgoing("hello", body)
        self.hello_id = msgspec.json.decode(outgoing.payload)["id"]
        return outgoing

    def presence(self, state: str) -> Outgoing:
        return self._outgoing("presence", Presence(state=state))._replace(retain=True)  # type: ignore[arg-type]

    def health(self) -> Outgoing:
        """Let time pass on the hardware and report it."""
        memory = self.memory
        self._hardware.wear()
        if memory.paper <= 0 and self.dice.random() < 0.25:
            memory.paper, self.changed = FULL_ROLL, True
        unsettled = Money(memory.currency, net_minor(memory.batch), len(memory.batch))
        body = self._hardware.report(paper=memory.paper, software=memory.software, unsettled=unsettled)
        if self.faults.has("kills_printer", memory.software.get("payment", "")):
            body.printer = "fault"
        return self._outgoing("health", body)

    def pending_events(self) -> list[Outgoing]:
        """Return the events that the server has not acknowledged, in the order in which they happened."""
        topic = self.memory.topics["event"]
        if self.quiet_until.get("event", 0.0) > time.monotonic():
            return []
        return [Outgoing(topic, event.payload.encode()) for event in self.memory.pending]

    # --- selling -----------------------------------------------------------------------------------------------------
    def sell(self) -> bool:
        """Take one payment, sometimes give one back; return whether the terminal could."""
        if self.memory.locked or self.memory.paper <= 0:
            return False
        till.sell(self.memory, self.dice, self.now())
        self.changed = True
        return True

    def upload_transactions(self) -> list[Outgoing]:
        """Turn what was sold since the last upload into critical events."""
        return [self.report("transactions", body) for body in till.uploads(self.memory, self.faults)]

    def close_batch(self, at: datetime, command_id: object = None) -> Outgoing:
        """Close the open batch with the (imagined) host, and report it; asked by a command or on its own account."""
        body = till.close(self.memory, self.faults, at, command_id)
        self.on_closed(body.batch_number)
        return self.report("settlement", body)

    # --- being told --------------------------------------------------------------------------------------------------
    def receive(self, topic: str, payload: bytes) -> list[Outgoing]:
        """Take a message from the server; what is not provably from it is dropped and counted."""
        try:
            envelope = msgspec.json.decode(payload, type=CommandEnvelope)
            signing.verify_envelope(payload, signing.chosen_key(envelope.sig, self.memory.command_keys))
        except (signing.BadSignature, msgspec.DecodeError):
            self.refused_commands += 1
            return []
        if envelope.device_id != self.memory.device_id:
            self.refused_commands += 1
            return []
        if envelope.type == "ack":
            return self._heed(envelope.sent_at, msgspec.json.decode(envelope.body, type=Ack))
        since, said = self.now(), self._command(envelope)
        self.on_command(envelope, since)
        return said

    def _heed(self, server_time: datetime, ack: Ack) -> list[Outgoing]:
        done = {str(message_id) for message_id in ack.ids}
        self.memory.pending = [event for event in self.memory.pending if event.message_id not in done]
        self.changed = True
        return not_taken.heed(self, server_time, ack.not_taken)

    def _command(self, envelope: CommandEnvelope) -> list[Outgoing]:
        command_id = str(envelope.id)
        if command_id in self.memory.outcomes:
            return [self.answer(msgspec.convert(self.memory.outcomes[command_id], Result))]
        if self.pending_install is not None and self.pending_install.command_id == command_id:
            return [self.answer(Result(command_id=envelope.id, state="running"))]
        if self.faults.silence and command_id not in self._ignored:
            self._ignored.add(command_id)
            return []
        if isinstance(envelope.expires_at, datetime) and envelope.expires_at <= self.now():
            return [self.finish(Result(command_id=envelope.id, state="rejected", code="expired"))]
        if isinstance(envelope.not_before, datetime) and envelope.not_before > self.now():
            return []  # the server offers it again when its time has come
        if isinstance(envelope.expires_at, datetime):
            self._expiries[command_id] = envelope.expires_at
        do = self._verbs.get(envelope.type)
        if do is None:
            return [self.finish(Result(command_id=envelope.id, state="rejected", code="unknown_command"))]
        return [self.answer(Result(command_id=envelope.id, state="accepted")), *do(self, envelope)]

    def _settle(self, envelope: CommandEnvelope) -> list[Outgoing]:
        """Upload the rest, close the batch with the (imagined) host, report it, and only then say that it is done."""
        sent = self.upload_transactions()
        number = self.memory.batch_number
        sent.append(self.close_batch(self.now(), envelope.id))
        return [*sent, self.finish(Result(command_id=envelope.id, state="succeeded", batch_number=number))]

    def _upload_again(self, envelope: CommandEnvelope) -> list[Outgoing]:
        asked = msgspec.json.decode(envelope.body, type=UploadTransactions)
        again = till.asked_again(self.memory, asked.batch_number, asked.sequences)
        return [*(self.report("transactions", body) for body in again), *self.done(envelope)]

    def _deliver_key(self, envelope: CommandEnvelope) -> list[Outgoing]:
        delivery = msgspec.json.decode(envelope.body, type=DeliverKey)
        try:
            working_key = key_rules.unwrap(
                kbpk=bytes.fromhex(self.memory.kbpk_hex), key_block=delivery.key_block, usage=delivery.usage
            )
        except Refusal as refusal:
            return [self.finish(Result(envelope.id, "rejected", code="bad_key_block", detail=str(refusal)))]
        kcv = key_rules.aes_kcv(working_key)
        held = [key for key in self.memory.keys if key.usage != delivery.usage]
        self.memory.keys = [*held, HeldWorkingKey(str(delivery.key_id), delivery.usage, kcv, working_key.hex())]
        answered = "000000" if self.faults.wrong_kcv else kcv
        return [self.finish(Result(command_id=envelope.id, state="succeeded", kcv=answered))]

    def _configure(self, envelope: CommandEnvelope) -> list[Outgoing]:
        document = msgspec.json.decode(envelope.body, type=Configure)
        memory = self.memory
        kbpk = bytes.fromhex(memory.kbpk_hex)
        try:
            opened = {
                name: key_rules.unprotect(kbpk, document.parameters[name], bound_to=name) for name in document.secrets
            }
        except (Refusal, KeyError) as error:
            return [self.finish(Result(envelope.id, "rejected", code="bad_secret", detail=str(error)))]
        memory.parameters, memory.parameters_version = {**document.parameters, **opened}, document.version
        memory.secret_parameters = document.secrets
        if not memory.batch:
            memory.currency = document.parameters.get("currency", memory.currency)
        return [self.finish(Result(command_id=envelope.id, state="succeeded", version=str(document.version)))]

    def _install(self, envelope: CommandEnvelope) -> list[Outgoing]:
        install = msgspec.json.decode(envelope.body, type=Install)
        if self.faults.rejected_install:
            return [self.finish(Result(envelope.id, "rejected", code="incompatible", detail="planted fault"))]
        memory = self.memory
        try:
            assignment = assigned(install, memory)
        except NotAssigned as error:
            return [self.finish(Result(envelope.id, "rejected", code="bad_assignment", detail=str(error)[:300]))]
        if memory.updating not in ("", str(envelope.id)) and _utc(self.now()) < memory.updating_until:
            return [self._later(envelope, "another installation is under way")]
        if self.faults.says_later and memory.put_off < PUT_OFF:
            memory.put_off += 1
            return [self._later(envelope, "planted fault")]
        if install.conditions and (why := self._hardware.lacks(install.conditions, open_batch=bool(self.memory.batch))):
            return [self._later(envelope, why)]
        memory.assigned, memory.assigned_counter, self.changed = assignment.target, assignment.counter, True
        memory.updating = str(envelope.id)
        memory.updating_until = _utc(self._expiries.get(memory.updating, self.now() + FORGET_AFTER))
        self.pending_install = PendingInstall(memory.updating, install, assignment)
        first = install.conditions is not None and install.conditions.settle_first and memory.batch
        return [*self.upload_transactions(), self.close_batch(self.now())] if first else []

    def _later(self, envelope: CommandEnvelope, why: str) -> Outgoing:
        """Ask to be asked again."""
        until = self.now() + LATER
        return self.finish(Result(envelope.id, "failed", code="later", detail=why, retryable=True, later_until=until))

    def installing(self, percent: int) -> Outgoing:
        """Report progress of the download under way."""
        pending = cast(PendingInstall, self.pending_install)
        return self.answer(Result(msgspec.convert(pending.command_id, UUID), "running", percent=percent))

    def finish_install(self, failure: str = "", code: str = "download") -> Outgoing:
        """End the installation: the new version runs after the reboot that follows."""
        pending, self.pending_install = cast(PendingInstall, self.pending_install), None
        self.memory.updating = ""
        command_id = msgspec.convert(pending.command_id, UUID)
        if self.faults.has("fails_install", pending.body.version):
            return self.finish(Result(command_id, "failed", code="storage", detail="planted fault", retryable=True))
        if failure:
            return self.finish(Result(command_id, "failed", code=code, detail=failure[:300], retryable=True))
        if pending.body.component == "payment":
            self.memory.before = self.memory.software.get("payment", "")
        self.memory.software = {**self.memory.software, pending.body.component: pending.body.version}
        self.reboot_wanted = True
        return self.finish(Result(command_id, "succeeded", version=pending.body.version))

    def _reboot(self, envelope: CommandEnvelope) -> list[Outgoing]:
        self.reboot_wanted = True
        return self.done(envelope)

    def _lock(self, envelope: CommandEnvelope) -> list[Outgoing]:
        self.memory.locked = envelope.type == "lock"
        return self.done(envelope)

    def done(self, envelope: CommandEnvelope) -> list[Outgoing]:
        """Say that a command was done."""
        return [self.finish(Result(command_id=envelope.id, state="succeeded"))]

    _verbs: dict[str, Callable[["Device", CommandEnvelope], list[Outgoing]]] = {
        "settle": _settle,
        "upload_transactions": _upload_again,
        "deliver_key": _deliver_key,
        "configure": _configure,
        "install": _install,
        "update_trust": identity.update_trust,
        "renew_certificate": identity.renew,
        "install_certificate": identity.install_certificate,
        "reboot": _reboot,
        "lock": _lock,
        "unlock": _lock,
        "ping": done,
    }

    # --- envelopes ---------------------------------------------------------------------------------------------------
    def finish(self, result: Result) -> Outgoing:
        """Say the last word on a command and remember it."""
        command_id, now = str(result.command_id), self.now()
        until = self._expiries.pop(command_id, now + FORGET_AFTER)
        self.memory.remember_outcome(command_id, msgspec.to_builtins(result), until=_utc(until), now=_utc(now))
        self.changed = True
        return self.answer(result)

    def answer(self, result: Result) -> Outgoing:
        """Say what becomes of a command."""
        return self._outgoing("result", result)

    def report(self, kind: str, body: msgspec.Struct) -> Outgoing:
        """Make an event that is kept and repeated until the server acknowledges it."""
        outgoing = self._outgoing(kind, body)
        message_id = msgspec.json.decode(outgoing.payload)["id"]
        self.memory.pending.append(PendingEvent(message_id, outgoing.payload.decode()))
        self.changed = True
        return outgoing

    def _outgoing(self, kind: str, body: msgspec.Struct) -> Outgoing:
        declared = messages.INBOUND[kind]
        self.seq += 1
        envelope = {
            "id": _new_id(),
            "type": kind,
            "sent_at": self.now().isoformat(timespec="milliseconds"),
            "boot_id": self.boot_id,
            "seq": self.seq,
            "body": _without_nulls(msgspec.to_builtins(body)),
        }
        if declared.signed:
            envelope = signing.sign_envelope(envelope, identity.private_key(self.memory.private_key_pem))
        return Outgoing(self.memory.topics[declared.channel], messages.encode(envelope))


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return [_without_nulls(member) for member in value] if isinstance(value, list) else value


def _new_id() -> str:
    return str(uuid_utils.compat.uuid7())
