"""What becomes of software on terminals."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody


class InstallationEnded(FactBody, frozen=True):
    kind: ClassVar[str] = "software.installation_ended"
    release: str
    state: str
    reason: str = ""

    def text(self) -> str:
        said = _("%(release)s: %(state)s") % {"release": self.release, "state": self.state}
        return f"{said} {self.reason}".strip()


class NotRunning(FactBody, frozen=True):
    kind: ClassVar[str] = "software.not_running"
    version: str

    def text(self) -> str:
        return _("%(version)s was installed and is NOT running") % {"version": self.version}
