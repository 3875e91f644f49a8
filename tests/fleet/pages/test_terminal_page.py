"""A terminal's page: what is at stake, what cannot be known, and what became of a terminal that left service."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from fleet.pages.terminal import TABS, primary_verbs
from terminals.estate.models import Membership, Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.keys.services import request_key_delivery
from terminals.link.heartbeat import beat
from terminals.link.protocol.messages.health import Tamper
from terminals.settlement.models import SettlementRun
from terminals.settlement.runs.services import request_settlement
from terminals.simulator.device import Device
from terminals.simulator.faults import Faults
from tests.conftest import deliver, enrolled_device, make_plan, obey, sold, working_device

Register = Callable[[str], Terminal]


@pytest.fixture
def terminal(register: Register) -> Terminal:
    return register("SN-1")


@pytest.fixture
def device(terminal: Terminal) -> Device:
    make_plan("nightly", cycle="30 22 * * *", time_zone="UTC", is_default=True)
    return working_device(terminal)


def page(client: Client, terminal: Terminal, tab: str = "") -> str:
    return client.get(reverse("terminal-page", args=[terminal.pk]), {"tab": tab}).content.decode()


def retire(terminal: Terminal, **write_off: int) -> None:
    change_state(terminal=terminal, transition=TerminalTransition.retire, actor="ops", write_off=write_off)


def test_a_state_is_a_badge_in_its_colour(staff: Client, terminal: Terminal, device: Device) -> None:
    assert '<span class="tw-pill tw-success-tone">active</span>' in page(staff, terminal)
    change_state(terminal=terminal, transition=TerminalTransition.suspend, actor="ops")
    assert '<span class="tw-pill tw-warning-tone">suspended</span>' in page(staff, terminal)
    listed = staff.get(reverse("admin:terminals_terminal_changelist")).content.decode()
    assert "bg-orange-100" in listed.split("suspended")[-2] + listed, "unfold's badge of a warning"


def test_suspending_and_retiring_say_what_is_at_stake_and_offer_to_settle_and_lock_first(
    staff: Client, terminal: Terminal, device: Device
) -> None:
    deliver(sold(device, 4757))
    shown = page(staff, terminal)
    for button in (
        "do-settle-before-suspending",
        "do-settle-before-retiring",
        "do-settle-before-replacing",
        "do-lock-before-retiring",
    ):
        assert f'id="{button}"' in shown
    assert shown.count("Not settled: 47.57 EUR in 1 transaction.") == 3
    assert 'value="EUR:4757"' in shown


def test_a_suspended_terminal_promises_no_next_settlement(staff: Client, terminal: Terminal, device: Device) -> None:
    assert "· next " in page(staff, terminal)
    change_state(terminal=terminal, transition=TerminalTransition.suspend, actor="ops")
    assert "· next " not in page(staff, terminal)


def test_a_retired_terminals_page_says_what_was_written_off(staff: Client, terminal: Terminal, device: Device) -> None:
    deliver(sold(device, 4757))
    retire(terminal, EUR=4757)
    shown = page(staff, terminal)
    assert "written off" in shown
    assert "nothing was open when it retired" not in shown


def test_a_retired_terminal_that_goes_on_sending_shows_it(staff: Client, terminal: Terminal, device: Device) -> None:
    retire(terminal)
    assert 'id="still-sending"' not in page(staff, terminal)
    deliver(sold(device, 100), sold(device, 200))
    assert "2 messages were refused." in page(staff, terminal)


def test_keys_that_do_not_match_are_to_be_looked_into(staff: Client, register: Register) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal, Faults(wrong_kcv=True))
    deliver(device.hello())
    terminal.refresh_from_db()
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")
    panel = staff.get(reverse("overview-panel")).content.decode()
    card = panel[panel.index('id="to-look-into"') :]
    assert "state__exact=mismatch" in card[: card.index("</section>")]


def test_every_instant_on_the_page_has_its_offset_in_english_too(
    staff: Client, terminal: Terminal, device: Device
) -> None:
    assert f"{timezone.now():%Y}" in page(staff, terminal)
    assert "+0000" in page(staff, terminal)


def test_a_settlement_that_failed_because_its_terminal_retired_is_nothing_to_look_into(
    staff: Client, terminal: Terminal, device: Device
) -> None:
    request_settlement(terminal=terminal, actor="ops")
    retire(terminal)
    assert "Settlements to look into" not in staff.get(reverse("overview-panel")).content.decode()


def test_the_unsettled_sum_leads_to_the_open_batches(staff: Client, terminal: Terminal, device: Device) -> None:
    deliver(sold(device, 4757))
    panel = staff.get(reverse("overview-panel")).content.decode()
    address = reverse("admin:settlement_batch_changelist") + "?closed__exact=0"
    assert address in panel
    assert "47.57 EUR" in staff.get(address).content.decode()


def test_a_schedule_that_ends_a_terminals_settling_says_so_with_the_money(
    staff: Client, terminal: Terminal, device: Device
) -> None:
    deliver(sold(device, 4757))
    by_hand = make_plan("by hand")
    url = reverse("settlement-level", args=["terminal", terminal.pk])
    ahead = staff.post(url, {"plan": by_hand.pk, "preview": "1"}).content.decode()
    assert "1 terminal would NOT settle by itself any more. Not settled: 47.57 EUR in 1 transaction" in ahead
    shown = staff.post(url, {"plan": by_hand.pk, "set": "1"}, follow=True).content.decode()
    assert "SN-1 does NOT settle by itself any more." in shown
    assert "Not settled: 47.57 EUR in 1 transaction." in shown
    assert "it does NOT settle by itself" in page(staff, terminal)


def test_with_the_link_down_nobody_counts_who_is_online(staff: Client, terminal: Terminal, device: Device) -> None:
    panel: Any = staff.get(reverse("overview-panel")).content.decode()  # no link beats in this test
    assert 'id="link-unknown"' in panel
    assert "1 were online when the link was last heard." in panel
    assert "broker" not in panel[panel.index("Not answering") : panel.index("</b>", panel.index("Not answering"))]


@pytest.mark.parametrize(
    ("tab", "told"),
    [
        ("timeline", "booted and connected"),
        ("health", "Last readings"),
        ("money", ""),
        ("software", "<dt>payment</dt>"),
        ("keys", "KCV"),
        ("parameters", "each value, and where it comes from"),
        ("nonsense", "booted and connected"),
    ],
)
def test_each_tab_shows_its_part(staff: Client, terminal: Terminal, device: Device, tab: str, told: str) -> None:
    deliver(device.hello(), device.health())
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")
    shown = page(staff, terminal, tab)
    known = tab if tab in TABS else "timeline"
    assert f'id="tab-{known}" aria-current="page"' in shown
    assert f'terminals/{terminal.pk}/panel/?tab={known}"' in shown
    content = shown[shown.index(f'id="tab-content-{known}"') :]
    if tab == "money":
        run = SettlementRun.objects.get()
        assert f'id="run-{run.pk}"' in content
        return
    assert told in content


def test_who_may_not_see_a_part_has_no_tab_for_it(client: Client, terminal: Terminal, device: Device) -> None:
    user = User.objects.create_user("ida", is_staff=True)
    role = Group.objects.get(name="installer")
    Membership.objects.create(user=user, role=role, merchant=terminal.store.merchant)
    client.force_login(user)
    shown = page(client, terminal, "money")
    assert 'id="tab-timeline" aria-current="page"' in shown
    assert "tab=money" not in shown
    assert "Not yet settled" not in shown


def badges_on(page: str) -> list[tuple[str, str]]:
    return re.findall(r'id="badge-(\w+)-[0-9]+">([^<]+)<', page)


def test_the_head_says_what_is_wrong_and_leads_to_it(staff: Client, terminal: Terminal, device: Device) -> None:
    for part in ("link", "broker"):
        beat(name=f"{part}:one", part=part, healthy=True, at=timezone.now())
    deliver(device.hello(), device.health())
    healthy = page(staff, terminal)
    assert badges_on(healthy) == [("timeline", "online")]
    device.memory.paper = 0
    device.memory.locked = True
    deliver(device.hello(), device.health(), device.report("tamper", Tamper(True, device.now(), "case open")))
    SettlementRun.objects.create(
        terminal=terminal,
        trigger="operator",
        state="unbalanced",
        requested_at=timezone.now(),
        finished_at=timezone.now(),
    )
    wrong = [
        ("timeline", "online"),
        ("timeline", "locked"),
        ("health", "tamper"),
        ("health", "printer: out of paper"),
        ("money", "settlement: unbalanced"),
    ]
    assert badges_on(page(staff, terminal)) == wrong


@pytest.mark.parametrize(
    ("verbs", "registered", "locked", "first"),
    [
        ({"settle", "ping", "lock", "unlock", "retire"}, False, False, ["settle", "ping"]),
        ({"settle", "ping", "lock", "unlock", "retire"}, False, True, ["unlock", "settle"]),
        ({"resume", "retire", "replace"}, False, False, ["resume"]),
        ({"activation_code", "retire"}, True, False, ["activation_code"]),
        ({"activation_code", "settle", "ping"}, False, False, ["settle", "ping"]),
        (set(), False, False, []),
    ],
)
def test_two_actions_stand_first(verbs: set[str], registered: bool, locked: bool, first: list[str]) -> None:
    assert primary_verbs(verbs, registered=registered, locked=locked) == first


def test_an_action_comes_back_to_its_tab(staff: Client, terminal: Terminal, device: Device) -> None:
    url = reverse("terminal-action", args=[terminal.pk])
    shown = page(staff, terminal, "keys")
    assert f'action="{url}"' in shown
    assert '<input type="hidden" name="tab" value="keys">' in shown
    answer = staff.post(url, {"action": "ping", "tab": "keys"})
    assert answer["Location"] == reverse("terminal-page", args=[terminal.pk]) + "?tab=keys"
    assert staff.post(url, {"action": "ping", "tab": "//evil.example"})["Location"].endswith("?tab=timeline")
