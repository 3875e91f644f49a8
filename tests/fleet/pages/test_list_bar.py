"""Above the terminals' list: ready and saved views, chips that take a filter away, and sorting where there are few enough."""

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from fleet import terminal_list
from fleet.pages.list_bar import MOST_VIEWS, READY, chips
from fleet.pages.models import SavedView
from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Membership, Terminal, TerminalModel
from terminals.estate.targets.language import conjuncts
from terminals.health.models import HealthState
from terminals.settlement.models import SettlementRun
from tests.conftest import deliver, enrolled_device, working_device

LIST = reverse("admin:terminals_terminal_changelist")
Register = Callable[[str], Terminal]


def saves(client: Client, name: str, query: str) -> str:
    answer = client.post(reverse("view-save"), {"name": name, "query": query}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("online", ["online"]),
        ("state = active and battery < 20", ["state = active", "battery < 20"]),
        ("(tamper or locked) AND not tag = pilot", ["(tamper or locked)", "not tag = pilot"]),
        ('store = "salt and pepper" and online', ['store = "salt and pepper" and online']),
        ("tamper or locked and online", ["tamper or locked and online"]),
        ("online and (tamper and locked)", ["online and (tamper and locked)"]),
        ("battery <", ["battery <"]),
        ("online and ", ["online and "]),
    ],
)
def test_a_filter_is_cut_only_where_it_says_and(text: str, parts: list[str]) -> None:
    assert conjuncts(text) == parts


def test_a_chip_takes_just_its_own_filter_away(db: None) -> None:
    model = TerminalModel.objects.create(vendor="Acme", name="One", platform="p")
    asked = QueryDict(
        f"filter=online+and+battery+<+20&state__exact=active&model__id__exact={model.pk}&o=1&p=3"
        "&health__printer=out_of_paper&tamper_alarm__active=1&q=SN"
    )
    found = {chip.text: QueryDict(chip.address) for chip in chips(asked.dict())}
    assert list(found) == [
        "online",
        "battery < 20",
        "active",
        "Acme One",
        "printer: out of paper",
        "tamper",
        "search: SN",
    ]
    assert found["online"]["filter"] == "battery < 20"
    assert found["battery < 20"]["filter"] == "online"
    assert "state__exact" not in found["active"]
    assert found["active"]["filter"] == "online and battery < 20"
    assert all("p" not in left and left["o"] == "1" for left in found.values())


def test_the_list_shows_views_chips_and_what_a_filter_can_ask(staff: Client, register: Register) -> None:
    register("SN-1")
    page = unescape(staff.get(LIST, {"filter": "state = registered"}).content.decode())
    for text in ("Silent for an hour", 'value="state = registered"', 'id="chips"', "battery, per cent"):
        assert text in page
    assert 'aria-current="page">Never enrolled' in page
    assert 'id="chips"' not in staff.get(LIST).content.decode()


@pytest.mark.parametrize(("name", "text"), READY, ids=lambda value: str(value)[:20])
def test_each_ready_view_is_a_list(staff: Client, register: Register, name: Any, text: str) -> None:
    register("SN-1")
    answer = staff.get(LIST, {"filter": text})
    assert [row.serial for row in answer.context["cl"].result_list] == (["SN-1"] if "registered" in text else [])
    assert answer.context["cl"].refused_filter == ""


def test_a_view_is_saved_replaced_and_deleted_with_its_audit(staff: Client, register: Register) -> None:
    register("SN-1")
    page = saves(staff, "mine", "filter=online&p=4&o=-1&_export=csv&all=")
    assert "mine stands above the list" in page
    view = SavedView.objects.get()
    assert (view.name, view.query) == ("mine", "filter=online&o=-1")
    saves(staff, "mine", "filter=locked")
    view = SavedView.objects.get()
    assert view.query == "filter=locked"
    assert 'href="?filter=locked"' in staff.get(LIST).content.decode()
    assert staff.get(reverse("view-delete", args=[view.pk])).status_code == 405
    assert staff.post(reverse("view-delete", args=[view.pk]), {"query": "filter=online"}).status_code == 302
    assert not SavedView.objects.exists()
    actions = AuditEntry.objects.filter(action__startswith="savedview.").order_by("id")
    assert [entry.action for entry in actions] == ["savedview.create", "savedview.update", "savedview.delete"]
    assert actions[1].detail["old"] == {"query": "filter=online&o=-1"}


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("", "filter=online"),
        ("x" * 41, "filter=online"),
        ("bad", "filter=battery+<+low"),
        ("bad", "filter=nonsense+=+1"),
        ("bad", "password__startswith=a"),
        ("bad", "filter=" + "(" * 400),
        ("long", "filter=" + "tag+%3D+" + "x" * 3500),
        ("a\0b", "filter=online"),
        ("nul", "filter=tag+%3D+%00"),
        ("nul", "q=%00"),
        ("grows", "q=" + "é" * 900),
    ],
)
def test_what_no_list_could_show_is_not_saved(staff: Client, name: str, query: str) -> None:
    answer = staff.post(reverse("view-save"), {"name": name, "query": query})
    assert answer.status_code in (302, 400)
    assert not SavedView.objects.exists()


def test_a_person_has_so_many_views_and_no_more(staff: Client, operator: User) -> None:
    SavedView.objects.bulk_create(SavedView(user=operator, name=f"v{n}", query="") for n in range(MOST_VIEWS))
    assert "delete one first" in saves(staff, "one more", "filter=online")
    assert SavedView.objects.count() == MOST_VIEWS
    saves(staff, "v1", "filter=online")  # in place of one of that name
    assert SavedView.objects.get(name="v1").query == "filter=online"


def test_views_are_ones_own(staff: Client, register: Register) -> None:
    theirs = SavedView.objects.create(user=User.objects.create_user("other"), name="theirs", query="filter=online")
    assert "theirs" not in staff.get(LIST).content.decode()
    assert staff.post(reverse("view-delete", args=[theirs.pk])).status_code == 404
    assert SavedView.objects.get() == theirs


def test_who_sees_no_terminals_saves_no_view(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.post(reverse("view-save"), {"name": "x", "query": ""}).status_code == 403
    client.logout()
    assert client.post(reverse("view-save"), {"name": "x", "query": ""}).status_code == 302
    assert not SavedView.objects.exists()


def test_ready_views_and_fields_are_those_that_one_may_ask(client: Client, register: Register) -> None:
    """An installer sees devices, and no money."""
    terminal = register("SN-1")
    user = User.objects.create_user("ida", is_staff=True)
    role = Group.objects.get(name="installer")
    Membership.objects.create(user=user, role=role, merchant=terminal.store.merchant)
    client.force_login(user)
    page = unescape(client.get(LIST).content.decode())
    assert "Never enrolled" in page
    assert "Not settled as it should" not in page
    assert "amount in an open batch" not in page


def test_few_are_sorted_by_any_column_and_many_by_serial(
    staff: Client, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = register("SN-1"), register("SN-2")
    deliver(enrolled_device(second).hello())
    deliver(enrolled_device(first).hello())
    admin = staff.get(LIST).context["cl"].model_admin
    column = admin.list_display.index("last_seen") + 1  # the first is the box to choose it by

    def order(sign: str) -> list[str]:
        answer = staff.get(LIST, {"o": f"{sign}{column}"})
        return [row.serial for row in answer.context["cl"].result_list]

    assert (order(""), order("-")) == (["SN-2", "SN-1"], ["SN-1", "SN-2"])
    monkeypatch.setattr(terminal_list, "COUNT_LIMIT", 1)
    with CaptureQueriesContext(connection) as captured:
        answer = staff.get(LIST, {"o": f"-{column}"})
    assert [row.serial for row in answer.context["cl"].result_list] == ["SN-1", "SN-2"]
    assert answer.content.decode().count("sorted by serial") == 1
    assert not any('last_seen_at" DESC' in query["sql"] for query in captured)


def test_a_filter_that_cannot_be_applied_says_so_and_offers_nothing(staff: Client, register: Register) -> None:
    register("SN-1")
    page = unescape(staff.get(LIST, {"filter": "batery < 20"}).content.decode())
    assert "did you mean battery" in page
    assert "The filter cannot be applied" in page
    for offered in ('id="save-view"', 'id="export"'):
        assert offered not in page
    answer = staff.get(LIST, {"filter": "batery < 20", "_export": "csv"})
    assert answer.status_code == 302
    assert "did you mean" in unescape(staff.get(answer["Location"]).content.decode())


def test_a_word_where_a_filter_goes_is_searched_for(staff: Client, register: Register) -> None:
    register("SN-1")
    register("SN-2")
    answer = staff.get(LIST, {"filter": "SN-1", "o": "-1"}, follow=True)
    assert [row.serial for row in answer.context["cl"].result_list] == ["SN-1"]
    assert "q=SN-1" in answer.redirect_chain[-1][0]
    assert staff.get(LIST, {"filter": "online"}).status_code == 200
    assert "cannot be asked" in unescape(staff.get(LIST, {"filter": "unsettled > 100"}).content.decode())
    assert 'write for example "100.00 EUR"' in unescape(staff.get(LIST, {"filter": "unsettled > 100"}).content.decode())


def test_a_row_names_the_worst_problem_and_how_many_more(staff: Client, register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    deliver(device.health())
    HealthState.objects.update(printer="out_of_paper", card_reader="fault")
    SettlementRun.objects.create(terminal=terminal, state="unbalanced", trigger="cycle", requested_at=timezone.now())
    page = unescape(staff.get(LIST).content.decode())
    assert 'title="card reader: fault; printer: out of paper; settlement: unbalanced"' in page
    assert "+2" in page


def test_a_view_that_is_refused_leads_to_the_list_and_says_why(staff: Client, register: Register) -> None:
    register("SN-1")
    assert 'id="filter-text" value="online"' in saves(staff, "x" * 41, "filter=online"), "what was typed is still there"
    for query in ("q=%00", "filter=nonsense+%3D+1"):
        answer = staff.post(reverse("view-save"), {"name": "x", "query": query})
        assert answer["Location"] == f"{LIST}?"
        assert staff.get(answer["Location"]).status_code == 200


def test_who_does_not_see_all_health_saves_no_view_of_it(client: Client, register: Register) -> None:
    user = User.objects.create_user("ida", is_staff=True)
    role = Group.objects.get(name="installer")
    Membership.objects.create(user=user, role=role, merchant=register("SN-1").store.merchant)
    client.force_login(user)
    saves(client, "x", "health__printer=out_of_paper")
    assert not SavedView.objects.exists()


def test_a_parameter_that_stands_twice_is_asked_once(staff: Client, register: Register) -> None:
    answer = staff.get(f"{LIST}?state__exact=retired&state__exact=active")
    assert answer["Location"] == f"{LIST}?state__exact=active"
