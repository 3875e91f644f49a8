"""What is told of credits."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody
from terminals.common.words import format_minor


class BatchCredited(FactBody, frozen=True):
    """A file says that a batch was credited. `value_date` is an ISO day, or empty."""

    kind: ClassVar[str] = "settlement.batch_credited"
    batch_number: int
    currency: str
    net_minor: int
    fee_minor: int
    value_date: str
    file: int

    def subject(self) -> str:
        return f"batch:{self.batch_number}"

    def text(self) -> str:
        said = _("batch %(number)s: %(net)s credited, fee %(fee)s, value date %(day)s (file %(file)s)")
        return said % {
            "number": f"{self.batch_number:06d}",
            "net": format_minor(self.net_minor, self.currency),
            "fee": format_minor(self.fee_minor, self.currency),
            "day": self.value_date or "-",
            "file": self.file,
        }
