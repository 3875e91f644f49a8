"""Working keys on their way to a terminal."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from terminals.common.patterns import whole
from terminals.link.protocol.messages.base import KEY_ID, CommandType, Word


class DeliverKey(Struct):
    """Load a working key: a TR-31 version D key block under the key that enrolment established. Answer with its KCV."""

    key_id: UUID
    usage: Word
    key_block: Annotated[str, Meta(max_length=1024, pattern=whole("[0-9A-Z]+"))]


COMMANDS = (
    CommandType(
        "deliver_key",
        DeliverKey(
            KEY_ID,
            "P0",
            "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D2"
            "07E2E417C07156A27E8E31DA05F7425509593D03A457DC34",
        ),
    ),
)
