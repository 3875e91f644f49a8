"""What becomes of batches."""

from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from terminals.common.facts.kinds import FactBody, Reason, reasons_text
from terminals.common.words import format_minor, word


class BatchSettled(FactBody, frozen=True):
    """`late`: the comparison came out otherwise after transactions that arrived late."""

    kind: ClassVar[str] = "settlement.settled"
    batch_number: int
    currency: str
    reported_minor: int
    difference_minor: int
    balanced: bool
    reasons: list[dict[str, Any]] = []
    late: bool = False

    def subject(self) -> str:
        return f"batch:{self.batch_number}"

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
        said = f"{said}; {reasons_text(self.reasons)}" if self.reasons else said
        return f"{said}, {_('after late transactions')}" if self.late else said


class ScheduleChanged(FactBody, frozen=True):
    """`own`: something differs from the plan. `by_itself`: whether it settles without being asked."""

    kind: ClassVar[str] = "settlement.schedule_changed"
    by: str
    plan: str
    own: bool
    by_itself: bool

    def text(self) -> str:
        said = _("put under plan %(plan)s by %(by)s") % {"plan": self.plan, "by": self.by}
        said += f", {_('with a schedule of its own')}" if self.own else ""
        return said if self.by_itself else f"{said}: {_('it does NOT settle by itself')}"


class SettledTwice(FactBody, frozen=True):
    kind: ClassVar[str] = "settlement.reported_again"
    batch_number: int

    def subject(self) -> str:
        return f"batch:{self.batch_number}"

    def text(self) -> str:
        said = _("batch %(number)s was reported settled once more; the first report stands")
        return said % {"number": f"{self.batch_number:06d}"}


class NotSettled(FactBody, frozen=True):
    kind: ClassVar[str] = "settlement.not_settled"
    reasons: list[dict[str, Any]]

    def text(self) -> str:
        return _("settlement NOT done: %(reason)s") % {"reason": reasons_text(self.reasons)}


class WrittenOff(FactBody, frozen=True):
    """Money that nobody will settle any more: (currency, net minor units, number of transactions) for each currency."""

    kind: ClassVar[str] = "settlement.written_off"
    amounts: list[tuple[str, int, int]]
    by: str

    def text(self) -> str:
        amounts = ", ".join(format_minor(net_minor, currency) for currency, net_minor, _count in self.amounts)
        return _("%(amounts)s written off by %(by)s, never to be settled") % {"amounts": amounts, "by": self.by}


class HostAnswered(Reason, frozen=True):
    """The host did not accept the batch: ISO 8583 DE39."""

    kind: ClassVar[str] = "settlement.host_answered"
    response: str

    def text(self) -> str:
        return _("the host answered %(response)s") % {"response": self.response}


class ForeignCurrency(Reason, frozen=True):
    """Money of the batch that its settlement, in another currency, did not settle: net minor units, transactions."""

    kind: ClassVar[str] = "settlement.foreign_currency"
    currency: str
    net_minor: int
    count: int

    def text(self) -> str:
        said = {"amount": format_minor(self.net_minor, self.currency), "count": self.count}
        return (
            ngettext(
                "%(amount)s in %(count)s transaction is not settled: another currency",
                "%(amount)s in %(count)s transactions is not settled: another currency",
                self.count,
            )
            % said
        )


class TotalsDiffer(Reason, frozen=True):
    """What the terminal reported of a method's sales or refunds is not what its transactions add up to."""

    kind: ClassVar[str] = "settlement.totals_differ"
    method: str
    what: str
    currency: str
    reported_count: int
    reported_minor: int
    recorded_count: int
    recorded_minor: int

    def text(self) -> str:
        said = _(
            "%(method)s %(what)s: %(reported)s in %(reported_count)s reported, %(recorded)s in %(recorded_count)s recorded"
        )
        return said % {
            "method": word("QR" if self.method == "qr" else self.method),
            "what": word(self.what),
            "reported": format_minor(self.reported_minor, self.currency),
            "reported_count": self.reported_count,
            "recorded": format_minor(self.recorded_minor, self.currency),
            "recorded_count": self.recorded_count,
        }


class SettledBefore(Reason, frozen=True):
    kind: ClassVar[str] = "settlement.settled_before"
    batch_number: int

    def text(self) -> str:
        said = _("the terminal answered with batch %(number)s, which was settled before")
        return said % {"number": f"{self.batch_number:06d}"}


class TotalsMissing(Reason, frozen=True):
    kind: ClassVar[str] = "settlement.totals_missing"

    def text(self) -> str:
        return _("the terminal's totals did not arrive")


class TerminalRetired(Reason, frozen=True):
    kind: ClassVar[str] = "settlement.terminal_retired"

    def text(self) -> str:
        return _("the terminal was retired")
