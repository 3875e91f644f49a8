"""Signed sales of many terminals while parts are killed again and again: is any lost, counted twice, or out of order?

python -m bench.faults --events 50000 --kills 20 --broker mosquitto

Three links, PostgreSQL and the broker (of RabbitMQ's three nodes each) are killed in turn (SIGKILL) and started again, while
terminals send sales in order and, as terminals do, send again what the server has not acknowledged. The embedded broker forgets
everything when it is killed. At the end PostgreSQL is away for --away seconds. It exits with 1 where a sale that the server
acknowledged is missing, where one counts twice, where the order of a terminal's sales that were sent once is not kept, or where
the backlog takes more than two minutes.
"""

import argparse
import itertools
import random
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.parts import BROKERS, Parts, with_terminals

if TYPE_CHECKING:
    from bench.wire import Wire
    from terminals.simulator.device import Device, Outgoing

TERMINALS = 500
TOGETHER = 50
MOST_WAITING = 3000  # sales that the server has not acknowledged, before it sends more
AGAIN_AFTER_SECONDS = 8.0
DRAINED_WITHIN_SECONDS = 120.0


class Sale(NamedTuple):
    """A sale as it was published, its transaction's id, and whether it counts (declined ones do not)."""

    outgoing: "Outgoing"
    transaction_id: str
    counts: bool


class Sender:
    """Publishes sales and remembers which the server has acknowledged, and which it had to send again."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire
        self.waiting: dict[str, tuple[float, Sale]] = {}
        self.again: set[str] = set()
        self.acknowledged: set[str] = set()

    def send(self, sales: "Sequence[tuple[str, Sale]]") -> None:
        now = time.monotonic()
        self.waiting |= {message_id: (now, sale) for message_id, sale in sales}
        self._wire.publish([sale.outgoing for _, sale in sales])

    def turn(self) -> None:
        """Take acknowledgements, and send again what has waited for long."""
        now = time.monotonic()
        for payload in self._wire.received():
            for message_id in msgspec.json.decode(payload)["body"].get("ids", ()):
                if waited := self.waiting.pop(message_id, None):
                    self.acknowledged.add(waited[1].transaction_id)
        late = [(n, sale) for n, (since, sale) in self.waiting.items() if now - since > AGAIN_AFTER_SECONDS]
        self.again |= {sale.transaction_id for _, sale in late}
        if late:
            self.send(late[:2000])

    def drain(self, seconds: float) -> float:
        """Wait until all is acknowledged; return how long that took, or infinity."""
        began = time.monotonic()
        while self.waiting:
            if time.monotonic() - began > seconds:
                return float("inf")
            self.turn()
            time.sleep(0.1)
        return time.monotonic() - began


def sales_of(devices: "Sequence[Device]", count: int) -> "list[tuple[str, Sale]]":
    """Make sales in turn over the devices."""
    made: list[tuple[str, Sale]] = []
    for device in itertools.cycle(devices):
        if len(made) >= count:
            return made
        if not device.sell():
            continue
        for outgoing in device.upload_transactions():
            envelope = msgspec.json.decode(outgoing.payload)
            [record] = envelope["body"]["records"]
            made.append((envelope["id"], Sale(outgoing, record["id"], record["kind"] != "declined")))
        device.memory.pending.clear()
    return made


def run(parts: Parts, sender: Sender, sales: "list[tuple[str, Sale]]", kills: int) -> None:
    """Send all sales, killing a part after every so many; it is started again moments later."""
    dice = random.Random(1)  # the same each time
    victims, every, killed = itertools.cycle(sorted(parts.names)), len(sales) // (kills + 1), 0
    for at in range(0, len(sales), TOGETHER):
        sender.send(sales[at : at + TOGETHER])
        sender.turn()
        if killed < min(kills, at // every):
            victim, killed = next(victims), killed + 1
            print(f"{at:,} sent, {len(sender.acknowledged):,} acknowledged: killing {victim}", flush=True)
            parts.kill_for(victim, dice.uniform(0.5, 3))
        while len(sender.waiting) > MOST_WAITING:
            sender.turn()
            time.sleep(0.05)
    parts.wait_for_all()


def faults_of(sender: Sender, sales: "list[tuple[str, Sale]]") -> list[str]:
    """Hold the database against what was sent; return what is wrong."""
    from django.db import connection
    from django.db.models import Sum

    from terminals.link.models import DeadLetter
    from terminals.settlement.models import Batch, Transaction

    connection.close()
    stored = list(Transaction.objects.order_by("id").values_list("terminal_id", "transaction_id", "sequence"))
    ids, wrong = [str(transaction_id) for _, transaction_id, _ in stored], []
    if missing := sender.acknowledged - set(ids):
        wrong.append(f"{len(missing)} acknowledged and missing")
    if len(ids) != len(set(ids)) or len(ids) != len(sales):
        wrong.append(f"{len(ids)} stored, {len(set(ids))} different ones, {len(sales)} sold")
    counted = Batch.objects.aggregate(n=Sum("transaction_count"))["n"]
    if counted != (sold := sum(sale.counts for _, sale in sales)):
        wrong.append(f"batches count {counted}, {sold} were sold")
    sent_as = {sale.transaction_id: number for number, (_, sale) in enumerate(sales)}
    latest: dict[int, int] = {}
    for terminal_id, transaction_id, sequence in stored:
        if str(transaction_id) in sender.again:
            continue
        if sequence < latest.get(terminal_id, 0):
            late = f"{sequence} (the {sent_as[str(transaction_id)]:,}th sent) after {latest[terminal_id]}"
            wrong.append(f"terminal {terminal_id}: {late}")
        latest[terminal_id] = sequence
    letters = list(DeadLetter.objects.values_list("reason", flat=True))
    return wrong + ([f"dead letters: {letters[:5]}"] if letters else [])


def away(parts: Parts, sender: Sender, sales: "list[tuple[str, Sale]]", seconds: float) -> list[str]:
    """Keep PostgreSQL away for a while under load; return what is wrong."""
    parts.kill("database")
    time.sleep(1)
    sender.turn()
    before, ends = len(sender.acknowledged), time.monotonic() + seconds
    sender.send(sales)
    while time.monotonic() < ends:
        sender.turn()
        time.sleep(0.5)
    meanwhile = len(sender.acknowledged) - before
    parts.start("database")
    drained = sender.drain(DRAINED_WITHIN_SECONDS * 2)
    print(f"database away for {seconds:.0f} s: {meanwhile} acknowledged meanwhile, drained in {drained:.1f} s")
    late = [f"drained in {drained:.0f} s"] if drained > DRAINED_WITHIN_SECONDS else []
    return late + ([f"{meanwhile} acknowledged without a database"] if meanwhile else [])


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--away", type=float, default=60)
    parser.add_argument("--broker", choices=BROKERS, default="embedded")
    options = parser.parse_args(argv)
    with with_terminals(options.broker, TERMINALS) as (parts, devices):
        from bench.wire import Wire

        parts.start_broker()
        parts.add_links(3)
        with Wire() as wire:
            sender, began = Sender(wire), time.monotonic()
            sales, last = sales_of(devices, options.events), sales_of(devices, options.events // 10)
            run(parts, sender, sales, options.kills)
            drained = sender.drain(DRAINED_WITHIN_SECONDS * 2)
            took = time.monotonic() - began
            print(f"{len(sales):,} sales, {options.kills} kills, {len(sender.again):,} sent again, {took:.0f} s")
            wrong = [f"drained in {drained:.0f} s"] if drained > DRAINED_WITHIN_SECONDS else []
            if options.away:
                wrong += away(parts, sender, last, options.away)
                sales += last
            wrong += faults_of(sender, sales)
    print("\n".join(wrong) or "none acknowledged and missing, none counted twice, order kept")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
