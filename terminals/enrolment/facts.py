"""What happens at enrolment."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody


class Enrolled(FactBody, frozen=True):
    kind: ClassVar[str] = "enrolment.enrolled"
    certificate_serial: str

    def text(self) -> str:
        return _("enrolled, certificate %(serial)s issued") % {"serial": self.certificate_serial[:16]}
