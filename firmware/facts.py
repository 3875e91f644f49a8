"""What becomes of software on terminals."""

from typing import Any, ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody, Reason, reasons_text
from terminals.common.words import word


class InstallationEnded(FactBody, frozen=True):
    kind: ClassVar[str] = "software.installation_ended"
    release: str
    state: str
    reasons: list[dict[str, Any]] = []

    def subject(self) -> str:
        return f"release:{self.release}"

    def text(self) -> str:
        said = f"{self.release}: {word(self.state)}"
        return f"{said}; {reasons_text(self.reasons)}" if self.reasons else said


class NotRunning(FactBody, frozen=True):
    kind: ClassVar[str] = "software.not_running"
    version: str

    def text(self) -> str:
        return _("%(version)s was installed and is NOT running") % {"version": self.version}


class NotReported(Reason, frozen=True):
    kind: ClassVar[str] = "software.not_reported"

    def text(self) -> str:
        return _("the terminal does not report this version as running")
