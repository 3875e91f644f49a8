"""What can be done to many terminals at once: verbs, which the project registers from its features' services."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet

from terminals.common.errors import Refusal
from terminals.estate.models import Terminal

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Unfit:
    """Terminals that a verb leaves out, and why. The sentence speaks of one terminal, without naming it."""

    reason: str
    template: str
    q: Q
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BulkVerb:
    """`check` returns the arguments as they are kept, or raises Refusal; `unfit` says whom the verb leaves out, the first
    reason that holds; `run` does it to terminals (ids, held and fit), set-based, and returns those that were left out
    after all. `told` says the arguments in words; `warnings` what the operator must know of the fit ones before it is done;
    what is `final` cannot be taken back, and is confirmed once more."""

    name: str
    permission: str
    run: Callable[[Sequence[int], Arguments, str], Mapping[int, Refusal]]
    unfit: Callable[[Arguments], Sequence[Unfit]] = lambda arguments: ()
    check: Callable[[Arguments, Any], dict[str, Any]] = lambda arguments, user: {}
    told: Callable[[Arguments], str] = lambda arguments: ", ".join(str(value) for value in arguments.values() if value)
    warnings: Callable[[QuerySet[Terminal], Arguments], list[str]] = lambda fit, arguments: []
    final: bool = False


class Verbs:
    """The verbs that are known, by name; an object that the project fills at start."""

    def __init__(self) -> None:
        self._known: dict[str, BulkVerb] = {}

    def fill(self, *verbs: BulkVerb) -> None:
        self._known = {verb.name: verb for verb in verbs}

    def all(self) -> list[BulkVerb]:
        return list(self._known.values())

    def named(self, name: str) -> BulkVerb:
        """Return a verb; raise Refusal for an unknown one."""
        if name not in self._known:
            raise Refusal(
                "unknown_verb",
                "nothing is called %(name)s; choose one of %(names)s",
                name=repr(name),
                names=", ".join(self._known),
            )
        return self._known[name]


verbs = Verbs()
