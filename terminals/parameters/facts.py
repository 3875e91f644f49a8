"""What becomes of parameters."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody
from terminals.common.words import word
from terminals.link.protocol.states import CommandState


class ParametersAnswered(FactBody, frozen=True):
    kind: ClassVar[str] = "parameters.answered"
    outcome: str
    version: str = ""

    def subject(self) -> str:
        return f"parameters:{self.version}"

    def text(self) -> str:
        if self.outcome == CommandState.SUCCEEDED:
            return _("parameters %(version)s applied") % {"version": self.version}
        said = {"version": self.version, "outcome": word(self.outcome)}
        return _("parameters %(version)s not applied: %(outcome)s") % said


class ParametersDrifted(FactBody, frozen=True):
    kind: ClassVar[str] = "parameters.drifted"
    reported: int
    version: str = ""

    def subject(self) -> str:
        return f"parameters:{self.version}"

    def text(self) -> str:
        said = {"version": self.version, "reported": self.reported}
        return _("it did not have parameters %(version)s any more (reported %(reported)s); they are sent again") % said
