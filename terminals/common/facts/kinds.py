"""Kinds of facts: each is a typed struct with the words that people read, made in the reader's language on reading."""

from typing import ClassVar

import msgspec
from msgspec import Struct


class FactBody(Struct, frozen=True):
    """The data of one kind. A subclass sets `kind` (`room.what`) and says itself in `text`."""

    kind: ClassVar[str] = ""

    def text(self) -> str:
        raise NotImplementedError


def kinds() -> dict[str, type[FactBody]]:
    """Return every kind that a room declares, by name."""
    return {body.kind: body for body in FactBody.__subclasses__()}


def text_of(kind: str, body: object) -> str:
    """Return the words of a stored fact; one of a kind that is no more is told by its name."""
    declared = kinds().get(kind)
    if declared is None:
        return kind
    try:
        return msgspec.convert(body, declared).text()
    except msgspec.ValidationError:
        return kind
