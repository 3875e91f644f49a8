"""What health events tell."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody


class TamperChanged(FactBody, frozen=True):
    kind: ClassVar[str] = "tamper.changed"
    active: bool
    detail: str = ""

    def text(self) -> str:
        return f"{_('TAMPER') if self.active else _('tamper cleared')} {self.detail}".strip()
