"""The one way in which a request is refused: a reason word for programs and a sentence for people."""

from typing import Any


class Refusal(Exception):
    """A request that is refused; nothing was changed. `detail` says why and what to do, `reason` is one of a few words.

    The sentence is kept as its template and values, so that whoever speaks to people (`words.sentence`) can say it in their
    language; `detail` is the English one, for logs and terminals. A value that is a tuple is a list of states.
    Whoever speaks to people or programs (page, admin, API, enrolment, dead letters) translates this class once, so no
    call site translates by hand.
    """

    def __init__(self, reason: str, template: str, **values: object) -> None:
        super().__init__(reason, template)
        self.reason = reason
        self.template = template
        self.values = values

    def again(self) -> "Refusal":
        """Return a new one that says the same: to raise one that a module keeps. Each raising would lengthen the kept one's
        traceback, and hold what its frames hold."""
        return type(self)(self.reason, self.template, **self.values)

    @property
    def members(self) -> dict[str, Any]:
        """What programs are told besides the reason, as further members of the problem."""
        return {}

    @property
    def detail(self) -> str:
        return filled(self.template, self.values)

    def __str__(self) -> str:
        return self.detail


def filled(template: str, values: dict[str, object]) -> str:
    """Return a sentence with its values put in; one without values is no template."""
    if not values:
        return template
    return template % {n: ", ".join(map(str, v)) if isinstance(v, tuple) else v for n, v in values.items()}
