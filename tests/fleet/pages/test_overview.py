"""The overview: its numbers are right after every change, its cost is that of a page, and only staff sees it."""

import html
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fleet.pages import selectors
from fleet.pages.models import DAILY, Tally, TallyChange
from fleet.pages.tasks import fold_tallies
from terminals.common.scope import Reach
from terminals.estate.models import Merchant, Store, Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.health.models import HealthState
from terminals.link.heartbeat import beat
from terminals.link.models import DeviceSession
from terminals.link.protocol import messages, signing
from terminals.link.protocol.messages.settlement import Settlement, Total
from terminals.link.services import send_plain_command
from terminals.settlement.models import SettlementRun, SettlementSchedule
from terminals.settlement.runs.services import request_settlement
from terminals.simulator.device import Outgoing
from terminals.simulator.faults import Faults
from tests.conftest import deliver, enrolled_device, obey, sold, working_device

Register = Callable[[str], Terminal]


def overview() -> selectors.Overview:
    return selectors.overview(datetime.now(UTC))


def test_the_numbers_follow_every_change(register: Register) -> None:
    terminal = register("SN-1")
    assert overview().states == {"registered": 1}
    device = enrolled_device(terminal, Faults(wrong_totals=True))
    deliver(device.hello(), device.health())
    register("SN-2")
    assert overview().states == {"active": 1, "registered": 1}
    assert (overview().online, overview().offline) == (1, 0)
    device.sell()
    device.memory.paper = 0
    sold = device.memory.batch[0].amount_minor
    deliver(*device.upload_transactions(), device.health())
    assert overview().printers == {"out_of_paper": 1}
    assert overview().unsettled == [f"{sold // 100}.{sold % 100:02d} EUR"]
    terminal.refresh_from_db()
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    deliver(device.health())
    assert overview().settlements == {"unbalanced": 1}
    assert overview().unreconciled_today == ["12.34 EUR"]
    assert overview().unsettled == []
    change_state(terminal=terminal, transition=TerminalTransition.retire, actor="ops")
    assert overview().states == {"registered": 1, "retired": 1}


def test_folding_the_tallies_changes_no_number(register: Register) -> None:
    for n in range(5):
        deliver(enrolled_device(register(f"SN-{n}")).hello())
    before, rows = overview(), TallyChange.objects.count()
    fold_tallies()
    assert overview() == before
    assert (rows > 0, TallyChange.objects.count()) == (True, 0)
    assert Tally.objects.filter(place="").count() > 0


def test_the_overview_counts_nothing_over_the_fleet(register: Register, operator: Any) -> None:
    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            overview()
            selectors.unresolved_runs(operator)
        return [query["sql"] for query in captured]

    few = queries()
    for n in range(20):
        register(f"SN-{n}")
    assert len(queries()) == len(few) == 2
    assert not any("terminals_terminal" in sql and "COUNT" in sql.upper() for sql in queries())


def test_only_staff_sees_it(client: Client, operator: Any, register: Register) -> None:
    terminal = register("SN-1")
    pages = [
        "/admin/",
        "/admin/overview/panel/",
        f"/admin/terminals/{terminal.pk}/",
        f"/admin/terminals/{terminal.pk}/panel/",
    ]
    for page in pages:
        assert client.get(page).status_code == 302
    client.force_login(operator)
    for page in pages:
        assert client.get(page).status_code == 200


def test_a_terminals_page_takes_a_fixed_number_of_queries(client: Client, operator: Any, register: Register) -> None:
    client.force_login(operator)
    terminal = register("SN-1")
    device = enrolled_device(terminal)

    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(f"/admin/terminals/{terminal.pk}/panel/").status_code == 200
        return len(captured)

    deliver(device.hello(), device.health())
    cost()  # the first page of a session looks up the operator's preferences
    first = cost()
    for _ in range(5):
        device.sell()
        deliver(*device.upload_transactions(), device.health())
    assert cost() == first
    assert HealthState.objects.count() == 1


def test_the_page_says_when_nothing_is_heard_any_more(client: Client, operator: Any) -> None:
    client.force_login(operator)
    now = datetime.now(UTC)
    for part in ("link", "broker", "worker"):
        beat(name=f"{part}:one", part=part, healthy=True, at=now)
    assert "Not answering" not in client.get("/admin/overview/panel/").content.decode()
    assert client.get("/readyz").status_code == 200
    beat(name="link:one", part="link", healthy=True, at=now - timedelta(seconds=20))
    beat(name="broker:one", part="broker", healthy=False, at=now)
    page = client.get("/admin/overview/panel/").content.decode()
    assert "Not answering: link." in page, "of the broker only the link tells"
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["parts"] == {"web": "up", "database": "up", "broker": "down", "link": "down", "worker": "up"}
    assert "the data below is out of date" in page


def test_the_numbers_lead_to_the_terminals_behind_them(client: Client, operator: Any, register: Register) -> None:
    client.force_login(operator)
    device = enrolled_device(register("SN-1"))
    device.memory.paper = 0
    deliver(device.hello(), device.health())
    deliver(enrolled_device(register("SN-2")).hello())
    shown = client.get("/admin/terminals/terminal/?health__printer__exact=out_of_paper").content.decode()
    assert "SN-1" in shown
    assert "SN-2" not in shown


def test_a_terminals_page_does_not_claim_online_while_nothing_is_heard(
    client: Client, operator: Any, register: Register
) -> None:
    client.force_login(operator)
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    now = datetime.now(UTC)
    for part in ("link", "broker"):
        beat(name=f"{part}:one", part=part, healthy=True, at=now)
    url = f"/admin/terminals/{terminal.pk}/panel/"
    assert ">online<" in client.get(url).content.decode()
    beat(name="link:one", part="link", healthy=True, at=now - timedelta(seconds=20))
    page = client.get(url).content.decode()
    assert ">online<" not in page
    assert "Whether this terminal is online cannot be known now" in page


@pytest.mark.parametrize(
    ("zone", "at", "shown"),
    [
        ("UTC", "2026-03-01T23:50:00Z", 1),
        ("UTC", "2026-03-02T00:10:00Z", 0),
        ("Asia/Shanghai", "2026-03-02T00:10:00Z", 1),
        ("Asia/Shanghai", "2026-03-02T15:59:00Z", 1),
        ("Asia/Shanghai", "2026-03-02T16:00:00Z", 0),
        ("Asia/Kathmandu", "2026-03-02T18:14:00Z", 1),
        ("Asia/Kathmandu", "2026-03-02T18:15:00Z", 0),
        ("America/New_York", "2026-03-02T04:59:00Z", 1),
        ("America/New_York", "2026-03-02T05:00:00Z", 0),
    ],
)
def test_today_is_the_readers_day(register: Register, zone: str, at: str, shown: int) -> None:
    """One run finished at 2026-03-01 23:30 UTC; zones of 15 minutes, too, have a midnight of their own."""
    finished = (
        datetime(2026, 3, 1, 18, 20, tzinfo=UTC)
        if zone == "Asia/Kathmandu"
        else datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    )
    SettlementRun.objects.create(
        terminal=register("SN-1"), trigger="terminal", state="failed", requested_at=finished, finished_at=finished
    )
    with timezone.override(zone):
        now = datetime.fromisoformat(at)
        assert selectors.overview(now).settlements.get("failed", 0) == shown
        since, until = selectors.day_of(now)
        assert SettlementRun.objects.filter(finished_at__gte=since, finished_at__lt=until).count() == shown


def test_the_overviews_numbers_lead_to_lists_that_count_the_same(
    client: Client, operator: Any, register: Register, parts_alive: None
) -> None:
    client.force_login(operator)
    online, silent, never = (enrolled_device(register(f"SN-{n}")) for n in range(3))
    register("SN-3")
    deliver(online.hello(), silent.hello(), online.health(), silent.health())
    leave = register("SN-4")
    deliver(enrolled_device(leave).hello())
    leave.refresh_from_db()
    change_state(terminal=leave, transition=TerminalTransition.retire, actor="ops")
    DeviceSession.objects.filter(terminal__serial="SN-1").update(online=False)
    assert never.memory.enrolled
    page = client.get("/admin/overview/panel/").content.decode()
    for filters, shown in (("?link=online", overview().online), ("?link=offline", overview().offline)):
        assert f'href="/admin/terminals/terminal/{filters}"' in page
        rows = client.get(f"/admin/terminals/terminal/{filters}").context["cl"].result_count
        assert rows == shown, filters
    assert (overview().online, overview().offline) == (1, 2)
    for link in re.findall(r'href="(/admin/settlement/settlementrun/[^"]*finished_at[^"]*)"', page):
        assert client.get(html.unescape(link)).status_code == 200


def test_a_locked_terminal_shows_until_it_is_unlocked(client: Client, operator: Any, register: Register) -> None:
    client.force_login(operator)
    terminal = register("SN-1")
    device = working_device(terminal)
    terminal.refresh_from_db()
    for verb, locked in (("lock", True), ("unlock", False)):
        send_plain_command(terminal=terminal, command_type=verb, actor="ops")
        obey(device, verb)
        assert (overview().locked, DeviceSession.objects.get().locked) == (int(locked), locked)
        assert ("locked</a>" in client.get(f"/admin/terminals/{terminal.pk}/panel/").content.decode()) is locked
    device.memory.locked = True
    deliver(device.hello())
    assert overview().locked == 1, "a terminal says in its hello that it is locked"
    said = json.loads(device.hello().payload)
    del said["sig"], said["body"]["locked"]
    key: Any = serialization.load_pem_private_key(device.memory.private_key_pem.encode(), None)
    silent = messages.encode(signing.sign_envelope(said, key))
    assert deliver(Outgoing("tw/v1/13/SN-1/up/hello", silent)).fresh == 1
    assert overview().locked == 1, "one that says nothing of it is as it was"


def test_tallies_of_past_days_are_forgotten(register: Register) -> None:
    finished = datetime.now(UTC) - timedelta(days=5)
    SettlementRun.objects.create(
        terminal=register("SN-1"),
        trigger="terminal",
        state="unbalanced",
        requested_at=finished,
        finished_at=finished,
        difference_minor=5,
        reported_minor=5,
        currency="EUR",
        batch_number=1,
    )
    assert TallyChange.objects.filter(measure__in=DAILY).count() == 3
    fold_tallies()
    assert Tally.objects.filter(measure__in=DAILY).count() == 0


def test_a_terminal_takes_its_numbers_along_when_it_moves(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    deliver(sold(device, 4757), device.health())
    other = Store.objects.create(merchant=Merchant.objects.create(name="Other", mid="2"), name="There")
    here, there = (Reach((path,)) for path in (terminal.store.path, other.path))

    def numbers(reach: Reach) -> tuple[dict[str, int], int, list[str], dict[str, int]]:
        shown = selectors.overview(datetime.now(UTC), lambda permission: reach)
        return shown.states, shown.online, shown.unsettled, shown.printers

    before, nothing = numbers(here), numbers(there)
    assert before == ({"active": 1}, 1, ["47.57 EUR"], {"ok": 1})
    fold_tallies()
    Terminal.objects.filter(pk=terminal.pk).update(store=other)
    assert (numbers(here), numbers(there)) == (nothing, before)
    fold_tallies()
    assert (numbers(here), numbers(there)) == (nothing, before)


def test_numbers_that_are_wrong_are_counted_anew(register: Register) -> None:
    terminal = register("SN-1")
    deliver(working_device(terminal).health())
    right = overview()
    fold_tallies()
    Tally.objects.filter(measure="state").update(amount=7)
    TallyChange.objects.create(measure="online", label="true", amount=5)
    assert overview() != right
    call_command("count_tallies", stdout=io.StringIO())
    assert overview() == right
    assert set(Tally.objects.values_list("place", flat=True)) == {
        "",
        *(node.path for node in (terminal.store.merchant, terminal.store)),
    }


def test_blocked_settlements_and_open_cases_stand_on_the_overview(
    client: Client, operator: Any, register: Register, parts_alive: None
) -> None:
    client.force_login(operator)
    terminal = register("SN-1")
    device = working_device(terminal)
    assert selectors.worries(operator, timezone.now()) == (0, 0, 0, 0, [])
    deliver(device.report("settlement", Settlement(1, device.now(), "EUR", [Total("card", "sale", "EUR", 1, 1234)])))
    SettlementSchedule.objects.filter(terminal=terminal).update(is_blocked=True)
    assert selectors.worries(operator, timezone.now()) == (1, 1, 0, 0, ["12.34 EUR"])
    assert selectors.worries(operator, timezone.now() + timedelta(days=8)).overdue == 1
    page = client.get("/admin/overview/panel/").content.decode()
    assert "12.34 EUR at stake" in page
    assert 'href="/admin/terminals/terminal/?filter=blocked"' in page
