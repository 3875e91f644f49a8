"""What becomes of campaigns, and why terminals of one wait or fail."""

from typing import Any, ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody, Reason, reasons_text
from terminals.common.words import stored_sentence, word


class CampaignEnded(FactBody, frozen=True):
    """What a campaign came to on one terminal."""

    kind: ClassVar[str] = "campaign.ended"
    campaign: int
    name: str
    state: str
    reasons: list[dict[str, Any]] = []

    def subject(self) -> str:
        return f"campaign:{self.campaign}"

    def text(self) -> str:
        said = _("campaign %(name)s: %(state)s") % {"name": self.name, "state": word(self.state)}
        return f"{said}; {reasons_text(self.reasons)}" if self.reasons else said


class NotBack(Reason, frozen=True):
    kind: ClassVar[str] = "campaign.not_back"
    minutes: int

    def text(self) -> str:
        return _("it did not come back within %(minutes)s minutes") % {"minutes": self.minutes}


class DeadlinePassed(Reason, frozen=True):
    kind: ClassVar[str] = "campaign.deadline"

    def text(self) -> str:
        return _("the campaign's deadline passed before it could be asked")


class LeftOutBecause(Reason, frozen=True):
    """A refusal of the kind's, as it is stored: reason, template, values."""

    kind: ClassVar[str] = "campaign.left_out"
    template: str
    values: dict[str, Any] = {}

    def text(self) -> str:
        return stored_sentence(self.template, self.values)


class MovedByAnother(Reason, frozen=True):
    kind: ClassVar[str] = "campaign.moved_by_another"
    campaign: str

    def text(self) -> str:
        return _("campaign %(name)s moves the same there") % {"name": self.campaign}
