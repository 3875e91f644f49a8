"""What the link hears of a terminal."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody, Reason
from terminals.common.words import word
from terminals.link.routes import Outcome


class Connected(FactBody, frozen=True):
    kind: ClassVar[str] = "link.connected"
    booted: bool

    def text(self) -> str:
        return _("booted and connected") if self.booted else _("connected again")


class IdentityShared(FactBody, frozen=True):
    """A hello came from a boot that had ended: two devices hold the same keys."""

    kind: ClassVar[str] = "link.identity_shared"

    def text(self) -> str:
        return _(
            "two devices speak as this terminal: its keys were copied, or somebody replays it; retire it or enrol it anew"
        )


class CardDataRefused(FactBody, frozen=True):
    """A message held what looks like a card number or a track; nothing of it was kept."""

    kind: ClassVar[str] = "link.card_data_refused"

    def text(self) -> str:
        return _("sent what looks like a full card number: it was refused and not kept; look at its software")


class TooMuchSaid(FactBody, frozen=True):
    """More came on a channel than a terminal may say; what was beyond was not read."""

    kind: ClassVar[str] = "link.too_much_said"
    channel: str
    limit: int

    def text(self) -> str:
        told = _(
            "said too much: more than %(limit)s messages a minute on %(channel)s; what is beyond is not read, events wait"
        )
        return told % {"limit": self.limit, "channel": self.channel}


class CommandEnded(Reason, frozen=True):
    """The command did not succeed; `code` and `detail` are the terminal's own words."""

    kind: ClassVar[str] = "link.command_ended"
    state: str
    code: str = ""
    detail: str = ""

    def text(self) -> str:
        return ": ".join(filter(None, (word(self.state), self.code, self.detail)))


def failure_reason(outcome: Outcome) -> CommandEnded:
    """Return the reason that a command's final outcome gives."""
    result = outcome.result
    return CommandEnded(outcome.state, (result.code or "") if result else "", (result.detail or "") if result else "")
