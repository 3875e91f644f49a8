"""The imagined acquirer's files are read by the profiles that describe them, with the mistakes that are planted in them."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

from fleet.local.demo import CREDIT_PROFILES
from terminals.estate.models import Organisation
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.credits.rules import checked
from terminals.settlement.models import BatchCredit, CreditProfile, Difference, SettlementRun, Transaction
from terminals.simulator import yesterday
from terminals.simulator.acquirer import ACQUIRER, BANK, Settled, files_about, settled
from terminals.simulator.memory import Memory
from tests.conftest import deliver, working_device
from tests.terminals.settlement.credits.conftest import brought, registered

DAY, NOW = date(2026, 11, 25), datetime(2026, 11, 26, 6, tzinfo=UTC)


def note(batches: list[Settled], memory: Memory, tid: str, number: int) -> None:
    batches.append(settled(memory, tid, number))


def profiles(organisation: Organisation) -> dict[str, CreditProfile]:
    return {
        name: CreditProfile.objects.create(
            organisation=organisation, name=name, format=form, settings=checked(form, settings)
        )
        for name, form, settings in CREDIT_PROFILES
    }


def test_a_day_is_sold_settled_and_credited_with_a_few_mistakes(db: None) -> None:
    acquirer = Organisation.objects.create(name="Acquirer")
    devices = [working_device(registered(acquirer, f"SN-{n}", f"{n:08d}")) for n in range(1, 7)]
    batches: list[Settled] = []
    for number, device in enumerate(devices, start=1):
        device.on_closed = partial(note, batches, device.memory, f"{number:08d}")
        deliver(*yesterday.live_through(device, datetime.now(UTC)))
    assert set(SettlementRun.objects.values_list("state", "trigger")) == {("balanced", "terminal")}
    assert Transaction.objects.count() >= 6 * yesterday.FEWEST
    assert not Difference.objects.exists()
    by_name = profiles(acquirer)
    for file in files_about(batches, DAY, NOW, mistakes=True):
        job = brought(by_name[file.profile], file.content, file.name)
        assert job.state == "done"
        assert job.reject_count == (file.profile == ACQUIRER)
    told = [sentence_of(one) for one in Difference.objects.all()]
    for what in (
        "25.00 EUR too little",
        "credited twice",
        "10.00 EUR too much",
        "09999999, a terminal that nobody knows",
    ):
        assert sum(what in one for one in told) == 1, told
    assert len(told) == 4
    assert {one.method for one in BatchCredit.objects.filter(terminal__tid="00000002")} <= {"card", "qr"}


def test_without_mistakes_all_that_was_settled_is_credited(db: None) -> None:
    acquirer = Organisation.objects.create(name="Acquirer")
    device = working_device(registered(acquirer, "SN-1", "00000001"))
    deliver(*yesterday.live_through(device, datetime.now(UTC)))
    (file,) = files_about([settled(device.memory, "00000001", 1)], DAY, NOW, mistakes=False)
    assert file.profile == BANK
    assert brought(profiles(acquirer)[BANK], file.content).state == "done"
    assert not Difference.objects.exists()


def test_a_day_has_its_peaks_and_is_not_lived_twice(db: None) -> None:
    device = working_device(registered(Organisation.objects.create(name="A"), "SN-1", "00000001"))
    now = datetime.now(UTC)
    yesterday.live_through(device, now)
    (sold,) = device.memory.archive.values()
    assert all(7 <= one.occurred_at.hour <= 20 for one in sold)
    assert {one.occurred_at.date() for one in sold} == {(now - timedelta(days=1)).date()}
    assert yesterday.live_through(device, now) == []
