"""What a virtual terminal remembers over a restart: its identity, its keys, its batch, and events not yet acknowledged.

One JSON file a terminal, mode 0600, replaced as a whole: it stands for the secure storage of a real one.
"""

import os
import ssl
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from terminals.link.protocol import signing
from terminals.link.protocol.messages.enrolment import UpdateTrust
from terminals.link.protocol.messages.settlement import TransactionRecord
from terminals.link.protocol.messages.software import Assignment, Install


class HeldWorkingKey(Struct):
    key_id: str
    usage: str
    kcv: str
    key_hex: str


class PendingEvent(Struct):
    """A critical event that the server has not acknowledged: sent again, byte for byte, until it has."""

    message_id: str
    payload: str


class PendingInstall(NamedTuple):
    """What the wires must fetch before the device can install."""

    command_id: str
    body: Install
    assignment: Assignment


class Memory(Struct):
    """Everything that must survive."""

    serial: str
    device_id: str = ""
    private_key_pem: str = ""
    certificate_pem: str = ""  # and after it those of the CAs below the root
    next_key_pem: str = ""  # while it renews
    renewal_asked_at: str = ""  # RFC 3339
    broker_urls: list[str] = field(default_factory=list)
    broker_ca: str = ""
    topics: dict[str, str] = field(default_factory=dict)  # channel, or "down" -> topic, as the server told
    trust: str = ""
    command_keys: dict[str, str] = field(default_factory=dict)  # key id -> PEM
    release_keys: dict[str, str] = field(default_factory=dict)
    release_root: str = ""  # where its trust in the release repository began
    updating: str = ""  # the install command that it is at, over restarts
    updating_until: str = ""  # RFC 3339: when that command ends, and with it the lock
    before: str = ""  # the payment software that ran before the present one
    put_off: int = 0  # installations, by a planted fault
    assigned: str = ""  # the target of its last assignment
    assigned_counter: int = 0
    kbpk_hex: str = ""
    keys: list[HeldWorkingKey] = field(default_factory=list)
    software: dict[str, str] = field(default_factory=lambda: {"payment": "1.0.0", "os": "12.4"})
    parameters: dict[str, Any] = field(default_factory=dict)
    parameters_version: int = 0
    secret_parameters: list[str] = field(default_factory=list)
    currency: str = "EUR"
    batch_number: int = 1
    sequence: int = 0  # of the open batch's latest transaction
    stan: int = 0
    settled: int = 0  # batches that it settled
    lost: list[int] = field(default_factory=list)  # planted: numbers of the open batch that it lost
    doubled: bool = False  # planted: it sent one of the open batch twice
    archive: dict[str, list[TransactionRecord]] = field(default_factory=dict)  # settled batches, the newest first
    batch: list[TransactionRecord] = field(default_factory=list)
    unsent: list[TransactionRecord] = field(default_factory=list)
    pending: list[PendingEvent] = field(default_factory=list)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes_until: dict[str, str] = field(default_factory=dict)
    locked: bool = False
    paper: int = 60

    @property
    def enrolled(self) -> bool:
        return bool(self.certificate_pem and self.topics)

    def trust_anchors(self, anchors: UpdateTrust) -> None:
        """Trust these keys and no other from now on; of the release repository's roots only the first."""
        self.trust = anchors.trust
        self.broker_ca = anchors.broker_ca
        self.release_root = self.release_root or anchors.release_root
        self.command_keys, self.release_keys = (
            {signing.key_id(signing.public_key(pem)): pem for pem in pems}
            for pems in (anchors.command_signing_keys, anchors.release_signing_keys)
        )

    def remember_outcome(self, command_id: str, result: dict[str, Any], *, until: str, now: str) -> None:
        """Keep the last word on a command until it expires, so that a repeat gets the same answer and is not done twice.

        `until` and `now` are RFC 3339 in UTC, to the millisecond.
        """
        self.outcomes[command_id] = result
        self.outcomes_until[command_id] = until
        for stale in [known for known, end in self.outcomes_until.items() if end < now]:
            self.outcomes.pop(stale, None)
            del self.outcomes_until[stale]


def load(folder: Path, serial: str) -> Memory:
    """Return what the terminal remembers, or a blank memory."""
    path = folder / f"{serial}.json"
    if not path.exists():
        return Memory(serial=serial)
    return msgspec.json.decode(path.read_bytes(), type=Memory)


def save(folder: Path, memory: Memory) -> None:
    """Write the memory; a kill at any instant leaves the old or the new file, never a half one."""
    partial = folder / f".{memory.serial}.part"
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(memory))
    partial.replace(folder / f"{memory.serial}.json")


def tls_context(folder: Path, memory: Memory) -> ssl.SSLContext:
    """Return how the terminal proves itself to the broker, and whom it takes for the broker."""
    context = ssl.create_default_context(cadata=memory.broker_ca or None)
    identity = folder / f".{memory.serial}.pem"  # OpenSSL takes them from a file alone
    with os.fdopen(os.open(identity, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(memory.private_key_pem + memory.certificate_pem)
    context.load_cert_chain(identity)
    return context
