"""The operator's API: who may, what is refused and how, and that a repeat or a stale edit does no harm."""

import json
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from firmware.models import Package
from fleet.access.models import ApiToken
from terminals.common.api.models import IdempotentResponse
from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Merchant, Store, Terminal, TerminalModel
from terminals.keys.services import request_key_delivery
from terminals.link.models import Command
from tests.conftest import deliver, enrolled_device, make_plan, obey, set_schedule
from tests.releases import row

Shop = dict[str, int]
TERMINALS = "/api/v1/terminals/"


@pytest.mark.parametrize("path", ["terminals/", "commands/", "audit/", "keys/", "settlement/runs/", "merchants/"])
@pytest.mark.django_db
def test_nobody_gets_in_without_a_token(path: str) -> None:
    answer = APIClient().get(f"/api/v1/{path}")
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert answer.json()["status"] == 401


def test_registering_gives_a_code_once_and_an_audit_entry(api: APIClient, shop: Shop) -> None:
    answer = api.post(TERMINALS, {"serial": "SN-1", "tid": "7", "tags": ["pilot"], **shop}, format="json")
    assert answer.status_code == 201
    assert len(answer.json()["activation_code"]) == 31
    shown = api.get(f"{TERMINALS}{answer.json()['id']}/").json()
    assert (shown["serial"], shown["state"], shown["online"]) == ("SN-1", "registered", False)
    assert (shown["software_version"], shown["confirmed_keys"], shown["last_settlement"]) == (None, 0, None)
    assert "activation_code" not in shown
    assert [entry.action for entry in AuditEntry.objects.order_by("id")] == [
        "terminal.register",
        "terminal.activation_code",
    ]


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"serial": ""}, 400, "serial"),
        ({"serial": "a/b/c"}, 400, "is no serial"),
        ({"serial": "SN-1\0"}, 400, "U+0000"),
        ({"store": 999_999}, 400, "store"),
        ({"store": "x"}, 400, "store"),
        ({"tags": "pilot"}, 400, "tags"),
        ({"tags": [{"a": 1}]}, 400, "tags"),
        ({"state": "active", "store": None}, 400, "store"),
    ],
)
def test_a_registration_that_does_not_fit_is_a_problem(
    api: APIClient, shop: Shop, change: dict[str, Any], status: int, told: str
) -> None:
    answer = api.post(TERMINALS, {"serial": "SN-1", **shop, **change}, format="json")
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert told in answer.content.decode()
    assert Terminal.objects.count() == AuditEntry.objects.count() == 0


def test_a_serial_is_registered_once(api: APIClient, shop: Shop) -> None:
    assert api.post(TERMINALS, {"serial": "SN-1", **shop}, format="json").status_code == 201
    again = api.post(TERMINALS, {"serial": "SN-1", **shop}, format="json")
    assert again.status_code == 400
    assert "serial" in again.json()["errors"]
    assert Terminal.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"[" * 5_000,
        b'"text"',
        b"[1, 2]",
        b"null",
        b'{"serial": 1e400}',
        b'{"a": 9007199254740993}',
        b'{"a": NaN}',
    ],
)
def test_broken_json_is_a_problem(api: APIClient, body: bytes) -> None:
    answer = api.post(TERMINALS, body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("body", [{"usage": "\ud800"}, {"name": "x", "values": {"\ud800": 1}}])
def test_half_a_surrogate_pair_is_no_character(api: APIClient, body: dict[str, Any]) -> None:
    for path in ("keys/", "key-requirements/", "parameters/values/"):
        answer = api.post(f"/api/v1/{path}", json.dumps(body).encode(), content_type="application/json")
        assert answer.status_code == 400, path


def test_a_refused_upload_leaves_no_file(api: APIClient) -> None:
    package = Package.objects.create(name="pay")
    upload = {"package": package.pk, "version": "1.0.0", "platform": "linux-arm64"}
    TerminalModel.objects.get_or_create(vendor="Acme", name="One", platform="linux-arm64")
    folder = settings.STATE_DIR / "artifacts" / "releases"
    before = set(folder.glob("*")) if folder.exists() else set()
    for content, status in ((b"one", 201), (b"two", 409), (b"three", 409)):
        sent = upload | {"artifact": SimpleUploadedFile("pay.bin", content)}
        assert api.post("/api/v1/releases/", sent, format="multipart").status_code == status
    assert len(set(folder.glob("*")) - before) == 1


def test_a_terminal_that_moves_goes_by_the_new_stores_clock(
    api: APIClient, register: Callable[[str], Terminal]
) -> None:
    terminal = register("SN-1")
    plan = make_plan("nightly", cycle="30 22 * * *")
    schedule = set_schedule(terminal=terminal, plan=plan, actor="ops")
    here = schedule.next_due_at
    far = Store.objects.create(merchant=terminal.store.merchant, name="Far", time_zone="Pacific/Auckland")
    assert api.patch(f"{TERMINALS}{terminal.pk}/", {"store": far.pk}).status_code == 200
    schedule.refresh_from_db()
    assert here is not None
    assert schedule.next_due_at is not None
    assert (here.hour, here.minute) == (22, 30)
    assert schedule.next_due_at.astimezone(ZoneInfo("Pacific/Auckland")).strftime("%H:%M") == "22:30"


def test_a_repeat_with_the_same_idempotency_key_does_nothing_and_tells_no_secret(api: APIClient, shop: Shop) -> None:
    body = {"serial": "SN-1", **shop}
    first = api.post(TERMINALS, body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    second = api.post(TERMINALS, body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert second["Idempotency-Replayed"] == "true"
    expected = first.json()
    code = expected.pop("activation_code")
    assert second.json() == expected | {"activation_code": None}
    assert Terminal.objects.count() == 1
    assert code not in str(IdempotentResponse.objects.values())


def test_a_key_with_another_body_is_refused(api: APIClient, shop: Shop) -> None:
    api.post(TERMINALS, {"serial": "SN-1", **shop}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    answer = api.post(TERMINALS, {"serial": "SN-2", **shop}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert answer.status_code == 409
    assert "use a new one" in answer.json()["detail"]
    assert Terminal.objects.count() == 1


def test_a_refused_request_leaves_its_key_free(api: APIClient, shop: Shop) -> None:
    assert api.post(TERMINALS, {"serial": "", **shop}, format="json", HTTP_IDEMPOTENCY_KEY="k1").status_code == 400
    assert api.post(TERMINALS, {"serial": "SN-1", **shop}, format="json", HTTP_IDEMPOTENCY_KEY="k1").status_code == 201


def test_an_edit_of_what_somebody_else_changed_is_refused(api: APIClient) -> None:
    made = api.post("/api/v1/merchants/", {"name": "Bakery", "mid": "1"}, format="json").json()
    url = f"/api/v1/merchants/{made['id']}/"
    etag = api.get(url)["ETag"]
    assert api.patch(url, {"name": "Bakery & Sons"}, format="json", HTTP_IF_MATCH=etag).status_code == 200
    stale = api.patch(url, {"name": "Mine"}, format="json", HTTP_IF_MATCH=etag)
    assert (stale.status_code, stale["Content-Type"]) == (412, "application/problem+json")
    assert api.delete(url, HTTP_IF_MATCH=etag).status_code == 412
    assert Merchant.objects.get().name == "Bakery & Sons"
    assert AuditEntry.objects.count() == 2


def test_a_terminal_is_never_deleted(api: APIClient, register: Callable[[str], Terminal]) -> None:
    assert api.delete(f"{TERMINALS}{register('SN-1').pk}/").status_code == 405
    assert Terminal.objects.count() == 1


def test_what_is_in_use_is_not_deleted(api: APIClient, shop: Shop) -> None:
    merchant = Merchant.objects.get()
    answer = api.delete(f"/api/v1/merchants/{merchant.pk}/")
    assert answer.status_code == 409
    assert "still in use" in answer.json()["detail"]
    assert Merchant.objects.exists()
    assert AuditEntry.objects.count() == 0


def test_an_impossible_transition_changes_nothing(api: APIClient, register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    before = AuditEntry.objects.count()
    answer = api.post(f"{TERMINALS}{terminal.pk}/resume/", {}, format="json")
    assert answer.status_code == 409
    assert "is registered; only suspended ones can resume" in answer.json()["detail"]
    assert AuditEntry.objects.count() == before


def test_a_command_needs_a_terminal_in_service(api: APIClient, register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    answer = api.post(f"{TERMINALS}{terminal.pk}/commands/", {"type": "ping"}, format="json")
    assert answer.status_code == 409
    assert Command.objects.count() == 0


def test_retiring_cancels_what_is_open(api: APIClient, register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    assert api.post(f"{TERMINALS}{terminal.pk}/commands/", {"type": "ping"}, format="json").status_code == 201
    assert api.post(f"{TERMINALS}{terminal.pk}/retire/", {"reason": "sold"}, format="json").status_code == 200
    assert Command.objects.get().state == "cancelled"


def test_the_list_is_filtered_paged_and_costs_the_same_for_any_fleet(
    api: APIClient, register: Callable[[str], Terminal]
) -> None:
    for n in range(3):
        register(f"SN-{n}")
    api.get(TERMINALS)  # the first use of a token in a minute is noted
    with CaptureQueriesContext(connection) as few:
        assert api.get(TERMINALS).json()["count"] == 3
    for n in range(3, 30):
        register(f"SN-{n}")
    deliver(enrolled_device(Terminal.objects.get(serial="SN-7")).hello())
    with CaptureQueriesContext(connection) as many:
        page = api.get(TERMINALS, {"page_size": "10", "ordering": "serial"}).json()
    assert len(many) == len(few)
    assert (page["count"], page["count_is_exact"], len(page["results"])) == (30, True, 10)
    rest = api.get(page["next"]).json()["results"]
    assert not {row["serial"] for row in rest} & {row["serial"] for row in page["results"]}
    assert [row["serial"] for row in api.get(TERMINALS, {"online": "true"}).json()["results"]] == ["SN-7"]
    Terminal.objects.filter(serial="SN-6").update(state="active")
    offline = api.get(TERMINALS, {"online": "false"}).json()["results"]
    assert [row["serial"] for row in offline] == ["SN-6"], "who was never in service is not missed"
    assert api.get(TERMINALS, {"serial_contains": "sn-1"}).json()["count"] == 11
    assert api.get(TERMINALS, {"ordering": "secret"}).status_code == 400


def test_a_terminals_commands_health_and_timeline_are_told(api: APIClient, register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    deliver(device.hello(), device.health())
    api.post(f"{TERMINALS}{terminal.pk}/commands/", {"type": "ping"}, format="json")
    obey(device, "ping")
    assert [row["state"] for row in api.get(f"{TERMINALS}{terminal.pk}/commands/").json()] == ["succeeded"]
    health = api.get(f"{TERMINALS}{terminal.pk}/health/").json()
    assert health["current"]["printer"] == "ok"
    assert len(health["history"]) == 1
    assert api.get(f"{TERMINALS}{terminal.pk}/timeline/").json()[0]["text"] == "ping by ops"


def test_the_schema_describes_the_api(api: APIClient) -> None:
    assert APIClient().get("/api/v1/schema/").status_code == 401
    schema = api.get("/api/v1/schema/?format=json").json()
    assert schema["openapi"].startswith("3.")
    assert "/api/v1/terminals/{id}/commands/" in schema["paths"]


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        ([], set()),
        (["view_terminal"], {"list"}),
        (["view_terminal", "change_terminal"], {"list"}),
        (["retire_terminal", "add_settlementrun"], {"retire", "settle"}),
        (["add_terminal"], {"register"}),
    ],
)
def test_staff_may_do_what_their_permissions_say(
    register: Callable[[str], Terminal], permissions: list[str], allowed: set[str]
) -> None:
    terminal = register("SN-1")
    clerk = get_user_model().objects.create_user("clerk", password="a-long-password-here", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.objects.create(user=clerk)[1]}")
    body = {"serial": "SN-2", "store": terminal.store_id, "model": terminal.model_id}
    answers = {
        "list": client.get(TERMINALS),
        "register": client.post(TERMINALS, body, format="json"),
        "settle": client.post("/api/v1/settlement/runs/", {"terminal": terminal.pk}, format="json"),
        "retire": client.post(f"{TERMINALS}{terminal.pk}/retire/", {}, format="json"),
    }
    assert {name for name, answer in answers.items() if answer.status_code != 403} == allowed


def test_an_etag_is_of_what_is_edited_and_not_of_what_is_heard(
    api: APIClient, register: Callable[[str], Terminal]
) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    url = f"{TERMINALS}{terminal.pk}/"
    etag = api.get(url)["ETag"]
    deliver(device.hello())
    changed = api.patch(url, {"tid": "42"}, format="json", HTTP_IF_MATCH=etag)
    assert changed.status_code == 200
    assert changed["ETag"] == api.get(url)["ETag"] != etag


@pytest.mark.parametrize(
    ("query", "status"), [("cursor=cD0lMDA%3D", 404), ("serial=%00", 400), ("stat=active", 400), ("page_siez=5", 400)]
)
def test_a_query_that_cannot_be_meant_is_refused(api: APIClient, query: str, status: int) -> None:
    answer = api.get(f"{TERMINALS}?{query}")
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")


def test_a_commands_message_is_for_who_may_read_it(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    terminal.refresh_from_db()
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    for permissions, shown in ((["view_terminal", "view_command"], False), (["view_command", "read_message"], True)):
        clerk = get_user_model().objects.create_user(f"clerk{shown}", is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = APIClient()
        client.force_authenticate(clerk)
        [command] = client.get(f"{TERMINALS}{terminal.pk}/commands/").json()
        assert (command["message"] is not None) is shown


def test_an_upload_with_the_same_key_and_other_bytes_is_another_request(api: APIClient) -> None:
    package = Package.objects.create(name="pay")
    TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")

    def upload(content: bytes) -> Any:
        file = SimpleUploadedFile("pay.bin", content)
        body = {"package": package.pk, "version": "1.0.0", "platform": "linux-arm64", "artifact": file}
        return api.post("/api/v1/releases/", body, format="multipart", HTTP_IDEMPOTENCY_KEY="k1")

    assert [upload(b"aaaa").status_code, upload(b"aaaa").status_code, upload(b"bbbb").status_code] == [201, 201, 409]


def test_the_apis_own_address_says_where_everything_is(api: APIClient) -> None:
    assert APIClient().get("/api/v1/").status_code == 401
    directory = api.get("/api/v1/").json()
    assert directory["terminals"].endswith("/api/v1/terminals/")


def test_an_address_that_the_api_has_not_is_a_problem_not_a_page(client: Any) -> None:
    answer = client.get("/api/v1/nothing/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_sending_to_many_costs_the_statements_of_sending_to_one(
    api: APIClient, register: Callable[[str], Terminal]
) -> None:
    terminals = [register(f"SN-{n}") for n in range(12)]
    Terminal.objects.update(state="active")
    release = row(Package.objects.create(name="pay"))
    url = f"/api/v1/releases/{release.pk}/assign/"
    api.get(TERMINALS)  # the first use of a token in a minute is noted
    costs = []
    for chosen in (terminals[:1], terminals[1:]):
        with CaptureQueriesContext(connection) as captured:
            body = {"terminals": [terminal.pk for terminal in chosen]}
            assert api.post(url, body, format="json").status_code < 300
        costs.append(len(captured))
    assert costs[0] == costs[1]
    for ids in ([0], [10**30], ["x"], [terminals[0].pk, 999_999], [], [1] * 1001):
        answer = api.post(url, {"terminals": ids}, format="json")
        assert answer.status_code == 400, ids
