"""What happens to the same money at once: thresholds and cycles, two beats, two files, and one that is taken back meanwhile."""

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from terminals.common.errors import Refusal
from terminals.estate.models import Organisation, Terminal
from terminals.link.protocol.messages.settlement import Settlement, Total
from terminals.settlement import tasks
from terminals.settlement.cases import services as cases
from terminals.settlement.credits.services import bring, withdraw
from terminals.settlement.models import BatchCredit, Case, CreditFile, SettlementRun, SettlementSchedule
from terminals.settlement.tasks import tick
from terminals.simulator.device import Device
from tests.conftest import deliver, in_thread, make_plan, set_schedule, sold, working_device
from tests.terminals.settlement.credits.conftest import make_profile, registered, settled
from tests.terminals.settlement.credits.files import Credit, camt

pytestmark = pytest.mark.django_db(transaction=True)


def devices_of(organisation: Organisation, count: int, **settings: Any) -> list[Device]:
    plan = make_plan("p", time_zone="UTC", check_network="ignore", **settings)
    made = []
    for n in range(count):
        terminal = registered(organisation, f"SN-{n}", f"{n:08d}")
        made.append(working_device(terminal))
        set_schedule(terminal=terminal, plan=plan, actor="ops")
    return made


def at_once(*works: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result(60) for done in [pool.submit(in_thread, work) for work in works]]


def test_a_threshold_that_is_crossed_while_the_cycle_is_due_is_one_settlement() -> None:
    devices = devices_of(Organisation.objects.create(name="A"), 12, cycle="0 3 * * *", amount_limits={"EUR": 100})
    due = timezone.now() - timedelta(seconds=1)
    SettlementSchedule.objects.update(next_due_at=due, cycle_at=due)

    def upload() -> None:
        for device in devices:
            deliver(sold(device, 500))

    def beat() -> None:
        for _ in range(6):
            tick(timezone.now())
            time.sleep(0.01)

    at_once(upload, beat, beat)
    tick(timezone.now())
    assert SettlementRun.objects.count() == len(devices)
    assert set(SettlementRun.objects.values_list("attempt", flat=True)) == {1}
    for device in devices:
        asked = SettlementRun.objects.get(terminal__serial=device.memory.serial).command_id
        totals = [Total("card", "sale", "EUR", 1, 500)]
        deliver(device.report("settlement", Settlement(1, device.now(), "EUR", totals, command_id=asked)))
    tick(timezone.now())
    assert list(SettlementRun.objects.values_list("state", flat=True)) == ["balanced"] * len(devices)


def test_two_files_about_the_same_batches_and_one_that_is_taken_back_meanwhile_add_up() -> None:
    organisation = Organisation.objects.create(name="A")
    devices = devices_of(organisation, 4)
    for device in devices:
        settled(device)
    first, second = (make_profile(organisation, name) for name in ("Bank", "Other bank"))
    halves = [Credit(f"{n:08d}", amount="5.00") for n in range(4)]
    wrong = bring(profile=first, file=io.BytesIO(camt([*halves, *halves])), name="wrong.xml", actor="ann")
    tasks.work_on_credits()
    bring(profile=first, file=io.BytesIO(camt(halves)), name="1.xml", actor="ann")
    bring(profile=second, file=io.BytesIO(camt(halves)), name="2.xml", actor="ann")
    withdraw(job=wrong, actor="ann")
    at_once(tasks.work_on_credits, tasks.work_on_credits, tasks.work_on_credits)
    tasks.work_on_credits()
    assert sorted(CreditFile.objects.values_list("state", flat=True)) == ["done", "done", "withdrawn"]
    assert list(BatchCredit.objects.values_list("net_minor", "entry_count")) == [(1000, 2)] * 4
    assert not Case.objects.filter(closed_at=None).exists()


def test_the_same_file_brought_by_two_at_once_is_taken_once() -> None:
    profile = make_profile(Organisation.objects.create(name="A"))

    def once() -> str:
        try:
            bring(profile=profile, file=io.BytesIO(camt([Credit()])), name="x.xml", actor="ann")
        except Refusal as refusal:
            return refusal.reason
        return "taken"

    assert sorted(at_once(once, once, once)) == ["known_file", "known_file", "taken"]


def test_a_case_that_is_closed_while_it_grows_is_not_closed_with_what_nobody_saw() -> None:
    organisation = Organisation.objects.create(name="A")
    (device,) = devices_of(organisation, 1)

    def unbalanced(number: int) -> None:
        totals = [Total("card", "sale", "EUR", 1, 1234)]
        deliver(device.report("settlement", Settlement(number, device.now(), "EUR", totals)))

    unbalanced(1)
    case = Case.objects.get()

    def close() -> None:
        cases.close(case=case, resolution="written_off", note="", actor="ann")

    at_once(close, partial(unbalanced, 2))
    open_ones = Case.objects.filter(closed_at=None)
    case.refresh_from_db()
    stands = [(one.difference_count, one.amount_minor) for one in open_ones]
    # Either it was closed first, and the second night is a case of its own; or it had grown before, and both were closed.
    assert (case.state, stands) in [("resolved", [(1, 1234)]), ("resolved", [])]
    assert Terminal.objects.get().cases.count() == 1 + len(stands)
