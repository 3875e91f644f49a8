"""What becomes of a terminal's plan."""

from typing import ClassVar

from django.utils.translation import gettext as _

from terminals.common.facts.kinds import FactBody


class ScheduleChanged(FactBody, frozen=True):
    """`own`: something differs from the plan. `by_itself`: whether it settles without being asked. No plan: what is set above."""

    kind: ClassVar[str] = "settlement.schedule_changed"
    by: str
    plan: str
    own: bool
    by_itself: bool

    def text(self) -> str:
        if self.plan:
            said = _("put under plan %(plan)s by %(by)s") % {"plan": self.plan, "by": self.by}
        else:
            said = _("put under no plan by %(by)s") % {"by": self.by}
        said += f", {_('with settings of its own')}" if self.own else ""
        return said if self.by_itself else f"{said}: {_('it does NOT settle by itself')}"
