"""Merchants, stores and terminals from a file: previewed, added in the background, each row to its end."""

import time
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.test import APIClient

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.estate.models import Membership, Merchant, Organisation, Store, Terminal, TerminalModel
from terminals.importing import services
from terminals.importing.models import Import, ImportRow

pytestmark = pytest.mark.django_db
HEADER = "organisation,merchant,mid,store,city,time_zone,serial,model,tid,tags"


@pytest.fixture
def ann() -> User:
    """The administrator of an acquirer."""
    acquirer = Organisation.objects.create(name="North")
    TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
    ann = User.objects.create_user("ann", is_staff=True)
    Membership.objects.create(user=ann, role=Group.objects.get(name="administrator"), organisation=acquirer)
    return ann


def file_of(*rows: str, name: str = "shops.csv") -> "ContentFile[Any]":
    return ContentFile("\n".join([HEADER, *rows]).encode(), name=name)


def bring(user: User, *rows: str) -> Import:
    return services.bring(file=file_of(*rows), user=user)


def run(job: Import) -> dict[str, int]:
    """Let an import run to its end; return how many rows are in which state."""
    services.start(job=job, user=job.requested_by)
    services.run_imports(time.monotonic() + 20)
    job.refresh_from_db()
    return {state: n for state, n in services.progress(job).items() if n}


def told(job: Import) -> dict[int, str]:
    return {row.number: row.why() for row in job.rows.filter(state="refused")}


SHOPS = (
    "North,Bakery,1,,,,,,,",
    "North,Bakery,,Corner,Kiel,Europe/Berlin,SN-1,Acme One,T1,pilot; new",
    "North,Bakery,,Corner,,,SN-2,Acme One,T2,",
    "North,Books,2,Pier,Hamburg,Europe/Berlin,SN-3,Acme One,T1,",
)


def test_a_file_is_shown_first_and_then_added(ann: User) -> None:
    job = bring(ann, *SHOPS)
    assert services.additions(job) == {"merchant": 2, "store": 2, "terminal": 3}
    assert not Merchant.objects.exists()
    assert run(job) == {"made": 4}
    assert job.state == "done"
    assert list(Terminal.objects.values_list("serial", "store__name", "store__merchant__name", "tid", "tags")) == [
        ("SN-1", "Corner", "Bakery", "T1", ["pilot", "new"]),
        ("SN-2", "Corner", "Bakery", "T2", []),
        ("SN-3", "Pier", "Books", "T1", []),
    ]
    assert Store.objects.get(name="Corner").time_zone == "Europe/Berlin"
    assert Merchant.objects.get(name="Books").organisation == Organisation.objects.get()
    made = AuditEntry.objects.filter(actor="ann").values_list("action", "subject")
    assert ("terminal.register", "terminal:SN-3") in made
    assert [action for action, _ in made].count("merchant.create") == 2
    assert {action for action, subject in made if subject == f"import:{job.pk}"} == {"import.bring", "import.start"}


def test_the_same_file_again_adds_nothing_and_more_rows_add_just_those(ann: User) -> None:
    run(bring(ann, *SHOPS))
    again = bring(ann, *SHOPS)
    assert services.progress(again)["unchanged"] == 4
    grown = bring(ann, *SHOPS, "North,Books,,Pier,,,SN-4,Acme One,,")
    assert services.additions(grown) == {"merchant": 0, "store": 0, "terminal": 1}
    assert run(grown) == {"made": 1, "unchanged": 4}
    assert Terminal.objects.count() == 4
    assert grown.rows.get(number=6).terminal == Terminal.objects.get(serial="SN-4")


UNFIT = (
    "North,Bakery,7,,,,,,,",
    "North,New,1,,,,,,,",
    "North,New,,,,,,,,",
    "North,Elsewhere,9,,,,,,,",
    "South,New,3,,,,,,,",
    ",New,3,,,,,,,",
    "North,Bakery,,Corner,Bonn,,,,,",
    "North,Bakery,,Far,,Mars/Olympus,,,,",
    "North,Bakery,,Corner,,,SN-3,Acme One,,",
    "North,Bakery,,Corner,,,SN-9,Acme Two,,",
    "North,Bakery,,Corner,,,SN-9,Acme One,T1,",
    "North,Bakery,,Corner,,,S!,Acme One,,",
    "North,Bakery,,,,,SN-9,Acme One,,",
    "North,Bakery,,Corner,,,SN-9,,,",
    "North,Bakery,,Corner,,,,,T9,",
    "North,=cmd|calc,4,,,,,,,",
    "North,Bakery,,Corner,,,SN-8,Acme One,,",
    "North,Bakery,,Corner,,,sn-8,Acme One,,",
    "North,Bakery,1-2,Corner,,Mars/Olympus,S!,Acme One,T-1,123456789",
    ",=x,,,,,SN-7,,,",
    "South,New,3,Corner,,,S!,Acme Two,,",
    "South,New,3,Corner,,,SN-7,Acme Two,,",
)
NO_SERIAL = "'S!' is no serial: use 4 to 32 letters, digits, '-', '.' or '_', a letter or digit first"
WHY = {
    2: "mid is 1 on the books; an import changes nothing, edit it there",
    3: "another merchant has the name or the MID of New",
    4: "there is no merchant New; a new one needs its MID",
    5: "another merchant has the name or the MID of Elsewhere",
    6: "there is no organisation South",
    7: "you may not add a merchant there",
    8: "city is Kiel on the books; an import changes nothing, edit it there",
    9: "'Mars/Olympus' is not an IANA time zone; write for example Europe/Berlin",
    10: "store is Books / Pier on the books; an import changes nothing, edit it there",
    11: "there is no model Acme Two; known are Acme One",
    12: "another terminal of the store has the TID T1",
    13: NO_SERIAL,
    14: "the column store is empty",
    15: "the column model is empty",
    16: "the column serial is empty",
    17: "merchant begins like a formula; write the value",
    19: "sn-8 is on the books, or twice in the list; case and signs do not count",
    # All that can be said of a row without the estate is said at once.
    20: "; ".join(
        (
            "'1-2': a TID or MID has only letters and digits",
            "'Mars/Olympus' is not an IANA time zone; write for example Europe/Berlin",
            NO_SERIAL,
            "'T-1': a TID or MID has only letters and digits",
        )
    ),
    22: f"{NO_SERIAL}; there is no model Acme Two; known are Acme One",
    23: "there is no organisation South; there is no model Acme Two; known are Acme One",
    21: "merchant begins like a formula; write the value; the column store is empty; the column model is empty",
}


def test_each_row_that_does_not_fit_says_why_and_leaves_the_others_alone(ann: User) -> None:
    Merchant.objects.create(name="Elsewhere", mid="9")
    run(bring(ann, *SHOPS))
    job = bring(ann, *UNFIT)
    assert told(job) == WHY
    assert run(job) == {"made": 1, "refused": 21}
    assert Terminal.objects.filter(serial="SN-8").exists()
    assert Merchant.objects.count() == 3


def test_what_changed_since_the_preview_is_judged_anew(ann: User) -> None:
    job = bring(ann, *SHOPS)
    Merchant.objects.create(name="Bakery", mid="1", organisation=Organisation.objects.get())
    Merchant.objects.create(name="Other", mid="2", organisation=Organisation.objects.get())
    assert run(job) == {"made": 2, "unchanged": 1, "refused": 1}
    assert told(job) == {5: "another merchant has the name or the MID of Books"}


def test_an_import_goes_on_where_it_was_killed(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "CHUNK", 2)
    job = bring(ann, *SHOPS)
    services.start(job=job, user=ann)
    assert services.run_chunk(job) == 2
    assert Terminal.objects.count() == 1
    services.run_imports(time.monotonic() + 20)
    job.refresh_from_db()
    assert (job.state, Terminal.objects.count(), services.additions(job)["merchant"]) == ("done", 3, 2)


def test_one_that_lost_the_permission_adds_nothing_more(ann: User) -> None:
    job = bring(ann, *SHOPS)
    services.start(job=job, user=ann)
    Membership.objects.update(role=Group.objects.get(name="viewer"))
    services.run_imports(time.monotonic() + 20)
    assert services.progress(job)["refused"] == 4
    assert not Merchant.objects.exists()


def test_an_import_is_stopped_or_discarded(ann: User) -> None:
    job = bring(ann, *SHOPS)
    assert services.cancel(job=job, user=ann) == 4
    for verb in (services.start, services.cancel):
        with pytest.raises(Refusal):
            verb(job=job, user=ann)
    services.run_imports(time.monotonic() + 20)
    assert not Merchant.objects.exists()


def test_only_who_brought_a_file_starts_it_and_only_who_may_register_brings_one(ann: User) -> None:
    job = bring(ann, *SHOPS)
    ben = User.objects.create_user("ben", is_staff=True)
    Membership.objects.create(user=ben, role=Group.objects.get(name="viewer"), organisation=Organisation.objects.get())
    with pytest.raises(PermissionDenied):
        services.start(job=job, user=ben)
    with pytest.raises(PermissionDenied):
        bring(ben, *SHOPS)
    assert not Merchant.objects.exists()


def test_the_number_of_statements_does_not_grow_with_the_rows(ann: User) -> None:
    def rows(n: int, letter: str) -> list[str]:
        return [f"North,M{letter},{letter},S{k},,,SN-{letter}{k},Acme One,," for k in range(n)]

    counts = []
    for letter, n in (("A", 3), ("B", 100)):
        job = bring(ann, *rows(n, letter))
        services.start(job=job, user=ann)
        with CaptureQueriesContext(connection) as queries:
            assert services.run_chunk(job) == n
        counts.append(len(queries))
    assert counts[0] == counts[1] < 40


def test_the_page_shows_starts_and_reports(ann: User, client: Client) -> None:
    client.force_login(ann)
    answer = client.post(reverse("import"), {"file": file_of(*SHOPS, "North,=x,3,,,,,,,")})
    job = Import.objects.get()
    assert answer["Location"] == reverse("import-job", args=[job.pk])
    shown = client.get(answer["Location"]).content.decode()
    assert "Import 4 rows" in shown
    assert "and leave 1 out" in shown
    assert "merchant begins like a formula" in shown
    client.post(reverse("import-job-action", args=[job.pk]), {"action": "start"})
    services.run_imports(time.monotonic() + 20)
    assert "100 %" in client.get(reverse("import-job-panel", args=[job.pk])).content.decode()
    report = b"".join(client.get(reverse("import-job-report", args=[job.pk]))).decode()
    assert report.splitlines()[1].startswith("2,made,merchant,,North,Bakery,1")
    assert "'=x" in report, "a formula is neutral in what is downloaded"
    listed = client.get(reverse("admin:terminals_terminal_changelist"), {"filter": f"import = {job.pk}"})
    assert "SN-3" in listed.content.decode()
    assert client.get(reverse("import-example")).status_code == 200
    assert "is not UTF-8" in client.post(reverse("import"), {"file": BytesIO(b"\xff\xfe")}).content.decode()


def test_the_api_brings_starts_and_tells(ann: User) -> None:
    api = APIClient()
    api.force_authenticate(ann)
    made = api.post("/api/v1/imports/", {"file": file_of(*SHOPS, "North,=x,3,,,,,,,")}, format="multipart")
    assert made.status_code == 201, made.data
    assert made.data["adds"] == {"merchant": 2, "store": 2, "terminal": 3}
    url = f"/api/v1/imports/{made.data['id']}/"
    assert [row["reason"] for row in api.get(f"{url}rows/").data] == ["formula"]
    assert api.post(f"{url}start/").status_code == 202
    services.run_imports(time.monotonic() + 20)
    assert api.get(url).data["progress"]["made"] == 4
    assert api.post(f"{url}cancel/").status_code == 409
    bad = api.post("/api/v1/imports/", {"file": ContentFile(b"a,b\n1,2", name="x.csv")}, format="multipart")
    assert bad.status_code == 409 or bad.status_code == 400
    assert Import.objects.count() == 1
    assert ImportRow.objects.count() == 5


def test_refused_rows_cost_no_statement_each_and_found_ones_know_their_terminal(ann: User) -> None:
    def cost(serials: list[str]) -> int:
        rows = [f"North,Bakery,1,Corner,,,{serial},Acme One,," for serial in serials]
        job = bring(ann, *rows)
        run(bring(ann, *rows))
        Terminal.objects.filter(serial__in=serials[1:]).update(store=elsewhere)
        services.start(job=job, user=ann)
        with CaptureQueriesContext(connection) as queries:
            services.run_chunk(job)
        assert {row.state for row in job.rows.all()} == {"unchanged", "refused"}
        assert job.rows.get(state="unchanged").terminal == Terminal.objects.get(serial=serials[0])
        return len(queries)

    other = Merchant.objects.create(name="Other", mid="8", organisation=Organisation.objects.get())
    elsewhere = Store.objects.create(merchant=other, name="Else")
    assert cost([f"SA-{n}" for n in range(3)]) == cost([f"SB-{n}" for n in range(60)])
