"""What becomes of cases."""

from typing import ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from terminals.common.facts.kinds import FactBody
from terminals.common.words import format_minor, word


class CaseOpened(FactBody, frozen=True):
    kind: ClassVar[str] = "settlement.case_opened"
    case: int
    about: str
    amount_minor: int
    currency: str
    count: int

    def subject(self) -> str:
        return f"case:{self.case}"

    def text(self) -> str:
        said = ngettext(
            "case %(case)s opened: %(about)s, %(count)s difference, %(amount)s",
            "case %(case)s opened: %(about)s, %(count)s differences, %(amount)s",
            self.count,
        )
        amount = format_minor(self.amount_minor, self.currency)
        return said % {"case": self.case, "about": word(self.about), "count": self.count, "amount": amount}


class CaseExplained(FactBody, frozen=True):
    kind: ClassVar[str] = "settlement.case_explained"
    case: int

    def subject(self) -> str:
        return f"case:{self.case}"

    def text(self) -> str:
        return _("case %(case)s closed by itself: what came later explains it") % {"case": self.case}


class CaseClosed(FactBody, frozen=True):
    """`approved_by` is empty where one person may close a case of so much money."""

    kind: ClassVar[str] = "settlement.case_closed"
    case: int
    resolution: str
    by: str
    approved_by: str = ""

    def subject(self) -> str:
        return f"case:{self.case}"

    def text(self) -> str:
        said = {"case": self.case, "how": word(self.resolution), "by": self.by, "other": self.approved_by}
        if self.approved_by:
            return _("case %(case)s closed by %(by)s, agreed to by %(other)s: %(how)s") % said
        return _("case %(case)s closed by %(by)s: %(how)s") % said


class CaseGrew(FactBody, frozen=True):
    """Something was added while the case waited for somebody to agree to its end: nobody had looked at that."""

    kind: ClassVar[str] = "settlement.case_grew"
    case: int
    resolution: str
    by: str
    amount_minor: int
    currency: str

    def subject(self) -> str:
        return f"case:{self.case}"

    def text(self) -> str:
        said = {"case": self.case, "how": word(self.resolution), "by": self.by}
        said |= {"amount": format_minor(self.amount_minor, self.currency)}
        return _("case %(case)s grew to %(amount)s and is open again; %(by)s would have closed it: %(how)s") % said


class CaseReopened(FactBody, frozen=True):
    kind: ClassVar[str] = "settlement.case_reopened"
    case: int
    by: str

    def subject(self) -> str:
        return f"case:{self.case}"

    def text(self) -> str:
        return _("case %(case)s reopened by %(by)s") % {"case": self.case, "by": self.by}
