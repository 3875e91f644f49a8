"""What becomes of key deliveries."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody
from terminals.common.words import word


class KeyConfirmed(FactBody, frozen=True):
    kind: ClassVar[str] = "key.confirmed"
    usage: str
    kcv: str

    def subject(self) -> str:
        return f"key:{self.usage}"

    def text(self) -> str:
        return _("key %(usage)s confirmed, KCV %(kcv)s") % {"usage": self.usage, "kcv": self.kcv}


class KeyMismatched(FactBody, frozen=True):
    kind: ClassVar[str] = "key.mismatch"
    usage: str
    kcv: str
    answered_kcv: str

    def subject(self) -> str:
        return f"key:{self.usage}"

    def text(self) -> str:
        said = _("key %(usage)s: the terminal's KCV %(answered)s is not %(kcv)s; NOT confirmed")
        return said % {"usage": self.usage, "answered": self.answered_kcv, "kcv": self.kcv}


class KeyNotDelivered(FactBody, frozen=True):
    kind: ClassVar[str] = "key.not_delivered"
    usage: str
    outcome: str

    def subject(self) -> str:
        return f"key:{self.usage}"

    def text(self) -> str:
        return _("key %(usage)s not delivered: %(outcome)s") % {"usage": self.usage, "outcome": word(self.outcome)}
