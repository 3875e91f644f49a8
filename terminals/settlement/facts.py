"""What becomes of batches."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody
from terminals.common.money import format_minor


class BatchSettled(FactBody, frozen=True):
    """`late`: the comparison came out otherwise after transactions that arrived late."""

    kind: ClassVar[str] = "settlement.settled"
    batch_number: int
    currency: str
    reported_minor: int
    difference_minor: int
    balanced: bool
    reason: str = ""
    late: bool = False

    def text(self) -> str:
        words = {
            "number": f"{self.batch_number:06d}",
            "amount": format_minor(self.reported_minor, self.currency),
            "difference": format_minor(self.difference_minor, self.currency, signed=True),
        }
        if self.balanced:
            said = _("batch %(number)s settled, %(amount)s, balanced") % words
        else:
            said = _("batch %(number)s settled, %(amount)s, UNBALANCED by %(difference)s") % words
        said = f"{said} {self.reason}".strip()
        return f"{said}, {_('after late transactions')}" if self.late else said


class SettledTwice(FactBody, frozen=True):
    kind: ClassVar[str] = "settlement.reported_again"
    batch_number: int

    def text(self) -> str:
        said = _("batch %(number)s was reported settled once more; the first report stands")
        return said % {"number": f"{self.batch_number:06d}"}


class NotSettled(FactBody, frozen=True):
    kind: ClassVar[str] = "settlement.not_settled"
    reason: str

    def text(self) -> str:
        return _("settlement NOT done: %(reason)s") % {"reason": self.reason}
