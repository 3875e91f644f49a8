"""What is noticed of uploads."""

from typing import ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from terminals.common.facts.kinds import FactBody


class GapFound(FactBody, frozen=True):
    """Numbered transactions of a batch that never came; the terminal is asked for them. `first` names some of them."""

    kind: ClassVar[str] = "settlement.gap_found"
    batch_number: int
    count: int
    first: list[int] = []

    def subject(self) -> str:
        return f"batch:{self.batch_number}"

    def text(self) -> str:
        said = ngettext(
            "of batch %(number)s %(count)s transaction never came (%(first)s); it was asked for again",
            "of batch %(number)s %(count)s transactions never came (%(first)s); they were asked for again",
            self.count,
        )
        return said % {
            "number": f"{self.batch_number:06d}",
            "count": self.count,
            "first": ", ".join(map(str, self.first)) + (_(" ...") if self.count > len(self.first) else ""),
        }
