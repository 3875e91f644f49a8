"""Precision and recall of the risk signals, with their default settings, on a simulated fleet with planted cases.

python -m bench.risk 300 30

300 terminals with 30 usual batches each, sold as the simulated terminals sell; in one later batch of twenty something is planted.
No database; adds `risk_precision` and `risk_recall` to bench/results.json.
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from terminals.settlement.risk.rules import SIGNALS, Profile, Sale, checked, judge, profile_of
from terminals.simulator.yesterday import instants

RESULTS = Path(__file__).parent / "results.json"
DAY = datetime(2026, 11, 1, tzinfo=UTC)
LATER = 20  # batches of a terminal that are judged
PLANTED_SHARE = 0.05


def day_of(dice: random.Random, day: int, size: float) -> list[Sale]:
    """Return a usual day of a shop that sells so much at a time."""
    midnight = DAY + timedelta(days=day)
    sales = [
        Sale("sale", round(dice.lognormvariate(3.2, 0.7) * 100 * size), at, card(dice))
        for at in instants(dice, midnight)
    ]
    refunds = [one for one in sales if dice.random() < 0.03]
    return [*sales, *(one._replace(kind="refund") for one in refunds)]


def card(dice: random.Random) -> str:
    """Return a card: a few guests come back within a day."""
    return f"tok_{dice.randrange(400)}"


def burst(dice: random.Random, sales: list[Sale]) -> list[Sale]:
    start = sales[len(sales) // 2].at
    return [
        *sales,
        *(Sale("sale", dice.randint(500, 3000), start + timedelta(seconds=25 * n), card(dice)) for n in range(18)),
    ]


def refunds(dice: random.Random, sales: list[Sale]) -> list[Sale]:
    whole = sum(one.amount_minor for one in sales if one.kind == "sale")
    return [*sales, Sale("refund", int(whole * dice.uniform(0.5, 0.9)), sales[-1].at)]


def night(dice: random.Random, sales: list[Sale]) -> list[Sale]:
    at = sales[0].at.replace(hour=2)
    return [
        *sales,
        *(Sale("sale", dice.randint(2000, 9000), at + timedelta(minutes=11 * n), card(dice)) for n in range(4)),
    ]


def large(dice: random.Random, sales: list[Sale]) -> list[Sale]:
    most = max(one.amount_minor for one in sales)
    return [*sales, Sale("sale", int(most * dice.uniform(6, 12)), sales[-1].at, card(dice))]


def one_card(dice: random.Random, sales: list[Sale]) -> list[Sale]:
    return [*sales, *(one._replace(card="tok_x", amount_minor=one.amount_minor + 7) for one in sales[:6])]


def rounded(dice: random.Random, sales: list[Sale]) -> list[Sale]:
    return [one._replace(amount_minor=max(1000, one.amount_minor // 1000 * 1000)) for one in sales]


PLANTS: dict[str, Callable[[random.Random, list[Sale]], list[Sale]]] = {
    "velocity": burst,
    "refund_share": refunds,
    "off_hours": night,
    "unusual_amount": large,
    "repeated_card": one_card,
    "round_amounts": rounded,
    "moved": lambda dice, sales: sales,
}


def main(terminals: int, usual: int) -> None:
    dice, counts = random.Random(8), Counter[str]()
    settings = {signal: checked(signal, {}) for signal in SIGNALS}
    for n in range(terminals):
        size = dice.lognormvariate(0, 0.6)
        past: list[Profile] = []
        for day in range(usual + LATER):
            planted = dice.choice(list(PLANTS)) if day >= usual and dice.random() < PLANTED_SHARE else ""
            sales = day_of(dice, day, size)
            sales = PLANTS[planted](dice, sales) if planted else sales
            now = profile_of(sales, "EUR", "elsewhere" if planted == "moved" else f"cell-{n}")
            found = (
                {name for name in SIGNALS if judge(name, settings[name], now, past[:30], [])} if day >= usual else set()
            )
            counts[f"planted {planted}"] += bool(planted)
            counts[f"found {planted}"] += planted in found
            counts["right"] += bool(planted) * bool(found)
            counts["wrong"] += not planted and bool(found)
            counts.update(f"wrong {name}" for name in found if not planted)
            past.insert(0, now)
    report(counts, terminals * LATER)


def report(counts: Counter[str], judged: int) -> None:
    for name in PLANTS:
        print(
            f"{name:15} {counts[f'found {name}']:4} of {counts[f'planted {name}']:4} found, {counts[f'wrong {name}']:4} wrongly"
        )
    planted = sum(counts[f"planted {name}"] for name in PLANTS)
    ratios = {
        "risk_precision": counts["right"] / max(counts["right"] + counts["wrong"], 1),
        "risk_recall": sum(counts[f"found {name}"] for name in PLANTS) / planted,
    }
    print(
        f"{judged:,} batches judged, {planted} planted: "
        + ", ".join(f"{name} {value:.3f}" for name, value in ratios.items())
    )
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(results | {name: round(value, 3) for name, value in ratios.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300, int(sys.argv[2]) if len(sys.argv) > 2 else 30)
