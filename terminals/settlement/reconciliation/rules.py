"""Whether a settlement balances, and where it does not. Pure: no clock, no database."""

from collections.abc import Iterable
from typing import NamedTuple

from terminals.settlement.rules import SIGNS


class Line(NamedTuple):
    """One line of a batch, in both of its sides; amounts in minor units."""

    currency: str
    method: str
    scheme: str
    kind: str
    reported_count: int = 0
    reported_minor: int = 0
    recorded_count: int = 0
    recorded_minor: int = 0

    @property
    def differs(self) -> bool:
        return (self.reported_count, self.reported_minor) != (self.recorded_count, self.recorded_minor)

    @property
    def reported_net(self) -> int:
        return SIGNS[self.kind] * self.reported_minor

    @property
    def recorded_net(self) -> int:
        return SIGNS[self.kind] * self.recorded_minor

    @property
    def difference_net(self) -> int:
        """Reported less recorded, as it changes the net amount."""
        return self.reported_net - self.recorded_net


def differing(lines: Iterable[Line]) -> list[Line]:
    """Return the lines that do not agree, in a steady order. A difference of zero is one, too, where counts differ."""
    return sorted(line for line in lines if line.differs)
