"""What becomes of settlements."""

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


class TriedAgain(FactBody, frozen=True):
    """An attempt failed; the next one follows at an instant (RFC 3339)."""

    kind: ClassVar[str] = "settlement.tried_again"
    attempt: int
    next_at: str
    reasons: list[dict[str, Any]]

    def text(self) -> str:
        said = {"attempt": self.attempt, "reason": reasons_text(self.reasons), "at": self.next_at[11:16]}
        return _("settlement attempt %(attempt)s failed: %(reason)s; the next one is at %(at)s UTC") % said


class Blocked(FactBody, frozen=True):
    """A settlement would not go off (`ahead`), or does not: the terminal is not ready."""

    kind: ClassVar[str] = "settlement.blocked"
    ahead: bool
    reasons: list[dict[str, Any]]

    def text(self) -> str:
        reason = {"reason": reasons_text(self.reasons)}
        if self.ahead:
            return _("its next settlement would be BLOCKED: %(reason)s") % reason
        return _("settlement BLOCKED: %(reason)s") % reason


class Cleared(FactBody, frozen=True):
    kind: ClassVar[str] = "settlement.cleared"

    def text(self) -> str:
        return _("nothing blocks its settlement any more")


class Missed(FactBody, frozen=True):
    """Nobody asked the terminal within its window; `policy` says what was done then. `due_at` is RFC 3339."""

    kind: ClassVar[str] = "settlement.missed"
    due_at: str
    policy: str

    def text(self) -> str:
        said = _("the settlement due at %(at)s UTC was missed: the server was away; %(done)s")
        return said % {"at": self.due_at[:16].replace("T", " "), "done": word(self.policy)}


class NotWithinWindow(Reason, frozen=True):
    """`due_at` is RFC 3339."""

    kind: ClassVar[str] = "settlement.not_within_window"
    due_at: str

    def text(self) -> str:
        return _("it was due at %(at)s UTC and could not be done within its window") % {
            "at": self.due_at[:16].replace("T", " ")
        }


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


class HostTotalsDiffer(Reason, frozen=True):
    """The host counted other than the terminal: sales, and what was given or taken back, in minor units."""

    kind: ClassVar[str] = "settlement.host_totals_differ"
    currency: str
    told_debit_count: int
    told_debit_minor: int
    told_credit_count: int
    told_credit_minor: int
    said_debit_count: int
    said_debit_minor: int
    said_credit_count: int
    said_credit_minor: int

    def text(self) -> str:
        told = self.told_debit_minor - self.told_credit_minor
        said = self.said_debit_minor - self.said_credit_minor
        return _("the host counted %(said)s, the terminal %(told)s") % {
            "said": format_minor(said, self.currency),
            "told": format_minor(told, self.currency),
        }


class UploadIncomplete(Reason, frozen=True):
    kind: ClassVar[str] = "settlement.upload_incomplete"

    def text(self) -> str:
        return _("the terminal says that its upload is not complete")


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
    """What the terminal reported of a line (`what` is its kind) is not what its transactions add up to."""

    kind: ClassVar[str] = "settlement.totals_differ"
    method: str
    what: str
    currency: str
    reported_count: int
    reported_minor: int
    recorded_count: int
    recorded_minor: int
    scheme: str = ""

    def text(self) -> str:
        said = _(
            "%(method)s %(what)s: %(reported)s in %(reported_count)s reported, %(recorded)s in %(recorded_count)s recorded"
        )
        return said % {
            "method": " ".join(filter(None, (word("QR" if self.method == "qr" else self.method), word(self.scheme)))),
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
