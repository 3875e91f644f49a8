"""What the link hears of a terminal."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody


class Connected(FactBody, frozen=True):
    kind: ClassVar[str] = "link.connected"
    booted: bool

    def text(self) -> str:
        return _("booted and connected") if self.booted else _("connected again")
