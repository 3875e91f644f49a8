"""What becomes of parameters."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody
from terminals.common.words import word
from terminals.link.protocol.states import CommandState


class ParametersAnswered(FactBody, frozen=True):
    kind: ClassVar[str] = "parameters.answered"
    outcome: str

    def text(self) -> str:
        if self.outcome == CommandState.SUCCEEDED:
            return _("parameters applied")
        return _("parameters not applied: %(outcome)s") % {"outcome": word(self.outcome)}
