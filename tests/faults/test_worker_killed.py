"""A worker dies at any instant (kill -9) while terminals are due and a bank's file is read: nothing is done twice, or not."""

import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from terminals.common.facts.models import Fact
from terminals.estate.models import Organisation, Terminal
from terminals.link.models import Command
from terminals.link.protocol.messages.settlement import Settlement, Total
from terminals.settlement import tasks
from terminals.settlement.credits.services import bring
from terminals.settlement.models import (
    BatchCredit,
    BatchProfile,
    CreditEntry,
    CreditFile,
    Difference,
    SettlementRun,
    SettlementSchedule,
)
from tests import services
from tests.conftest import deliver, make_plan, set_schedule, sold, working_device
from tests.terminals.settlement.credits.conftest import make_profile, registered
from tests.terminals.settlement.credits.files import Credit, camt

pytestmark = pytest.mark.django_db(transaction=True)
TERMINALS, ENTRIES = 12, 600
# What beat and worker do, in small steps, so that a kill meets each of them.
WORKER = """
import django; django.setup()
import time
from terminals.settlement import tasks
from terminals.settlement.credits import matching, reading
from terminals.settlement.risk import services as risk
from terminals.settlement.runs import opening
reading.CHUNK = matching.CHUNK = 40
risk.CHUNK = opening.CHUNK = 3
print("up", flush=True)
while True:
    tasks.settle_due(); tasks.work_on_credits(); tasks.look_for_risk(); time.sleep(0.01)
"""


def worker() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "DATABASE_URL": services.address(connection.settings_dict["NAME"])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.fixture
def terminals() -> list[Terminal]:
    organisation = Organisation.objects.create(name="Acquirer")
    plan = make_plan("nightly", cycle="0 3 * * *", time_zone="UTC", check_network="ignore")
    made = []
    for n in range(TERMINALS):
        terminal = registered(organisation, f"SN-{n}", f"{n:08d}")
        device = working_device(terminal)
        set_schedule(terminal=terminal, plan=plan, actor="ops")
        deliver(sold(device, 1000), device.report("settlement", Settlement(1, device.now(), "EUR", TOTALS)))
        made.append(terminal)
    return made


TOTALS = [Total("card", "sale", "EUR", 1, 1000)]


def killed_until_done(dice: random.Random) -> Iterator[int]:
    """Start workers and kill each at some instant, until one finds nothing left to do."""
    for attempt in range(40):
        process = worker()
        until = time.monotonic() + (dice.uniform(0.05, 0.5) if attempt < 25 else 20)
        while time.monotonic() < until and CreditFile.objects.exclude(state="done").exists():
            time.sleep(0.02)
        done = not CreditFile.objects.exclude(state="done").exists()
        process.kill()
        process.wait()
        # As when its lease had run out. That a file which kills its reader is given up is another test's matter.
        CreditFile.objects.update(leased_until=None, attempts=0)
        yield attempt
        if done:
            return


def test_a_worker_that_is_killed_again_and_again_asks_each_terminal_once_and_counts_each_entry_once(
    terminals: list[Terminal],
) -> None:
    profile = make_profile(Organisation.objects.get())
    credits = [Credit(f"{n % TERMINALS:08d}", 1 + n // TERMINALS, entry_id=f"R{n}") for n in range(ENTRIES)]
    bring(profile=profile, file=io.BytesIO(camt(credits)), name="bank.xml", actor="ann")
    due = timezone.now() - timedelta(minutes=1)
    SettlementSchedule.objects.update(next_due_at=due, cycle_at=due)
    kills = len(list(killed_until_done(random.Random(8))))
    assert kills > 2, "it was killed in the midst"
    job = CreditFile.objects.get()
    assert (job.state, job.entry_count, job.handled_count) == ("done", ENTRIES, ENTRIES)
    assert CreditEntry.objects.filter(state="matched").count() == ENTRIES
    assert BatchCredit.objects.aggregate(n=Sum("entry_count"), net=Sum("net_minor")) == {
        "n": ENTRIES,
        "net": ENTRIES * 1000,
    }
    assert Fact.objects.filter(kind="settlement.batch_credited").count() == ENTRIES
    assert Difference.objects.filter(is_open=True).count() == ENTRIES - TERMINALS, "all but what was settled"
    asked = SettlementRun.objects.filter(trigger="cycle")
    assert sorted(asked.values_list("terminal_id", flat=True)) == sorted(one.pk for one in terminals)
    assert Command.objects.filter(type="settle").count() == TERMINALS
    tasks.look_for_risk()
    assert BatchProfile.objects.count() == TERMINALS
