"""What bulk work is kept from: others' jobs, grants that ended, targets that changed, and filters that the list cannot say."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.test import APIClient

from fleet.pages.list_filters import filter_of_address
from terminals.bulk import services
from terminals.bulk.models import BulkJob
from terminals.bulk.verbs import verbs
from terminals.common.errors import Refusal
from terminals.estate.models import Membership, Merchant, Store, Terminal, TerminalGroup, TerminalModel
from terminals.parameters.services import publish_template

Register = Callable[[str], Terminal]


@pytest.fixture
def terminals(register: Register) -> list[Terminal]:
    return [register(f"SN-{n}") for n in range(3)]


def member(role: str, name: str = "ann", **node: Any) -> User:
    user, _ = User.objects.get_or_create(username=name, is_staff=True)
    Membership.objects.create(user=user, role=Group.objects.get(name=role), **node)
    return User.objects.get(pk=user.pk)


def start(user: User, verb: str = "tag", text: str = "serial ~ SN-", **arguments: Any) -> BulkJob:
    return services.start(verb=verb, arguments=arguments or {"tag": "x"}, text=text, user=user)


def run() -> None:
    services.run_jobs(time.monotonic() + 30)


def outcome(job: BulkJob) -> tuple[str, dict[str, int]]:
    job.refresh_from_db()
    return job.state, {state: number for state, number in services.progress(job).items() if number}


def test_a_job_that_cannot_go_on_fails_and_holds_up_nobody(
    terminals: list[Terminal], operator: User, monkeypatch: Any, caplog: Any
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError

    poison, good = start(operator, "untag", tag="x"), start(operator)
    named = verbs.named
    monkeypatch.setattr(
        verbs, "named", lambda name: replace(named(name), run=broken) if name == "untag" else named(name)
    )
    run()
    assert outcome(poison) == ("failed", {"cancelled": 3})
    assert outcome(good) == ("done", {"done": 3})
    assert f"bulk job {poison.pk} cannot go on" in caplog.text


def test_a_job_whose_group_is_gone_leaves_all_out(terminals: list[Terminal], operator: User) -> None:
    group = TerminalGroup.objects.create(name="Gone")
    job, other = start(operator, "join_group", group=group.pk), start(operator)
    group.delete()
    run()
    assert outcome(job) == ("done", {"left_out": 3})
    assert {item.reason for item in job.items.all()} == {"bad_arguments"}
    assert outcome(other) == ("done", {"done": 3})


def test_jobs_take_turns(terminals: list[Terminal], operator: User, monkeypatch: Any) -> None:
    monkeypatch.setattr(services, "CHUNK", 1)
    turns: list[int] = []
    run_chunk = services.run_chunk

    def watched(job: BulkJob) -> int:
        turns.append(job.pk)
        return run_chunk(job)

    monkeypatch.setattr(services, "run_chunk", watched)
    first, second = start(operator), start(operator, tag="y")
    run()
    assert turns[:4] == [first.pk, second.pk, first.pk, second.pk]


def test_who_lost_the_account_or_the_role_meanwhile_does_nothing_more(terminals: list[Terminal]) -> None:
    ann, bob = (member("operator", name, merchant=terminals[0].store.merchant) for name in ("ann", "bob"))
    jobs = [start(user) for user in (ann, bob)]
    User.objects.filter(pk=ann.pk).update(is_active=False)
    Membership.objects.filter(user=bob).update(role=Group.objects.get(name="viewer"))
    run()
    assert [outcome(job) for job in jobs] == [("done", {"left_out": 3})] * 2
    assert not Terminal.objects.exclude(tags=[]).exists()


def test_a_move_asks_for_its_store_again(terminals: list[Terminal]) -> None:
    merchant = terminals[0].store.merchant
    store = Store.objects.create(merchant=merchant, name="New")
    other = Merchant.objects.create(name="Other", mid="99")
    job = start(member("operator", merchant=merchant), "move", store=store.pk)
    Store.objects.filter(pk=store.pk).update(merchant=other)
    run()
    assert outcome(job) == ("done", {"left_out": 3})


def test_only_who_asked_and_who_may_do_it_everywhere_cancels(terminals: list[Terminal], operator: User) -> None:
    merchant = terminals[0].store.merchant
    ann, bob = member("operator", merchant=merchant), member("administrator", "bob", merchant=merchant)
    job = start(ann)
    with pytest.raises(PermissionDenied):
        services.cancel(job=job, user=bob)
    assert services.cancel(job=job, user=ann) == 3
    assert services.cancel(job=start(ann), user=operator) == 3


def test_a_filter_that_can_find_nothing_is_told_so(terminals: list[Terminal], operator: User) -> None:
    for text in ("serial = SN-0 and serial = NONE", "id = 0", "organisation = Nobody"):
        with pytest.raises(Refusal, match="no terminal passes"):
            start(operator, text=text)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("tag", {"tag": ["x"]}),
        ("tag", {"tag": 5}),
        ("deliver_key", {"usage": {"a": 1}}),
        ("retire", {"reason": ["sold"]}),
        ("move", {"store": True}),
        ("join_group", {"group": 1.0}),
    ],
)
def test_arguments_of_another_type_are_refused(
    terminals: list[Terminal], operator: User, verb: str, arguments: dict[str, Any]
) -> None:
    Store.objects.get_or_create(pk=1, defaults={"merchant": terminals[0].store.merchant, "name": "First"})
    with pytest.raises(Refusal, match=r"write a text|choose one"):
        start(operator, verb, **arguments)


def test_a_page_of_jobs_costs_the_same_statements_for_any_number(
    terminals: list[Terminal], operator: User, api: APIClient, staff: Client
) -> None:
    def cost() -> list[int]:
        numbers = []
        for send, url in ((api.get, "/api/v1/bulk/"), (api.get, "/api/v1/groups/")):
            send(url)
            with CaptureQueriesContext(connection) as captured:
                assert send(url).status_code == 200
            numbers.append(len(captured))
        return numbers

    def plant(number: int) -> None:
        for n in range(number):
            start(operator, tag=f"t{n}")
            TerminalGroup.objects.create(name=f"G{TerminalGroup.objects.count()}").members.set(terminals)

    plant(1)
    few = cost()
    plant(5)
    assert cost() == few


SAID = {
    "": "state in (registered, enrolled, active, suspended, retired)",
    "link=online": "online",
    "link=offline": "state in (enrolled, active, suspended) and not online",
    "locked=locked": "locked",
    "tamper_alarm__active__exact=1": "tamper",
    "state__exact=active": "state = active",
    "health__printer__exact=out_of_paper": "printer = out_of_paper",
    "q=SN-1&o=2": 'search = "SN-1"',
    "q=a%22b": 'search = "a""b"',
    "filter=online+or+locked&state=active": "(online or locked) and state = active",
    "id__exact=7": "id = 7",
}
UNSAID = [
    "created_at__gte=2026-01-01",
    "state=working",
    "store__merchant__id__exact=x",
    "id=1+or+online",
    "health__x=a b",
]


def asked(query: str) -> dict[str, str]:
    return QueryDict(query).dict()


@pytest.mark.parametrize("query", SAID)
def test_the_lists_address_is_said_as_a_filter(db: None, query: str) -> None:
    assert filter_of_address(asked(query)) == SAID[query]


@pytest.mark.parametrize("query", UNSAID)
def test_what_the_filter_cannot_say_is_refused_and_not_left_away(db: None, query: str) -> None:
    with pytest.raises(Refusal, match="cannot be said as a filter"):
        filter_of_address(asked(query))


def test_a_model_of_the_address_is_said_by_its_name(terminals: list[Terminal]) -> None:
    model = TerminalModel.objects.get()
    assert filter_of_address({"model__id__exact": str(model.pk)}) == f'model = "{model}"'


def test_all_that_the_list_shows_leads_to_the_bulk_page(terminals: list[Terminal], staff: Client) -> None:
    url = reverse("admin:terminals_terminal_changelist")
    chosen = {"action": "do_to_many", "_selected_action": [terminals[0].pk], "select_across": "1"}
    assert "search" in staff.post(f"{url}?q=SN-1", chosen).headers["Location"]
    chosen["select_across"] = "0"
    assert "SN-0" in staff.post(f"{url}?q=SN-", chosen).headers["Location"]


def test_health_is_not_guessed_by_the_lists_address(terminals: list[Terminal], client: Client) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    role, _ = Group.objects.get_or_create(name="sees terminals")
    role.permissions.set(Group.objects.get(name="viewer").permissions.filter(codename="view_terminal"))
    Membership.objects.create(user=clerk, role=role, merchant=terminals[0].store.merchant)
    client.force_login(clerk)
    url = reverse("admin:terminals_terminal_changelist")
    for query in ("health__printer__exact=ok", "health__battery_percent__lt=50", "tamper_alarm__active__exact=1"):
        answer = client.get(f"{url}?{query}")
        assert answer.status_code in (302, 400), query


def test_a_secret_is_not_set_in_bulk_where_the_job_and_the_audit_would_keep_it(db: None) -> None:
    root = User.objects.create_superuser("root")
    publish_template(name="till", schema={"properties": {"wifi": {"type": "string", "writeOnly": True}}}, actor="ops")
    for values in ({"wifi": "TOPSECRET"}, {"wifi": {"$secret": "set"}}, {"nonsense": 1}, {}, None, "x"):
        with pytest.raises(Refusal):
            services.start(verb="configure", arguments={"values": values}, text="state = active", user=root)
    assert not BulkJob.objects.exists()
