"""Lists as files: what the list shows, as filtered, and nothing that a spreadsheet would run."""

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from terminals.common.audit.models import AuditEntry
from terminals.common.exports import csv_lines, harmless, xlsx_file
from terminals.estate.models import Membership, Merchant, Store, Terminal
from terminals.health.models import HealthState
from tests.conftest import deliver, working_device

PAGES = [model._meta for model in admin.site._registry]
TERMINALS = "/admin/terminals/terminal/"


def rows_of(answer: Any) -> list[list[str]]:
    content = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(content)))


def test_a_list_is_exported_as_it_is_filtered_and_leaves_its_entry(
    staff: Client, register: Callable[[str], Terminal]
) -> None:
    for n in range(60):  # more than a page
        register(f"SN-{n:02d}")
    Terminal.objects.filter(serial__gt="SN-54").update(tags=["pilot"])
    answer = staff.get(TERMINALS, {"filter": "tag = pilot", "_export": "csv"})
    header, *rows = rows_of(answer)
    assert header[:5] == ["serial", "store", "state", "link", "last heard"]
    assert [row[:5] for row in rows] == [
        [f"SN-{n}", "Bakery / Corner", "registered", "offline", "never"] for n in range(55, 60)
    ]
    assert "attachment" in answer["Content-Disposition"]
    entry = AuditEntry.objects.get(action="terminal.export")
    assert entry.detail == {"asked": {"filter": "tag = pilot"}, "kind": "csv"}
    assert len(rows_of(staff.get(TERMINALS, {"_export": "csv"}))) == 61


def test_a_time_that_a_page_shows_as_an_age_is_an_instant_in_a_file(
    staff: Client, register: Callable[[str], Terminal]
) -> None:
    working_device(register("SN-1"))
    _header, row = rows_of(staff.get(TERMINALS, {"_export": "csv"}))
    assert datetime.fromisoformat(row[4])


def test_xlsx_holds_the_same(staff: Client, register: Callable[[str], Terminal]) -> None:
    register("SN-1")
    answer = staff.get(TERMINALS, {"_export": "xlsx"})
    book = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))  # type: ignore[attr-defined]
    assert b"SN-1" in book.read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize("meta", PAGES, ids=str)
def test_every_list_can_be_exported(staff: Client, register: Callable[[str], Terminal], meta: Any) -> None:
    register("SN-1")
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    for kind in ("csv", "xlsx"):
        answer = staff.get(url, {"_export": kind})
        assert answer.status_code == 200
        assert b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert staff.get(url, {"_export": "exe"}, follow=True).status_code in (200, 400)


def test_an_export_ends_where_its_readers_part_ends(client: Client, register: Callable[[str], Terminal]) -> None:
    register("SN-1")
    mine = Store.objects.create(merchant=Merchant.objects.create(name="Mine", mid="7"), name="Only")
    Terminal.objects.filter(pk=register("SN-2").pk).update(store=mine)
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    assert client.get(TERMINALS, {"_export": "csv"}).status_code == 403
    Membership.objects.create(user=clerk, role=Group.objects.get(name="viewer"), store=mine)
    assert [row[0] for row in rows_of(client.get(TERMINALS, {"_export": "csv"}))] == ["serial", "SN-2"]


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-1+1", "-1 EUR+cmd", "-1 A1 ", "@SUM(A1)", "\tx", "\rx"]
)
def test_no_cell_is_a_formula(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"
    line = list(csv_lines(["a"], [[cell]]))[1]
    assert next(csv.reader([line]))[0].startswith("'") or "\r" in cell
    sheet = zipfile.ZipFile(xlsx_file(["a"], [[cell]])).read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in sheet


@pytest.mark.parametrize("cell", ["-12.50", "+5", "12", "-69 dBm", "-12.34 EUR", "a=b", ""])
def test_what_is_harmless_stays_as_it_is(cell: str) -> None:
    assert harmless(cell) == cell


def test_a_list_that_is_longer_than_a_file_is_refused_and_not_cut(
    staff: Client, register: Callable[[str], Terminal], monkeypatch: Any
) -> None:
    monkeypatch.setattr("terminals.common.exports.MOST_ROWS", 2)
    for n in range(3):
        register(f"SN-{n}")
    answer = staff.get(TERMINALS, {"_export": "csv"}, follow=True)
    assert "a file takes 2 rows at most" in answer.content.decode()
    assert not AuditEntry.objects.filter(action="terminal.export").exists()
    assert len(rows_of(staff.get(TERMINALS, {"filter": "serial != SN-0", "_export": "csv"}))) == 3


def test_a_file_names_every_problem_of_a_terminal(staff: Client, register: Callable[[str], Terminal]) -> None:
    device = working_device(register("SN-1"))
    deliver(device.health())
    HealthState.objects.update(printer="out_of_paper", card_reader="fault")
    answer = staff.get(reverse("admin:terminals_terminal_changelist"), {"_export": "csv"})
    assert "card reader: fault; printer: out of paper" in rows_of(answer)[1]
