"""State machines, pure: one enum of states and one table of named transitions for each thing that has states."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)


class Machine(Generic[S]):
    """The named transitions of one kind of thing: name -> (states that it may start from, the state it leads to)."""

    def __init__(self, states: type[S], transitions: Mapping[str, tuple[Iterable[S], S]]) -> None:
        self.states = states
        self._transitions = {name: (tuple(sources), target) for name, (sources, target) in transitions.items()}

    def sources(self, name: str) -> tuple[S, ...]:
        """Return the states that a transition may start from; raise KeyError for one that nobody knows."""
        return self._transitions[name][0]

    def target(self, name: str) -> S:
        return self._transitions[name][1]

    def leaving(self, state: str) -> list[str]:
        """Return the names of the transitions that leave a state; raise ValueError for an unknown state."""
        known = self.states(state)
        return [name for name, (sources, _) in self._transitions.items() if known in sources]

    def after(self, state: str, name: str) -> S:
        """Return where a transition leads from a state; raise ImpossibleMove where it does not leave it."""
        if self.states(state) not in self.sources(name):
            raise ImpossibleMove(f"{state} does not {name}")
        return self.target(name)


class ImpossibleMove(Exception):
    """A mistake of ours: the caller did not ask whether the transition leaves the state."""
