"""State machines, pure: one enum of states and one class of named transitions for each thing that has states."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

S = TypeVar("S", bound=StrEnum)


class Transition(Generic[S]):
    """A move that has a name: the states that it may start from, and the state it leads to."""

    name: str

    def __init__(self, sources: Iterable[S], target: S) -> None:
        self.sources = tuple(sources)
        self.target = target

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def leaves(self, state: str) -> bool:
        """Whether it may start from a state; raise ValueError for an unknown one."""
        return type(self.target)(state) in self.sources

    def after(self, state: str) -> S:
        """Return where it leads from a state; raise ImpossibleMove where it does not leave it."""
        if not self.leaves(state):
            raise ImpossibleMove(f"{state} does not {self.name}")
        return self.target

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Machine:
    """The transitions of one kind of thing, as attributes: a typing error in one's name is found by the type checker."""

    all: ClassVar[tuple[Transition[Any], ...]]

    def __init_subclass__(cls) -> None:
        cls.all = tuple(value for value in vars(cls).values() if isinstance(value, Transition))

    @classmethod
    def leaving(cls, state: str) -> list[Transition[Any]]:
        """Return the transitions that leave a state; raise ValueError for an unknown one."""
        return [transition for transition in cls.all if transition.leaves(state)]


class ImpossibleMove(Exception):
    """A mistake of ours: the caller did not ask whether the transition leaves the state."""
