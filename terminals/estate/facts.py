"""What happens to a terminal as a piece of the estate."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody
from terminals.common.words import word


class TerminalRegistered(FactBody, frozen=True):
    kind: ClassVar[str] = "state.registered"
    by: str

    def text(self) -> str:
        return _("registered by %(by)s") % {"by": self.by}


class TerminalEdited(FactBody, frozen=True):
    kind: ClassVar[str] = "state.edited"
    by: str
    fields: list[str]

    def text(self) -> str:
        return _("%(fields)s edited by %(by)s") % {"fields": ", ".join(map(word, self.fields)), "by": self.by}


class StateChanged(FactBody, frozen=True):
    kind: ClassVar[str] = "state.changed"
    to: str
    by: str
    reason: str = ""

    def text(self) -> str:
        said = _("%(to)s by %(by)s") % {"to": word(self.to), "by": self.by}
        return f"{said}: {self.reason}" if self.reason else said


class Replaced(FactBody, frozen=True):
    kind: ClassVar[str] = "state.replaced"
    by: str
    serial: str

    def text(self) -> str:
        return _("replaced by the device %(serial)s, by %(by)s") % {"serial": self.serial, "by": self.by}


class Replaces(FactBody, frozen=True):
    kind: ClassVar[str] = "state.replaces"
    by: str
    serial: str

    def text(self) -> str:
        return _("takes the place of %(serial)s, by %(by)s") % {"serial": self.serial, "by": self.by}
