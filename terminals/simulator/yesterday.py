"""The day before a simulated terminal was first switched on: sold through the day with its peaks, and settled in the evening.

A terminal may have worked before it was enrolled here; it then uploads what it has.
"""

import random
from datetime import datetime, time, timedelta

from terminals.simulator import till
from terminals.simulator.device import Device, Outgoing
from terminals.simulator.hardware import FULL_ROLL

CLOSES = time(21, 30)
# How busy each hour (UTC) is, from 7 to 20.
BUSY = {7: 2, 8: 4, 9: 3, 10: 4, 11: 8, 12: 9, 13: 5, 14: 3, 15: 3, 16: 6, 17: 9, 18: 8, 19: 5, 20: 2}
FEWEST, MOST = 12, 40  # payments of a day


def instants(dice: random.Random, midnight: datetime) -> list[datetime]:
    """Return when payments of a day come, in order."""
    hours = dice.choices(list(BUSY), weights=list(BUSY.values()), k=dice.randint(FEWEST, MOST))
    return sorted(midnight + timedelta(hours=hour, seconds=dice.randrange(3600)) for hour in hours)


def live_through(device: Device, now: datetime) -> list[Outgoing]:
    """Let a terminal that has done nothing yet have had a day; return what it uploads of it."""
    memory = device.memory
    if memory.settled or memory.batch or memory.sequence:
        return []
    midnight = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    for instant in instants(device.dice, midnight):
        till.sell(memory, device.dice, instant)
    memory.paper = FULL_ROLL
    closed_at = midnight + timedelta(hours=CLOSES.hour, minutes=CLOSES.minute)
    return [*device.upload_transactions(), device.close_batch(closed_at)]
