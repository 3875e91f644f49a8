"""What happens at enrolment."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody


class CodeIssued(FactBody, frozen=True):
    kind: ClassVar[str] = "enrolment.code_issued"
    by: str

    def text(self) -> str:
        return _("activation code issued by %(by)s") % {"by": self.by}


class Enrolled(FactBody, frozen=True):
    kind: ClassVar[str] = "enrolment.enrolled"
    certificate_serial: str

    def text(self) -> str:
        return _("enrolled, certificate %(serial)s issued") % {"serial": self.certificate_serial[:16]}
