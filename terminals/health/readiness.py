"""Whether a terminal's parts and clock let it settle, by its latest reading. Reads only."""

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from django.db.models import F, Q
from django.utils.translation import ngettext

from terminals.common.facts.kinds import Reason
from terminals.common.sql import id_set
from terminals.common.words import word
from terminals.health.models import HealthState

RIGHT = timedelta(minutes=5)  # a clock that is further off books on another day near midnight
FIT = {"printer": ("ok", "paper_low"), "screen": ("ok",), "keypad": ("ok",)}


class PartNotReady(Reason, frozen=True):
    kind: ClassVar[str] = "health.part_not_ready"
    part: str
    state: str

    def text(self) -> str:
        return f"{word(self.part)}: {word(self.state)}"


class ClockWrong(Reason, frozen=True):
    """How many seconds the terminal's clock is ahead; behind where negative."""

    kind: ClassVar[str] = "health.clock_wrong"
    seconds: int

    def text(self) -> str:
        minutes = abs(self.seconds) // 60
        if self.seconds > 0:
            return ngettext("its clock is %(n)s minute fast", "its clock is %(n)s minutes fast", minutes) % {
                "n": minutes
            }
        return ngettext("its clock is %(n)s minute slow", "its clock is %(n)s minutes slow", minutes) % {"n": minutes}


def part_not_ready(part: str, terminal_ids: Sequence[int]) -> dict[int, Reason]:
    """Return the terminals whose part does not work; one that never said anything of itself is not held back for it."""
    broken = HealthState.objects.filter(terminal__in=id_set(terminal_ids)).exclude(**{f"{part}__in": FIT[part]})
    return {pk: PartNotReady(part, state) for pk, state in broken.values_list("terminal_id", part)}


def clock_wrong(terminal_ids: Sequence[int]) -> dict[int, Reason]:
    """Return the terminals whose clock was off when they last said something."""
    off = Q(sent_at__gt=F("received_at") + RIGHT) | Q(sent_at__lt=F("received_at") - RIGHT)
    rows = HealthState.objects.filter(off, terminal__in=id_set(terminal_ids)).values_list(
        "terminal_id", "sent_at", "received_at"
    )
    return {pk: ClockWrong(int((sent_at - received_at).total_seconds())) for pk, sent_at, received_at in rows}
