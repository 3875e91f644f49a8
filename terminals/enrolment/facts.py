"""What happens at enrolment."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody


class CodeIssued(FactBody, frozen=True):
    kind: ClassVar[str] = "enrolment.code_issued"
    by: str

    def text(self) -> str:
        return _("activation code issued by %(by)s") % {"by": self.by}


class Claimed(FactBody, frozen=True):
    kind: ClassVar[str] = "enrolment.claimed"
    by: str
    registered_as: str = ""

    def text(self) -> str:
        if not self.registered_as:
            return _("claimed where it is installed by %(by)s") % {"by": self.by}
        said = {"by": self.by, "registered_as": self.registered_as}
        return _("claimed where it is installed by %(by)s, in the place of %(registered_as)s") % said


class Renewed(FactBody, frozen=True):
    kind: ClassVar[str] = "enrolment.renewed"
    certificate_serial: str

    def text(self) -> str:
        return _("certificate renewed as %(serial)s") % {"serial": self.certificate_serial[:16]}


class Revoked(FactBody, frozen=True):
    kind: ClassVar[str] = "enrolment.revoked"

    def text(self) -> str:
        return _("its certificate was revoked; it cannot connect before it enrols again")


class Enrolled(FactBody, frozen=True):
    kind: ClassVar[str] = "enrolment.enrolled"
    certificate_serial: str

    def text(self) -> str:
        return _("enrolled, certificate %(serial)s issued") % {"serial": self.certificate_serial[:16]}
