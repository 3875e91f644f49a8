"""What health events tell."""

from datetime import datetime
from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody


class TamperChanged(FactBody, frozen=True):
    kind: ClassVar[str] = "tamper.changed"
    active: bool
    detail: str = ""
    occurred_at: datetime | None = None  # by the terminal's clock

    def text(self) -> str:
        return f"{_('TAMPER') if self.active else _('tamper cleared')} {self.detail}".strip()
