"""Bulk work: each verb does to many what it does to one, leaves out whom it says, and costs the same for any number."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from firmware.models import Installation, Package
from fleet.roles import ROLES
from terminals.bulk import services
from terminals.bulk.models import BulkJob
from terminals.bulk.rules import ranges
from terminals.bulk.verbs import verbs
from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.facts.models import Fact
from terminals.estate.models import Membership, Merchant, Organisation, Store, Terminal, TerminalGroup
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state
from terminals.keys.models import TerminalKey
from terminals.link.models import Command
from terminals.parameters.models import ModelTemplate, ParameterSet
from terminals.parameters.services import publish_template
from terminals.settlement.models import SettlementPlan, SettlementRun, SettlementSchedule
from terminals.settlement.runs.services import request_settlement
from tests.conftest import TEMPLATE, deliver, make_plan, set_schedule, sold, working_device
from tests.releases import row

Register = Callable[[str], Terminal]


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def fleet(register: Register) -> list[Terminal]:
    """SN-0 to SN-2 work, SN-3 is registered, SN-4 suspended."""
    terminals = [register(f"SN-{n}") for n in range(5)]
    for n in (0, 1, 2, 4):
        working_device(terminals[n])
    change_state(terminal=terminals[4], transition=TerminalTransition.suspend, actor="ops")
    Command.objects.all().delete()
    return terminals


def do(verb: str, user: User, text: str = "serial ~ SN-", **arguments: Any) -> BulkJob:
    job = services.start(verb=verb, arguments=arguments, text=text, user=user)
    services.run_jobs(time.monotonic() + 30)
    job.refresh_from_db()
    assert job.state == "done"
    return job


def left_out(job: BulkJob) -> dict[str, str]:
    items = job.items.filter(state="left_out").select_related("terminal")
    return {item.terminal.serial: item.reason for item in items}


def told(preview: services.Preview) -> tuple[int, int, dict[str, int]]:
    return preview.total, preview.ready, {one.refusal.reason: one.number for one in preview.left_out}


def values_for(fleet: list[Terminal]) -> dict[str, Any]:
    """Return values to set, and give the terminals' model a template that has them."""
    if not ModelTemplate.objects.exists():
        template = publish_template(name="till", schema=TEMPLATE, actor="ops").template
        ModelTemplate.objects.create(model=fleet[0].model, template=template)
    return {"values": {"tip_enabled": True}}


def arguments_for(verb: str, fleet: list[Terminal]) -> dict[str, Any]:
    """Return arguments with which each verb can be done."""
    if verb == "install":
        return {"release": row(Package.objects.get_or_create(name="pay")[0]).pk}
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "deliver_key": lambda: {"usage": "P0"},
        "configure": lambda: values_for(fleet),
        "set_plan": lambda: {
            "plan": SettlementPlan.objects.get_or_create(name="nightly", settings={"cycle": "30 22 * * *"})[0].pk
        },
        "tag": lambda: {"tag": "pilot"},
        "untag": lambda: {"tag": "pilot"},
        "move": lambda: {"store": Store.objects.get_or_create(merchant=fleet[0].store.merchant, name="New")[0].pk},
        "join_group": lambda: {"group": TerminalGroup.objects.get_or_create(name="Named")[0].pk},
        "leave_group": lambda: {"group": TerminalGroup.objects.get_or_create(name="Named")[0].pk},
    }
    return made[verb]() if verb in made else {}


NOT_IN_SERVICE = {"SN-3": "not_in_service", "SN-4": "not_in_service"}
# verb -> whom it leaves out of the fleet above
LEAVES_OUT: dict[str, dict[str, str]] = {
    **dict.fromkeys(("settle", "install", "deliver_key", "reboot", "lock", "unlock", "ping"), NOT_IN_SERVICE),
    "suspend": NOT_IN_SERVICE,
    "resume": {f"SN-{n}": "not_in_service" for n in range(4)},
    "set_plan": {"SN-3": "not_in_service"},
    **{name: {} for name in ("configure", "retire", "tag", "untag", "move", "join_group", "leave_group")},
}


def test_the_table_names_every_verb() -> None:
    assert {verb.name for verb in verbs.all()} == set(LEAVES_OUT)


@pytest.mark.parametrize("verb", LEAVES_OUT)
def test_a_verb_leaves_out_whom_its_preview_says_and_leaves_its_audit_entries(
    fleet: list[Terminal], root: User, verb: str
) -> None:
    arguments = arguments_for(verb, fleet)
    before = AuditEntry.objects.count()
    preview = services.preview(verb=verb, arguments=arguments, text="serial ~ SN-", user=root)
    assert AuditEntry.objects.count() == before
    assert Command.objects.count() == 0, "a preview changes nothing"
    job = do(verb, root, **arguments)
    assert left_out(job) == LEAVES_OUT[verb]
    assert (preview.total, preview.ready) == (5, 5 - len(LEAVES_OUT[verb]))
    assert services.progress(job)["done"] == preview.ready
    entry, *each = AuditEntry.objects.order_by("id")[before:]
    done = {f"terminal:SN-{n}" for n in range(5)} - {f"terminal:{serial}" for serial in LEAVES_OUT[verb]}
    assert {one.subject for one in each} == done, "and one for each terminal, where its part's auditor finds it"
    assert {(one.actor, one.action, one.detail["job"]) for one in each} <= {("root", f"bulk.{verb}", job.pk)}
    assert (entry.actor, entry.action, entry.subject) == ("root", f"bulk.{verb}", f"bulkjob:{job.pk}")
    assert entry.detail["filter"] == "serial ~ SN-"
    assert entry.detail["ids"] == ranges(terminal.pk for terminal in fleet)


@pytest.mark.parametrize("verb", LEAVES_OUT)
def test_a_chunk_costs_the_same_statements_for_any_number(register: Register, root: User, verb: str) -> None:
    def cost(serials: list[str]) -> int:
        terminals = [register(serial) for serial in serials]
        for terminal in terminals:
            working_device(terminal)
        Command.objects.all().delete()
        if verb == "resume":
            Terminal.objects.filter(serial__in=serials).update(state="suspended")
        text = f"serial in ({', '.join(serials)})"
        job = services.start(verb=verb, arguments=arguments_for(verb, terminals), text=text, user=root)
        with CaptureQueriesContext(connection) as captured:
            assert services.run_chunk(job) == len(serials)
        assert services.progress(job)["done"] == len(serials)
        return len(captured)

    if verb == "set_plan":
        cost(["EF-1"])  # the first one under a plan makes what the others share
    assert cost(["AB-1", "AB-2"]) == cost([f"CD-{n}" for n in range(9)])


def test_what_is_done_is_what_one_terminals_page_does(fleet: list[Terminal], root: User) -> None:
    do("reboot", root)
    assert set(Command.objects.values_list("terminal__serial", "type")) == {(f"SN-{n}", "reboot") for n in range(3)}
    do("deliver_key", root, usage="P0")
    assert TerminalKey.objects.filter(state="pending").count() == 3
    do("settle", root)
    assert SettlementRun.objects.filter(state="requested").count() == 3
    do("install", root, **arguments_for("install", fleet))
    assert Installation.objects.count() == 3
    do("configure", root, **arguments_for("configure", fleet))
    assert ParameterSet.objects.filter(is_current=True, values={"tip_enabled": True}).count() >= 3
    do("tag", root, tag="pilot")
    do("tag", root, tag="pilot")
    assert set(map(tuple, Terminal.objects.values_list("tags", flat=True))) == {("pilot",)}
    do("untag", root, text="serial = SN-0", tag="pilot")
    assert Terminal.objects.filter(tags=[]).count() == 1
    do("join_group", root, text="tag = pilot", **arguments_for("join_group", fleet))
    assert TerminalGroup.objects.get().members.count() == 4
    do("move", root, text="serial in (SN-0, SN-1)", **arguments_for("move", fleet))
    assert Terminal.objects.filter(store__name="New").count() == 2
    assert Fact.objects.filter(kind="state.edited").count() == 5 + 1 + 2


def test_retiring_leaves_out_who_has_money_and_does_all_that_retiring_does(fleet: list[Terminal], root: User) -> None:
    deliver(sold(working_device(fleet[0]), 4757))
    preview = services.preview(verb="retire", arguments={}, text="serial ~ SN-", user=root)
    assert told(preview) == (5, 4, {"unsettled_money": 1})
    job = do("retire", root, reason="sold")
    assert left_out(job) == {"SN-0": "unsettled_money"}
    assert set(Terminal.objects.filter(state="retired").values_list("serial", flat=True)) == {
        f"SN-{n}" for n in (1, 2, 3, 4)
    }
    facts = Fact.objects.filter(kind="state.changed", body__to="retired")
    assert [fact.body["reason"] for fact in facts] == ["sold"] * 4


def test_a_plan_replaces_what_a_terminal_had_of_its_own(fleet: list[Terminal], root: User) -> None:
    by_hand = make_plan("by hand")
    set_schedule(terminal=fleet[0], plan=by_hand, actor="ops", cycle="0 4 * * *", amount_limits={"EUR": 5})
    do("set_plan", root, **arguments_for("set_plan", fleet))
    schedules = SettlementSchedule.objects.filter(
        effective__plan__name="nightly", effective__settings__amount_limits={}
    )
    assert schedules.exclude(next_due_at=None).count() == 4


def test_a_move_leaves_out_whose_tid_is_taken_there(fleet: list[Terminal], root: User) -> None:
    there = Store.objects.get(pk=arguments_for("move", fleet)["store"])
    Terminal.objects.filter(serial="SN-0").update(tid="1", store=there)
    elsewhere = Store.objects.create(merchant=there.merchant, name="Elsewhere")
    Terminal.objects.filter(serial="SN-2").update(store=elsewhere)
    Terminal.objects.filter(serial__in=["SN-1"]).update(tid="1")
    Terminal.objects.filter(serial__in=["SN-2", "SN-3"]).update(tid="2")
    job = do("move", root, store=there.pk)
    assert left_out(job) == {"SN-0": "there_already", "SN-1": "tid_taken", "SN-3": "tid_taken"}


def test_what_changed_since_the_preview_is_asked_again(fleet: list[Terminal], root: User) -> None:
    job = services.start(verb="settle", arguments={}, text="state = active", user=root)
    fleet[0].refresh_from_db()
    request_settlement(terminal=fleet[0], actor="ops")
    services.run_jobs(time.monotonic() + 30)
    assert left_out(job) == {"SN-0": "already_settling"}


def test_cancelling_stops_what_was_not_done_yet(fleet: list[Terminal], root: User, monkeypatch: Any) -> None:
    monkeypatch.setattr(services, "CHUNK", 2)
    job = services.start(verb="tag", arguments={"tag": "pilot"}, text="serial ~ SN-", user=root)
    services.run_chunk(job)
    assert services.cancel(job=job, user=root) == 3
    services.run_jobs(time.monotonic() + 30)
    assert services.progress(job) == {"waiting": 0, "done": 2, "left_out": 0, "cancelled": 3}
    assert Terminal.objects.filter(tags=["pilot"]).count() == 2
    with pytest.raises(Refusal, match="not running any more"):
        services.cancel(job=job, user=root)


@pytest.mark.parametrize(
    ("verb", "arguments", "text", "why"),
    [
        ("explode", {}, "online", "nothing is called"),
        ("reboot", {}, " ", "say which terminals"),
        ("reboot", {}, "battery < low", "write for example 20"),
        ("reboot", {}, "serial = NONE", "no terminal passes"),
        ("install", {}, "online", "release: choose one"),
        ("install", {"release": "1"}, "online", "release: choose one"),
        ("install", {"release": 2**70}, "online", "release: choose one"),
        ("deliver_key", {"usage": "ZZ"}, "online", "usage"),
        ("tag", {"tag": "\n"}, "online", "printable"),
        ("tag", {"tag": "x" * 41}, "online", "printable"),
        ("move", {"store": 10**12}, "online", "store: choose one"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    root: User, verb: str, arguments: dict[str, Any], text: str, why: str
) -> None:
    with pytest.raises(Refusal, match=why):
        services.start(verb=verb, arguments=arguments, text=text, user=root)
    assert not BulkJob.objects.exists()
    assert not AuditEntry.objects.exists()


def member(role: str, **node: Any) -> User:
    user, _ = User.objects.get_or_create(username="ann", is_staff=True)
    Membership.objects.create(user=user, role=Group.objects.get(name=role), **node)
    return User.objects.get(pk=user.pk)


@pytest.fixture
def parts(fleet: list[Terminal]) -> tuple[Merchant, Merchant]:
    """SN-0 stands at the first merchant, the others at the second."""
    first = Merchant.objects.create(name="First", mid="11")
    store = Store.objects.create(merchant=first, name="Only")
    Terminal.objects.filter(serial="SN-0").update(store=store)
    return first, fleet[1].store.merchant


def test_an_operator_reaches_the_own_part_of_a_target_only(parts: tuple[Merchant, Merchant]) -> None:
    first, second = parts
    ann = member("operator", merchant=first)
    assert told(services.preview(verb="tag", arguments={"tag": "x"}, text="serial ~ SN-", user=ann)) == (1, 1, {})
    ann = member("viewer", merchant=second)
    preview = services.preview(verb="tag", arguments={"tag": "x"}, text="serial ~ SN-", user=ann)
    assert told(preview) == (5, 1, {"not_allowed": 4})
    do("tag", ann, tag="x")
    assert [t.serial for t in Terminal.objects.filter(tags=["x"])] == ["SN-0"]


def test_a_grant_that_ended_meanwhile_does_nothing_more(parts: tuple[Merchant, Merchant]) -> None:
    ann = member("operator", merchant=parts[0])
    job = services.start(verb="tag", arguments={"tag": "x"}, text="serial ~ SN-", user=ann)
    Membership.objects.all().delete()
    services.run_jobs(time.monotonic() + 30)
    assert left_out(job) == {"SN-0": "not_allowed"}


def test_nothing_is_moved_or_joined_to_what_is_not_ones_own(parts: tuple[Merchant, Merchant]) -> None:
    first, second = parts
    ann = member("operator", merchant=first)
    foreign = TerminalGroup.objects.create(name="Foreign", merchant=second)
    for verb, arguments in (("move", {"store": second.stores.get().pk}), ("join_group", {"group": foreign.pk})):
        with pytest.raises(Refusal, match="choose one by its id"):
            services.start(verb=verb, arguments=arguments, text="serial ~ SN-", user=ann)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_does_in_bulk_what_it_does_to_one(
    parts: tuple[Merchant, Merchant], fleet: list[Terminal], role: str
) -> None:
    ann = member(role, merchant=parts[0])
    for verb in verbs.all():
        arguments = arguments_for(verb.name, fleet)
        if verb.name in ("move", "join_group", "leave_group"):
            continue  # what they name belongs to nobody here
        if verb.permission in ROLES[role]:
            services.preview(verb=verb.name, arguments=arguments, text="serial ~ SN-", user=ann)
        else:
            with pytest.raises(PermissionDenied):
                services.start(verb=verb.name, arguments=arguments, text="serial ~ SN-", user=ann)


def test_the_api_previews_starts_shows_and_cancels(fleet: list[Terminal], api: APIClient) -> None:
    wanted = {"verb": "tag", "filter": "serial ~ SN-", "arguments": {"tag": "pilot"}}
    assert api.post("/api/v1/bulk/preview/", wanted).json() == {"total": 5, "ready": 5, "left_out": [], "warnings": []}
    preview = api.post("/api/v1/bulk/preview/", {"verb": "lock", "filter": "serial ~ SN-"}).json()
    assert preview["left_out"][0]["serials"] == ["SN-3", "SN-4"]
    assert preview["left_out"][0]["detail"] == "its state is none of these: enrolled, active"
    first = api.post("/api/v1/bulk/", wanted, HTTP_IDEMPOTENCY_KEY="one")
    again = api.post("/api/v1/bulk/", wanted, HTTP_IDEMPOTENCY_KEY="one")
    assert (first.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert BulkJob.objects.count() == 1
    services.run_jobs(time.monotonic() + 30)
    shown = api.get(f"/api/v1/bulk/{first.json()['id']}/").json()
    assert (shown["state"], shown["progress"]["done"]) == ("done", 5)
    assert api.post(f"/api/v1/bulk/{first.json()['id']}/cancel/").status_code == 409
    assert api.get(f"/api/v1/bulk/{first.json()['id']}/items/").json() == []


def test_a_job_is_seen_by_who_asked_for_it_and_by_who_works_everywhere(
    parts: tuple[Merchant, Merchant], root: User
) -> None:
    job = services.start(verb="tag", arguments={"tag": "x"}, text="serial ~ SN-", user=root)
    organisation = Organisation.objects.create(name="Acquirer")
    Merchant.objects.update(organisation=organisation)
    client = APIClient()
    client.force_authenticate(member("administrator", organisation=organisation))
    assert client.get("/api/v1/bulk/").json()["results"] == []
    for verb in ("", "cancel/", "items/"):
        send = client.post if verb == "cancel/" else client.get
        assert send(f"/api/v1/bulk/{job.pk}/{verb}").status_code == 404
