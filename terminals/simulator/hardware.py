"""The hardware of a virtual terminal: it wears, runs out of paper, loses signal, and now and then breaks and heals."""

import random
from typing import Literal

from terminals.link.protocol.messages.health import Battery, Health, Money, Network
from terminals.link.protocol.messages.software import Conditions

PAPER_LOW, FULL_ROLL = 10, 80
NETWORK: Literal["cellular"] = "cellular"
STORAGE_MB = 1800


class Hardware:
    """What health reports tell of. Paper lives in the memory, because a restart brings no new roll."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._rssi_dbm = dice.randint(-85, -50)
        self._battery = dice.randint(40, 100)
        self._charging = False
        self._screen, self._keypad, self._card_reader = "ok", "ok", "ok"

    def wear(self) -> None:
        """Let some time pass."""
        dice = self._dice
        self._rssi_dbm = max(-110, min(-45, self._rssi_dbm + dice.randint(-3, 3)))
        self._battery += 4 if self._charging else -1
        if self._battery <= 15 or self._battery >= 100:
            self._charging = self._battery <= 15
        self._battery = max(1, min(100, self._battery))
        self._screen = self._flip(self._screen, fault=0.004, heal=0.15)
        self._keypad = self._flip(self._keypad, fault=0.001, heal=0.15)
        self._card_reader = self._flip(self._card_reader, fault=0.002, heal=0.15)

    def report(self, *, paper: int, software: dict[str, str], unsettled: Money) -> Health:
        return Health(
            network=Network(NETWORK, self._rssi_dbm, self._dice.randint(25, 220)),
            printer="out_of_paper" if paper <= 0 else "paper_low" if paper < PAPER_LOW else "ok",
            screen=self._screen,  # type: ignore[arg-type]
            keypad=self._keypad,  # type: ignore[arg-type]
            card_reader=self._card_reader,  # type: ignore[arg-type]
            storage_free_mb=STORAGE_MB + self._dice.randint(0, 100),
            tamper=False,
            software=software,
            unsettled=unsettled,
            battery=Battery(percent=self._battery, charging=self._charging),
        )

    def lacks(self, conditions: Conditions, *, open_batch: bool) -> str:
        """Return what keeps the terminal from being changed now, in words; nothing where all holds. It pays in no time."""
        wanted = {
            "a batch is open": conditions.no_open_batch and open_batch,
            "the battery is low": self._battery < conditions.battery_percent,
            "it is not charging": conditions.charging and not self._charging,
            "there is no room": conditions.storage_mb > STORAGE_MB,
            "it is on another network": bool(conditions.networks) and NETWORK not in conditions.networks,
        }
        return next((told for told, lacking in wanted.items() if lacking), "")

    def _flip(self, state: str, *, fault: float, heal: float) -> str:
        if state == "ok":
            return "fault" if self._dice.random() < fault else "ok"
        return "ok" if self._dice.random() < heal else state
