"""The planted estate: whole, repeatable, and counted on the overview like any other."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from firmware.models import InstalledSoftware
from fleet.pages import selectors
from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Merchant, Store, Terminal
from terminals.keys.models import TerminalKey
from terminals.link.models import DeviceSession
from terminals.settlement.models import Batch, SettlementRun, SettlementSchedule
from terminals.settlement.runs.opening import run_due_settlements

pytestmark = pytest.mark.django_db


def seed(terminals: int) -> str:
    told = StringIO()
    call_command("seed_estate", terminals=terminals, stdout=told)
    return told.getvalue()


def test_an_estate_is_planted_whole_and_a_repeat_adds_what_lacks() -> None:
    seed(60)
    assert "100 terminals" in seed(100)
    seed(100)
    assert (Terminal.objects.count(), Store.objects.count(), Merchant.objects.count()) == (100, 4, 1)
    at_work = Terminal.objects.exclude(state="registered").count()
    assert at_work == 99
    for model, each in ((DeviceSession, 1), (TerminalKey, 1), (SettlementSchedule, 1), (Batch, 2), (SettlementRun, 1)):
        assert model.objects.count() == at_work * each, model
    assert InstalledSoftware.objects.count() == at_work * 2
    seeded = AuditEntry.objects.filter(action="estate.seed").order_by("id").values_list("detail", flat=True)
    assert list(seeded) == [{"first": 0, "last": 59}, {"first": 60, "last": 99}]
    assert not [terminal for terminal in Terminal.objects.all() if terminal.public_key_pem]


def test_it_is_counted_like_any_other_and_nobody_of_it_is_due(staff: Client) -> None:
    seed(300)
    overview = selectors.overview(timezone.now())
    assert overview.states == {"active": 296, "registered": 3, "suspended": 1}
    assert overview.online == DeviceSession.objects.filter(online=True).count()
    assert run_due_settlements(timezone.now()) == 0
    assert staff.get(reverse("terminal-page", args=[Terminal.objects.get(serial="SEED-0000007").pk])).status_code == 200


def test_its_cost_does_not_grow_with_its_size() -> None:
    costs = []
    for terminals in (50, 500):
        with CaptureQueriesContext(connection) as captured:
            seed(terminals)
        costs.append(len(captured))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("terminals", [0, -1, 10**9])
def test_an_impossible_number_is_refused(terminals: int) -> None:
    with pytest.raises(CommandError, match="from 1 to"):
        seed(terminals)
    assert not Terminal.objects.exists()
