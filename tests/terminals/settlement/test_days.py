"""Any day that a terminal lives goes through the whole server and reconciles to zero on all three sides; whatever is planted in
it is found, with its kind, its amount and its suspects."""

import random
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
import uuid_utils.compat

from terminals.link.protocol.messages.settlement import Transactions
from terminals.settlement.models import BatchCredit, Case, CreditProfile, Difference, SettlementRun, Transaction
from terminals.simulator import till, yesterday
from terminals.simulator.acquirer import files_about, settled
from terminals.simulator.books import net_minor
from terminals.simulator.device import Device
from tests.conftest import deliver
from tests.terminals.settlement.credits import conftest as credits
from tests.terminals.settlement.credits.conftest import brought

acquirer, terminal, device, profile = credits.acquirer, credits.terminal, credits.device, credits.profile
SEEDS = range(4)
NOW = datetime(2026, 11, 26, 6, tzinfo=UTC)


def live(device: Device, seed: int) -> None:
    """Let the terminal sell through a day, of any size and any kinds of payments."""
    device.dice = random.Random(seed)
    midnight = device.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    for instant in yesterday.instants(device.dice, midnight):
        till.sell(device.memory, device.dice, instant)


def close_and_credit(device: Device, profile: CreditProfile, *, less: int = 0) -> None:
    number = device.memory.batch_number
    deliver(device.close_batch(device.now()))
    batch = settled(device.memory, "00000001", number)
    told = msgspec.structs.replace(batch, card_minor=batch.card_minor - less)
    (file,) = files_about([told], date(2026, 11, 25), NOW, mistakes=False)
    assert brought(profile, file.content).state == "done"


@pytest.mark.parametrize("seed", SEEDS)
def test_any_day_reconciles_to_zero(device: Device, profile: CreditProfile, seed: int) -> None:
    live(device, seed)
    net = net_minor(device.memory.batch)
    deliver(*device.upload_transactions())
    close_and_credit(device, profile)
    run = SettlementRun.objects.get()
    assert (run.state, run.reported_minor, run.difference_minor) == ("balanced", net, 0)
    assert BatchCredit.objects.get().net_minor == net
    assert not Case.objects.exists()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_payment_that_was_lost_is_found_and_heals_when_it_comes(
    device: Device, profile: CreditProfile, seed: int
) -> None:
    live(device, seed)
    sales = [one for one in device.memory.batch if one.kind == "sale"]
    lost = random.Random(seed).choice(sales)
    device.memory.unsent.remove(lost)
    number = device.memory.batch_number
    deliver(*device.upload_transactions())
    close_and_credit(device, profile)
    found = Difference.objects.get()
    assert (found.kind, found.difference_minor, found.scheme) == ("missing_record", lost.amount_minor, lost.scheme)
    assert found.missing == [lost.sequence]
    deliver(device.report("transactions", Transactions(number, [lost])))
    assert (SettlementRun.objects.get().state, Case.objects.get().state) == ("balanced", "explained")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_payment_that_was_uploaded_twice_is_found(device: Device, profile: CreditProfile, seed: int) -> None:
    live(device, seed)
    twice = random.Random(seed).choice([one for one in device.memory.batch if one.kind == "sale"])
    again = msgspec.structs.replace(twice, id=uuid_utils.compat.uuid7())
    deliver(
        *device.upload_transactions(), device.report("transactions", Transactions(device.memory.batch_number, [again]))
    )
    close_and_credit(device, profile)
    found = Difference.objects.get()
    assert (found.kind, found.difference_minor) == ("duplicate", -twice.amount_minor)
    suspects = Transaction.objects.filter(pk__in=found.suspects)
    assert {str(one.transaction_id) for one in suspects} <= {str(twice.id), str(again.id)}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_bank_kept_is_found_with_the_sale_of_just_that_amount(
    device: Device, profile: CreditProfile, seed: int
) -> None:
    live(device, seed)
    kept = random.Random(seed).choice([one for one in device.memory.batch if one.kind == "sale"])
    deliver(*device.upload_transactions())
    close_and_credit(device, profile, less=kept.amount_minor)
    found = Difference.objects.get()
    assert (found.kind, found.difference_minor) == ("credited_short", kept.amount_minor)
    assert Transaction.objects.get(pk__in=found.suspects).amount_minor == kept.amount_minor


@pytest.mark.parametrize("seed", SEEDS)
def test_a_payment_that_was_uploaded_with_another_amount_is_found(
    device: Device, profile: CreditProfile, seed: int
) -> None:
    live(device, seed)
    sale = next(one for one in device.memory.unsent if one.kind == "sale")
    wrong = msgspec.structs.replace(sale, amount_minor=sale.amount_minor + 77)
    device.memory.unsent[device.memory.unsent.index(sale)] = wrong
    deliver(*device.upload_transactions())
    close_and_credit(device, profile)
    found = Difference.objects.get()
    assert (found.kind, found.difference_minor, found.method) == ("amount", -77, sale.method)
