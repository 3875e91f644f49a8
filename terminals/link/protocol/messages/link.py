"""The link's own: who a terminal is, how a command went, commands without a body."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from terminals.link.protocol.messages.base import (
    COMMAND_ID,
    EVENT_ID,
    KEY_ID,
    SOFTWARE,
    BatchNumber,
    Channel,
    CommandType,
    Count,
    Empty,
    Inbound,
    Instant,
    Kcv,
    Percent,
    Text,
    Word,
    plausible,
)


class HeldKey(Struct):
    """A working key that the terminal holds, by id and check value; never the key."""

    key_id: UUID
    usage: Word
    kcv: Kcv


class Hello(Struct):
    """Sent on every connect, signed: what the terminal is and has."""

    serial: Word
    software: Annotated[dict[Word, Word], Meta(max_length=32, description="component -> version")]
    parameters_version: Count = 0
    parameters_digest: (
        Annotated[
            Word, Meta(description="SHA-256 of the parameters' canonical JSON (RFC 8785), secrets left out, in hex")
        ]
        | None
    ) = None
    keys: Annotated[list[HeldKey], Meta(max_length=50)] = []
    batch_number: BatchNumber | None = None
    trust: Annotated[Word, Meta(description="of the trust anchors that it holds")] | None = None
    locked: bool | None = None


class Result(Struct):
    """Progress and outcome of a command, signed. `accepted` and `running` may be lost; the last word is repeated.

    `later_until` goes with the code `later`: not now, ask again then.
    """

    command_id: UUID
    state: Literal["accepted", "running", "succeeded", "failed", "rejected"]
    percent: Percent | None = None
    code: Word | None = None
    detail: Text | None = None
    retryable: bool = False
    kcv: Kcv | None = None
    version: Word | None = None
    batch_number: BatchNumber | None = None
    later_until: Instant | None = None

    def __post_init__(self) -> None:
        if self.later_until is not None:
            plausible(self.later_until)


class Presence(Struct):
    """Retained, and the last will: `offline` counts only for the boot that the terminal is in."""

    state: Literal["online", "offline"]


class NotTaken(Struct, omit_defaults=True):
    """What the server did not take. `too_old`, `clock_ahead`: if you still have the message of this id, set your clock by the
    ack's `sent_at` and send it anew with a new id. `too_much`: nothing more on that channel for `retry_after_seconds`."""

    reason: Literal["too_old", "clock_ahead", "too_much"]
    channel: Channel
    id: UUID | None = None
    retry_after_seconds: Annotated[int, Meta(ge=0, le=3600)] = 0


class Ack(Struct, omit_defaults=True):
    """The server has committed these critical events, and the terminal may forget them; it did not take those others."""

    ids: Annotated[list[UUID], Meta(max_length=1000)]
    not_taken: Annotated[list[NotTaken], Meta(max_length=1000)] = []


INBOUND = (
    Inbound(
        "hello",
        "hello",
        True,
        Hello(
            serial="SN-20417",
            software=SOFTWARE,
            parameters_version=3,
            keys=[HeldKey(KEY_ID, "P0", "08793E")],
            batch_number=118,
            trust="3f1c0a9be24d7755",
            locked=False,
        ),
    ),
    Inbound("result", "result", True, Result(COMMAND_ID, "succeeded", kcv="08793E")),
    Inbound("presence", "presence", False, Presence("online")),
)
# What an operator may send as it is.
COMMANDS = (
    CommandType("ping", Empty()),
    CommandType("reboot", Empty()),
    CommandType("lock", Empty()),
    CommandType("unlock", Empty()),
)
ACK = CommandType("ack", Ack([EVENT_ID], [NotTaken("too_much", "event", retry_after_seconds=42)]))
