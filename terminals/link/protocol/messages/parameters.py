"""A terminal's parameters."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from terminals.link.protocol.messages.base import CommandType, Count, Word


class Configure(Struct):
    """Replace the terminal's parameters by this document, and report `version` and the digest of it in every hello from then on.

    A member that `secrets` names is an object with one member `protected`: it opens with the protection key of enrolment.
    """

    name: Word
    version: Count
    parameters: dict[str, Any]
    secrets: Annotated[list[Word], Meta(max_length=200)] = []


COMMANDS = (CommandType("configure", Configure("shop", 3, {"currency": "EUR", "tip_enabled": True})),)
