"""Kinds of facts and of reasons: typed structs with the words that people read, made in the reader's language on reading."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import msgspec
from msgspec import Struct


class Told(Struct, frozen=True):
    """Something that is stored as data. A kind sets `kind` (`room.what`) and says itself in `text`."""

    kind: ClassVar[str] = ""

    def text(self) -> str:
        raise NotImplementedError


class FactBody(Told, frozen=True):
    """What happened, of one kind."""

    def subject(self) -> str:
        """Return what it happened to, as `kind:id`, where that is not the terminal itself."""
        return ""


class Reason(Told, frozen=True):
    """Why something ended as it did, of one kind; stored with what it is the reason of, as `{"kind": ..., **data}`."""

    def stored(self) -> dict[str, Any]:
        """Return the reason as JSON, for a model's `reasons` or a fact's."""
        return {"kind": self.kind, **msgspec.to_builtins(self)}


def kinds() -> dict[str, type[Told]]:
    """Return every kind that a room declares, by name."""
    return {told.kind: told for told in _below(Told) if told.kind}


def _below(parent: type[Told]) -> Iterator[type[Told]]:
    for child in parent.__subclasses__():
        yield child
        yield from _below(child)


def text_of(kind: str, body: object) -> str:
    """Return the words of a stored fact; one of a kind that is no more is told by its name."""
    declared = kinds().get(kind)
    if declared is None:
        return kind
    try:
        return msgspec.convert(body, declared).text()
    except msgspec.ValidationError:
        return kind


def reasons_text(reasons: Iterable[dict[str, Any]]) -> str:
    """Return the words of stored reasons."""
    return "; ".join(text_of(reason.get("kind", ""), reason) for reason in reasons)
