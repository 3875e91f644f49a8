"""Registering in lists: an answer for each row, the books and the audit as if one had done them one by one."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from terminals.common.audit.models import AuditEntry
from terminals.common.facts.models import Fact
from terminals.enrolment.services import enrol
from terminals.estate.models import Membership, Merchant, Store, Terminal
from tests.conftest import make_csr

PATH = "/api/v1/terminals/register/"
Shop = dict[str, int]


def register(api: APIClient, *rows: Any) -> Any:
    answer = api.post(PATH, {"terminals": list(rows)})
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_each_row_has_its_answer_and_what_fits_is_on_the_books(api: APIClient, shop: Shop) -> None:
    Terminal.objects.create(serial="OLD-1", device_id="OLD-1", store_id=shop["store"], model_id=shop["model"], tid="9")
    rows = [
        {"serial": "SN-1", **shop, "tid": "1", "tags": ["pilot"]},
        {"serial": "SN-1", **shop},
        {"serial": "sn-1", **shop},
        {"serial": "OLD-1", **shop},
        {"serial": "SN-2", **shop, "tid": "1"},
        {"serial": "SN-3", **shop, "tid": "9"},
        {"serial": "x", **shop},
        {"serial": "SN-4", **shop, "tid": "1 $"},
        {"serial": "SN-5", **shop, "store": 10**15},
        {"serial": "SN-6", **shop, "model": 0},
        {"serial": "SN-7"},
        {"serial": "SN-8", **shop, "colour": "red"},
        {"serial": "SN-9", **shop, "tags": ["\n"]},
        {"serial": "SN-10", **shop, "mid": "m" * 16},
        {"serial": "SN-11", **shop},
    ]
    answers = register(api, *rows)
    assert [answer.get("reason", answer.get("serial")) for answer in answers] == [
        "SN-1",
        *["serial_taken"] * 3,
        *["tid_taken"] * 2,
        "bad_serial",
        "bad_identifier",
        "unknown_store",
        "unknown_model",
        "bad_row",
        "bad_row",
        "bad_tag",
        "bad_identifier",
        "SN-11",
    ]
    made = Terminal.objects.get(serial="SN-1")
    assert (made.tid, made.tags, made.path) == ("1", ["pilot"], made.store.path)
    assert AuditEntry.objects.filter(action="terminal.register").count() == 2
    assert Fact.objects.filter(kind="state.registered").count() == 2


def test_a_code_of_the_list_enrols_its_terminal(api: APIClient, shop: Shop) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    answers = register(api, *({"serial": f"SN-{n}", **shop} for n in range(3)))
    assert len({answer["activation_code"] for answer in answers}) == 3
    csr = make_csr(ec.generate_private_key(ec.SECP256R1()), "SN-1")
    assert enrol(code=answers[1]["activation_code"], serial="SN-1", csr_pem=csr)["device_id"] == "SN-1"


def test_any_number_of_rows_costs_the_same_statements(api: APIClient, shop: Shop) -> None:
    def cost(letter: str, count: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            register(api, *({"serial": f"{letter}-{n:04d}", **shop, "tid": f"{letter}{n}"} for n in range(count)))
        return len(captured)

    cost("AA", 1)
    assert cost("BB", 2) == cost("CC", 200)


def test_one_terminal_costs_eight_statements_in_one_transaction(api: APIClient, shop: Shop) -> None:
    body = {**shop, "tid": "7", "tags": ["pilot"]}
    assert api.post("/api/v1/terminals/", {"serial": "SN-1", **body, "tid": "6"}).status_code == 201
    with CaptureQueriesContext(connection) as captured:
        answer = api.post("/api/v1/terminals/", {"serial": "SN-2", **body})
    words = [query["sql"].split()[0] for query in captured]
    assert len([word for word in words if word not in ("SAVEPOINT", "RELEASE")]) <= 8, words
    assert words.count("SAVEPOINT") <= 1, words  # the test's own transaction makes one of what is BEGIN and COMMIT
    made = Terminal.objects.get(serial="SN-2")
    shown = api.get(f"/api/v1/terminals/{made.pk}/").json()
    assert answer.json() == shown | {"activation_code": answer.json()["activation_code"]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"serial": "SN-1"}, "serial"),
        ({"serial": "sn-1"}, "serial"),
        ({"tid": "6"}, "tid"),
        ({"tid": "a b"}, "tid"),
        ({"colour": "red"}, "colour"),
        ({"tags": ["x", "x"]}, "tags"),
    ],
)
def test_what_another_terminal_has_is_told_of_its_field(
    api: APIClient, shop: Shop, change: dict[str, Any], field: str
) -> None:
    assert api.post("/api/v1/terminals/", {"serial": "SN-1", **shop, "tid": "6"}).status_code == 201
    before = AuditEntry.objects.count()
    refused = api.post("/api/v1/terminals/", {"serial": "SN-2", **shop, **change})
    assert (refused.status_code, list(refused.json()["errors"])) == (400, [field])
    assert (Terminal.objects.count(), AuditEntry.objects.count()) == (1, before)


def test_no_code_for_who_may_issue_none_and_no_row_for_a_foreign_store(db: None, shop: Shop) -> None:
    foreign = Store.objects.create(merchant=Merchant.objects.create(name="Other", mid="2"), name="There")
    role = Group.objects.create(name="registrar")
    role.permissions.set(Permission.objects.filter(codename__in=["add_terminal", "view_terminal"]))
    clerk = User.objects.create_user("clerk", is_staff=True)
    Membership.objects.create(user=clerk, role=role, store_id=shop["store"])
    client = APIClient()
    client.force_authenticate(clerk)
    mine, theirs = register(client, {"serial": "SN-1", **shop}, {"serial": "SN-2", **shop, "store": foreign.pk})
    assert (mine["serial"], mine["activation_code"]) == ("SN-1", None)
    assert theirs["reason"] == "unknown_store"


@pytest.mark.parametrize("body", [{}, {"terminals": []}, {"terminals": [1]}, {"terminals": [{}] * 1001}, [1]])
def test_what_is_no_list_of_rows_is_refused_whole(api: APIClient, body: Any) -> None:
    answer = api.post(PATH, json.dumps(body).encode(), content_type="application/json")
    assert answer.status_code == 400
    assert not Terminal.objects.exists()


@pytest.mark.parametrize("tags", [["x", "x"], ["a\u00a0b"], [str(n) for n in range(51)]])
def test_tags_are_asked_alike_when_a_terminal_is_edited(api: APIClient, shop: Shop, tags: list[str]) -> None:
    made = api.post("/api/v1/terminals/", {"serial": "SN-1", **shop}).json()
    refused = api.patch(f"/api/v1/terminals/{made['id']}/", {"tags": tags}, format="json")
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["tags"])
    assert Terminal.objects.get().tags == []
