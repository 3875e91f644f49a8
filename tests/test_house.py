"""The house as the files show it: whose tables a room's SQL names, and how large functions and files have become."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from django.apps import apps

from fleet.translation import BACKGROUND_WORK
from terminals.common.words import TONES
from terminals.link.protocol.messages.health import Part, PrinterState

ROOT = Path(__file__).parent.parent
# What each room stands on besides itself; the roof may name everything.
FLOORS = {
    "common": set[str](),
    "terminals": {"common"},
    "link": {"terminals", "common"},
    "bulk": {"terminals", "common"},
    "campaigns": {"bulk", "link", "terminals", "common"},
    "importing": {"terminals", "common"},
    **{
        pillar: {"campaigns", "link", "terminals", "common"}
        for pillar in ("enrolment", "health", "keys", "parameters", "settlement", "firmware")
    },
    "simulator": set[str](),
}
FOLDERS = {"terminals": ROOT / "terminals" / "estate", "firmware": ROOT / "firmware"}
TABLES = {
    model._meta.db_table: config.label
    for config in apps.get_app_configs()
    if config.label in {*FLOORS, "pages"}
    for model in config.get_models()
}
SOURCES = sorted(
    path
    for folder in ("fleet", "terminals", "firmware")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts
)


@pytest.mark.parametrize("room", FLOORS)
def test_a_rooms_sql_names_only_its_own_tables_and_those_of_the_floors_below(room: str) -> None:
    folder = FOLDERS.get(room, ROOT / "terminals" / room)
    foreign = [
        f"{path.relative_to(ROOT)}: {table}"
        for path in folder.rglob("*.py")
        for table in set(re.findall(r"\b[a-z]+_[a-z]+\b", path.read_text())) & TABLES.keys()
        if TABLES[table] not in {room, *FLOORS[room]}
    ]
    assert foreign == []


def test_every_feature_is_in_this_list() -> None:
    rooms = {config.label for config in apps.get_app_configs() if config.name.startswith(("terminals", "firmware"))}
    assert rooms == set(FLOORS)


def test_functions_are_at_most_40_lines_and_files_at_most_350() -> None:
    too_long = [f"{p.relative_to(ROOT)}: {n}" for p in SOURCES if (n := len(p.read_text().splitlines())) > 350]
    for path in (*SOURCES, *(ROOT / "bench").rglob("*.py"), *(ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 40:
                    too_long.append(f"{path.relative_to(ROOT)}: {node.name} {lines}")
    assert too_long == []


STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|LOCK|NOTIFY|LISTEN|TRUNCATE)\s[^a-z]")


def test_all_background_work_is_scheduled() -> None:
    written = sorted(path.stem for path in (ROOT / "fleet" / "migrations").glob("*_schedule_*.py"))
    entries = {  # of one that was renamed the latest name
        task: name
        for module in written
        for name, (task, _seconds) in importlib.import_module(f"fleet.migrations.{module}").ENTRIES.items()
    }
    declared = {
        f"{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}.{node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and any(getattr(d, "id", "") == "shared_task" for d in node.decorator_list)
    }
    assert entries.keys() == declared
    assert set(entries.values()) == set(BACKGROUND_WORK), "their names are translated"


def test_no_work_is_sent_for_later() -> None:
    """Workers keep no queues for that (fleet/worker.py); what is due, the schedule asks for."""
    later = re.compile(r"\b(countdown|eta)=|\.apply_async\(|\bself\.retry\(")
    assert [str(path.relative_to(ROOT)) for path in SOURCES if later.search(path.read_text())] == []


def test_every_state_in_a_template_and_every_colour_is_known() -> None:
    known = {str(value) for m in apps.get_models() for f in m._meta.fields for value, _ in f.choices or ()}
    parts = get_args(Part) + get_args(PrinterState)
    compared = {
        state
        for path in (ROOT / "templates").rglob("*.html")
        for state in re.findall(r'state [!=]= "(\w+)"', path.read_text())
    }
    assert compared - known == set()
    assert set(TONES) - known - set(parts) - {"online", "offline", "locked"} == set()


def test_no_sql_is_built_by_format() -> None:
    """Names and values are put in by the driver (psycopg.sql and parameters)."""
    built = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.JoinedStr) and STATEMENT.match(str(getattr(node.values[0], "value", ""))))
        or (
            isinstance(node, ast.Attribute)
            and node.attr == "format"
            and isinstance(node.value, ast.Constant)
            and STATEMENT.match(str(node.value.value))
        )
    ]
    assert built == []


def test_each_statement_says_why_it_is_raw() -> None:
    silent = []
    for path in SOURCES:
        lines = path.read_text().splitlines()
        if any(line.startswith("# Raw, all of them: ") for line in lines):  # a file that is nothing else
            continue
        for n, line in enumerate(lines):
            if re.match(r'[A-Z_]+ = """$', line) and STATEMENT.match(lines[n + 1] + " X"):
                above = n
                while lines[above - 1].startswith("#"):
                    above -= 1
                if "Raw" not in "".join(lines[above:n]):
                    silent.append(f"{path.relative_to(ROOT)}: {line.split()[0]}")
    assert silent == []


def test_no_refusal_that_a_module_keeps_is_raised_itself() -> None:
    """Each raising would lengthen its traceback, for as long as the process lives."""
    kept = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id.isupper()
    ]
    assert kept == []


def test_every_kind_of_fact_and_reason_is_known_to_pages_and_not_only_to_the_worker() -> None:
    declared = {
        kind
        for path in SOURCES
        for kind in re.findall(r'^    kind: ClassVar\[str\] = "([a-z_.]+)"', path.read_text(), re.M)
    }
    script = "import django; django.setup(); import fleet.urls; from terminals.common.facts.kinds import kinds; print(*kinds())"
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert declared - set(told.split()) == set()
