"""Filters: each field finds what it says, and nobody learns by one what they may not see."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.estate.models import Membership, Merchant, Organisation, Store, Terminal, TerminalGroup, TerminalModel
from terminals.estate.registering import register_terminal
from terminals.estate.targets.choosing import matching
from terminals.estate.targets.fields import FLAG, fields
from terminals.estate.targets.language import quoted
from terminals.health.models import HealthState
from terminals.keys.services import request_key_delivery
from terminals.link.models import DeviceSession
from terminals.link.protocol.messages.health import Tamper
from terminals.settlement.runs.services import request_settlement
from tests.conftest import deliver, make_plan, obey, set_parameters, sold, working_device


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def estate(register: Callable[[str], Terminal]) -> None:
    """SN-1 has lived; SN-2 waits at another merchant of an acquirer's reseller."""
    make_plan("nightly", cycle="30 22 * * *", time_zone="UTC", is_default=True)
    terminal = register("SN-1")
    Terminal.objects.update(tags=["pilot", "till 4"], tid="00000001")
    device = working_device(terminal)
    device.memory.paper = 0
    deliver(sold(device, 4757), device.health(), device.report("tamper", Tamper(True, device.now(), "case open")))
    set_parameters(terminal, tip_enabled=True)
    obey(device, "configure")
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    deliver(sold(device, 10000, batch_number=2))
    DeviceSession.objects.update(locked=True, last_seen_at=timezone.now() - timedelta(minutes=10))
    HealthState.objects.update(battery_percent=15, rssi_dbm=-90, latency_ms=250, storage_free_mb=900)
    acquirer = Organisation.objects.create(name="Acquirer")
    reseller = Organisation.objects.create(name="Reseller", parent=acquirer, kind="reseller")
    merchant = Merchant.objects.create(name="Café Ribeira", mid="2", organisation=reseller)
    store = Store.objects.create(merchant=merchant, name="Ribeira", city="Porto")
    model = TerminalModel.objects.create(vendor="Beta", name="Mobile 70", platform="android")
    register_terminal(serial="SN-2", model=model, store=store, actor="ops")


# filter -> the serials that it finds of SN-1 and SN-2
FINDS = {
    "serial = SN-1": "1",
    "serial ~ n-": "12",
    "serial in (SN-2, SN-9)": "2",
    "serial != SN-1": "2",
    "tid = 00000001": "1",
    "search = n-1": "1",
    "search = Ribeira": "2",
    "state = active": "1",
    "state in (active, registered)": "12",
    'model = "Beta Mobile 70"': "2",
    'model = "Mobile 70"': "2",
    "model ~ beta": "2",
    "platform = android": "2",
    "tag = pilot": "1",
    'tag = "till 4"': "1",
    "not tag = pilot": "2",
    "store = Corner": "1",
    "city = Porto": "2",
    'merchant = "Café Ribeira"': "2",
    "mid = 2": "2",
    "organisation = Acquirer": "2",
    "organisation = Reseller": "2",
    "organisation ~ acq": "2",
    "organisation != Acquirer": "1",
    "organisation in (Acquirer, Nobody)": "2",
    "registered < 1h": "12",
    "registered > 1h": "",
    "online": "1",
    "not online": "2",
    "locked": "1",
    "last_seen > 5m": "1",
    "last_seen > 1h": "",
    "last_seen < 1d": "1",
    "printer = out_of_paper": "1",
    "printer != ok": "12",
    "screen = ok": "1",
    "keypad = fault": "",
    "card_reader = ok": "1",
    "battery < 20": "1",
    "battery >= 16": "",
    "signal < -80": "1",
    "latency > 200": "1",
    "storage < 1000": "1",
    "network in (ethernet, wifi, cellular)": "1",
    "tamper": "1",
    "software = 1.0.0": "1",
    "software < 1.0.1": "1",
    "software < 0.10": "",
    "software >= 0.9.9": "1",
    'component = "os 12.4"': "1",
    "component = os": "1",
    "component ~ pay": "1",
    "installing": "",
    "key = P0": "1",
    "key = D0": "",
    "key_trouble": "",
    "parameters = till": "1",
    "parameters_version != 999999": "12",
    "parameters_state = applied": "1",
    'unsettled >= "100.00 EUR"': "1",
    'unsettled > "100.00 EUR"': "",
    'unsettled >= "1 JPY"': "",
    "settlement = unbalanced": "1",
    "settlement = balanced": "",
    "plan = nightly": "1",
    "blocked": "",
    "not blocked": "12",
    "state = active and (battery > 90 or printer = out_of_paper) and not locked": "",
    "state = active and (battery > 90 or printer = out_of_paper) and locked": "1",
}


def found(text: str, user: Any) -> str:
    serials = matching(Terminal.objects.order_by("serial"), text, user).values_list("serial", flat=True)
    return "".join(serial.removeprefix("SN-") for serial in serials)


def test_each_filter_finds_what_it_says(estate: None, root: User) -> None:
    assert {text: found(text, root) for text in FINDS} == FINDS


# Each has tests of its own, beside what it is about.
OTHERS = {
    "group",
    "id",
    "import",
    "campaign",
    "campaign_state",
    "library",
    "restarts",
    "weakness",
    "shared_identity",
    "certificate_late",
}


def test_every_field_is_tried_above() -> None:
    tried = {text.split()[0] for text in FINDS} | {text.split()[1] for text in FINDS if text.startswith("not ")}
    assert {field.name for field in fields.all()} - OTHERS <= tried, "those have tests of their own"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nothing = 1", "no field is called nothing"),
        ("battery = low", "write for example 20"),
        ("battery ~ 2", "it takes ="),
        ("online = 1", "write its name alone"),
        ("state", "it takes ="),
        ("state = working", "choose one of registered"),
        ("last_seen > soon", "write for example 2h"),
        ("last_seen = 2h", "it takes <"),
        ("software < two", "write for example 2.1.0"),
        ("software < 99999999999.1", "write for example 2.1.0"),
        ("unsettled > 100", 'write for example "100.00 EUR"'),
        ("registered > 99999999d", "write for example 2h"),
        ("last_seen < 9999999999999999h", "write for example 2h"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_with_what_to_write(root: User, text: str, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        found(text, root)


def test_what_a_terminal_made_up_as_its_version_is_compared_with_nothing(estate: None, root: User) -> None:
    terminal = Terminal.objects.get(serial="SN-1")
    for version in ("", "..", "v2", "99999999999999999999.1", "2.1-rc1", "2.1.0"):
        terminal.software.filter(component="payment").update(version=version)
        assert found("software >= 2.1", root) == ("1" if version.startswith("2.1") else ""), version


def test_nobody_learns_by_a_filter_what_they_may_not_see(estate: None) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_terminal"))
    for field in fields.all():
        if field.name in ("group", "organisation"):  # what one may not see of them is not there; see below
            continue
        kind = field.kind
        value = field.choices[0] if field.choices else kind.example or "x"
        asked = field.name if kind is FLAG else f"{field.name} {kind.operators[0]} {value}"
        shown = {found(asked, clerk), found(f"not {asked}", clerk)}
        assert (shown == {""}) is bool(field.needs), field.name


def test_an_organisation_is_asked_for_where_the_asker_may_see_it(estate: None) -> None:
    reseller = Organisation.objects.get(name="Reseller")
    clerk = User.objects.create_user("clerk", is_staff=True)
    Membership.objects.create(user=clerk, role=Group.objects.get(name="viewer"), organisation=reseller)
    clerk = User.objects.get(pk=clerk.pk)
    assert found("organisation = Reseller", clerk) == "2"
    assert found("organisation = Acquirer", clerk) == found("organisation ~ acq", clerk) == ""
    for text in (
        "organisation != Acquirer",
        "not organisation = Acquirer",
        "not (state = retired or organisation ~ acq)",
    ):
        with pytest.raises(Refusal, match="there is no organisation"):  # all but nobody would be everybody
            found(text, clerk)


def test_a_terminal_is_asked_for_by_its_id(estate: None, root: User) -> None:
    key = Terminal.objects.get(serial="SN-2").pk
    assert found(f"id = {key}", root) == found(f"id in ({key}, 0)", root) == "2"


def test_a_quote_within_a_value_is_written_twice(estate: None, root: User) -> None:
    Store.objects.filter(name="Ribeira").update(name='Bar "Ribeira"')
    assert found('store = "Bar ""Ribeira"""', root) == found("store = " + quoted('Bar "Ribeira"'), root) == "2"


def test_a_filter_is_no_larger_for_what_its_groups_hold(estate: None, root: User) -> None:
    group("Wide", " or ".join(["tag = x"] * 30))
    group("Deep", "(" * 15 + "not " * 15 + "tag = x" + ")" * 15)
    for text in (
        "group = Wide or group = Wide",
        "not " * 10 + "group = Deep",
        f"serial in ({', '.join(map(str, range(60)))})",
        f"serial in ({', '.join(map(str, range(30)))}) or serial in ({', '.join(map(str, range(30)))})",
    ):
        with pytest.raises(Refusal, match="more than 50 tests, or is nested deeper"):
            found(text, root)


def test_of_groups_of_one_name_the_topmost_counts(estate: None, root: User) -> None:
    reseller = Organisation.objects.get(name="Reseller")
    group("Pilots", "state = registered", merchant=reseller.merchants.get())
    assert found("group = Pilots", root) == "2"
    group("Pilots", "state = active", organisation=reseller)
    assert found("group = Pilots", root) == "1"


def test_two_groups_of_named_terminals_are_asked_for_together(estate: None, root: User) -> None:
    for serial in ("SN-1", "SN-2"):
        group(f"of {serial}").members.set(Terminal.objects.filter(serial=serial))
    assert found('group = "of SN-1" or group = "of SN-2"', root) == "12"
    assert found('group = "of SN-1" and group = "of SN-2"', root) == ""


def test_the_api_filters_by_it_and_refuses_what_it_cannot_read(estate: None, api: APIClient) -> None:
    answer = api.get("/api/v1/terminals/", {"filter": "tag = pilot and battery < 20"}).json()
    assert [row["serial"] for row in answer["results"]] == ["SN-1"]
    refused = api.get("/api/v1/terminals/", {"filter": "battery < low"})
    assert (refused.status_code, refused.json()["reason"]) == (409, "bad_filter")


def group(name: str, text: str = "", **node: Any) -> TerminalGroup:
    return TerminalGroup.objects.create(name=name, filter=text, **node)


def test_a_group_is_a_filter_or_named_terminals(estate: None, root: User) -> None:
    group("Pilots", "tag = pilot and online")
    group("Two").members.set(Terminal.objects.filter(serial="SN-2"))
    assert found("group = Pilots", root) == "1"
    assert found("group = Two", root) == "2"
    assert found("not group = Two and state = active", root) == "1"
    for text, why in (("group = None", "there is no group"), ("group ~ x", "it takes =")):
        with pytest.raises(Refusal, match=why):
            found(text, root)


def test_a_groups_filter_names_no_group_and_asks_only_what_makes_sense(root: User, api: APIClient) -> None:
    group("Pilots", "tag = pilot")
    for text in ("group = Pilots", "battery < low", "((", "nothing"):
        answer = api.post("/api/v1/groups/", {"name": "New", "filter": text})
        assert answer.status_code == 400, text
    assert TerminalGroup.objects.count() == 1
    broken = group("Broken", "group = Pilots")
    with pytest.raises(Refusal, match="cannot name another group"):
        found(f"group = {broken.name}", root)


def test_a_groups_filter_asks_with_the_readers_permissions(estate: None) -> None:
    group("Weak", "battery < 20")
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_terminal", "view_terminalgroup"]))
    assert found("group = Weak", clerk) == found("not group = Weak", clerk) == ""


def test_members_of_a_group_are_audited(estate: None, api: APIClient) -> None:
    one, two = (Terminal.objects.get(serial=serial).pk for serial in ("SN-1", "SN-2"))
    made = api.post("/api/v1/groups/", {"name": "Named", "members": [one]}).json()
    assert api.patch(f"/api/v1/groups/{made['id']}/", {"members": [two]}).status_code == 200
    entries = AuditEntry.objects.filter(action="terminalgroup.members").order_by("id")
    assert [entry.detail for entry in entries] == [
        {"added": [one], "removed": []},
        {"added": [two], "removed": [one]},
    ]


def test_the_terminals_list_filters_by_it_and_says_what_it_cannot_read(estate: None, staff: Client) -> None:
    url = reverse("admin:terminals_terminal_changelist")
    assert [t.serial for t in staff.get(url, {"filter": "city = Porto"}).context["cl"].result_list] == ["SN-2"]
    answer = staff.get(url, {"filter": "city ="})
    assert list(answer.context["cl"].result_list) == []
    assert "the filter cannot be read at character 7" in answer.content.decode()


def test_the_documents_table_is_what_the_fields_say() -> None:
    rows = [
        f"| `{field.name}` | {field.kind.name} | {' '.join(f'`{one}`' for one in field.kind.operators)} | {field.told}"
        f"{': ' + ', '.join(field.choices) if field.choices else ''} | {field.index} |"
        for field in fields.all()
    ]
    table = (settings.BASE_DIR / "docs" / "filters.md").read_text().partition("| --- | --- | --- | --- | --- |\n")[2]
    assert table.splitlines() == rows, "\n".join(rows)
