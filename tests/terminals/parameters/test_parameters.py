"""Values set in the tree reach the terminals below, once, and are mended where a terminal lost them."""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.facts.models import Fact
from terminals.estate.levels import INSTALLATION
from terminals.estate.models import Merchant, Organisation, Store, Terminal, TerminalGroup, TerminalModel
from terminals.estate.registering import register_terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import change_state, move_terminals
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.parameters import sending, services
from terminals.parameters.effective import Trial, effective
from terminals.parameters.models import (
    ModelTemplate,
    ParametersDue,
    ParameterSet,
    ParameterTemplate,
    TerminalParameters,
)
from terminals.parameters.services import preview_restoring, publish_template, restore, set_values
from tests.conftest import deliver, obey, working_device
from tests.terminals.parameters.test_rules import SCHEMA

Register = Callable[[str], Terminal]


@pytest.fixture
def template(register: Register) -> ParameterTemplate:
    """A template for the model of which `register` makes terminals."""
    template = publish_template(name="till", schema=SCHEMA, actor="ops").template
    ModelTemplate.objects.create(model=TerminalModel.objects.get(), template=template)
    return template


def run() -> None:
    sending.run_due(time.monotonic() + 20)


def own(terminal: Terminal) -> tuple[str, int]:
    return ("terminal", terminal.pk)


def at_work(terminal: Terminal) -> Any:
    """Return the terminal's device, enrolled, connected and configured."""
    device = working_device(terminal)
    run()
    obey(device, "configure")
    return device


def test_a_terminal_gets_the_lowest_values_when_it_connects(register: Register, template: ParameterTemplate) -> None:
    terminal = register("SN-1")
    merchant = ("merchant", terminal.store.merchant_id)
    set_values(template=template, level=INSTALLATION, values={"currency": "EUR", "tips": True}, actor="ops")
    set_values(template=template, level=merchant, values={"tips": False, "limits": {"EUR": 5000}}, actor="ops")
    device = at_work(terminal)
    told = TerminalParameters.objects.get()
    assert device.memory.parameters == {"currency": "EUR", "tips": False, "limits": {"EUR": 5000}, "interval": 60}
    assert (told.state, told.applied_id) == ("applied", device.memory.parameters_version)
    origins = {
        name: ParameterSet.objects.filter(pk=key).first()
        for name, key in effective(Terminal.objects.all())[terminal.pk].origins.items()
    }
    assert {name: one.level if one else "template" for name, one in origins.items()} == {
        "interval": "template",
        "currency": "installation",
        "tips": "merchant",
        "limits": "merchant",
    }


def test_a_change_at_the_top_reaches_whom_it_touches_and_no_other(
    register: Register, template: ParameterTemplate
) -> None:
    first, second = register("SN-1"), register("SN-2")
    devices = [at_work(first), at_work(second)]
    set_values(template=template, level=own(second), values={"tips": False}, actor="ops")
    run()
    obey(devices[1], "configure")
    sent = Command.objects.filter(type="configure").count()
    found = services.preview(template=template, level=INSTALLATION, values={"tips": True})
    assert (found.below, found.touched, found.serials, found.invalid) == (2, 1, ["SN-1"], [])
    set_values(template=template, level=INSTALLATION, values={"tips": True}, actor="ops")
    run()
    assert Command.objects.filter(type="configure").count() == sent + 1
    obey(devices[0], "configure")
    assert [device.memory.parameters["tips"] for device in devices] == [True, False]
    assert not ParametersDue.objects.exists()


def test_groups_count_by_their_names_above_the_terminals_own(register: Register, template: ParameterTemplate) -> None:
    terminal = register("SN-1")
    for name, interval in (("B", 20), ("A", 10)):
        group = TerminalGroup.objects.create(name=name)
        group.members.add(terminal)
        set_values(template=template, level=("group", group.pk), values={"interval": interval, "tips": True}, actor="x")
    store = ("store", terminal.store_id)
    set_values(template=template, level=store, values={"interval": 99, "currency": "EUR"}, actor="x")
    set_values(template=template, level=own(terminal), values={"tips": False}, actor="x")
    found = effective(Terminal.objects.all())[terminal.pk]
    assert found.values == {"interval": 20, "tips": False, "currency": "EUR"}
    dynamic = TerminalGroup.objects.create(name="C", filter="state = active")
    with pytest.raises(Refusal, match="changes by itself"):
        set_values(template=template, level=("group", dynamic.pk), values={"tips": True}, actor="x")


def test_whoever_moves_in_the_tree_or_joins_a_group_gets_other_values(
    register: Register, template: ParameterTemplate
) -> None:
    terminal = register("SN-1")
    device = at_work(terminal)
    new = Store.objects.create(merchant=terminal.store.merchant, name="New")
    set_values(template=template, level=("store", new.pk), values={"tips": True}, actor="ops")
    move_terminals(terminal_ids=[terminal.pk], store=new, actor="ops")
    run()
    obey(device, "configure")
    assert bool(device.memory.parameters["tips"])
    group = TerminalGroup.objects.create(name="A")
    set_values(template=template, level=("group", group.pk), values={"tips": False}, actor="ops")
    group.members.add(terminal)
    run()
    obey(device, "configure")
    assert not device.memory.parameters["tips"]
    north = Organisation.objects.create(name="North")
    set_values(template=template, level=("organisation", north.pk), values={"interval": 30}, actor="ops")
    Merchant.objects.update(organisation=north)
    run()
    obey(device, "configure")
    assert device.memory.parameters["interval"] == 30


def test_a_terminal_that_lost_its_parameters_or_has_others_gets_them_again(
    register: Register, template: ParameterTemplate
) -> None:
    terminal = register("SN-1")
    device = at_work(terminal)
    good = dict(device.memory.parameters)
    for wrong in ({"interval": 7}, {}):
        TerminalParameters.objects.update(mended_at=None)
        device.memory.parameters = dict(wrong)
        deliver(device.hello())
        run()
        obey(device, "configure")
        assert device.memory.parameters == good
    assert Fact.objects.filter(kind="parameters.drifted").count() == 2
    deliver(device.hello())
    assert not ParametersDue.objects.exists()


def test_a_change_that_would_break_a_whole_document_is_refused_and_shown_before(
    register: Register, template: ParameterTemplate
) -> None:
    terminals = [register(f"SN-{n}") for n in range(3)]
    set_values(template=template, level=own(terminals[0]), values={"currency": "EUR"}, actor="ops")
    limits = {"limits": {"EUR": 5000}}
    found = services.preview(template=template, level=INSTALLATION, values=limits)
    assert (found.touched, [serial for serial, _why in found.invalid]) == (3, ["SN-1", "SN-2"])
    with pytest.raises(
        Refusal, match="2 terminals would get parameters that do not fit, SN-1 for one: 'currency' is a"
    ):
        set_values(template=template, level=INSTALLATION, values=limits, actor="ops")
    assert ParameterSet.objects.count() == 1
    with pytest.raises(Refusal, match="interval: 1 is less than"):
        set_values(template=template, level=INSTALLATION, values={"interval": 1}, actor="ops")


def test_revisions_are_kept_compared_and_restored(register: Register, template: ParameterTemplate) -> None:
    register("SN-1")
    for tips in (True, False):
        set_values(template=template, level=INSTALLATION, values={"tips": tips}, actor="ops")
    first = ParameterSet.objects.get(revision=1)
    told = preview_restoring(earlier=first)
    assert (told.below, told.touched, told.serials) == (1, 1, ["SN-1"])
    assert ParameterSet.objects.count() == 2
    with pytest.raises(Refusal, match="meanwhile"):
        restore(earlier=first, actor="ann", seen=1)
    back = restore(earlier=first, actor="ann", seen=2)
    assert (back.revision, back.values, back.is_current) == (3, {"tips": True}, True)
    assert list(ParameterSet.objects.filter(is_current=True)) == [back]
    entry = AuditEntry.objects.get(action="parameterset.restore")
    assert (entry.actor, entry.detail["old"], entry.detail["new"]) == ("ann", {"tips": False}, {"tips": True})


def test_a_secret_is_sealed_at_rest_on_its_way_and_in_the_audit_and_opened_by_its_terminal(
    register: Register, template: ParameterTemplate
) -> None:
    terminal, other = register("SN-1"), register("SN-2")
    devices = [at_work(terminal), at_work(other)]
    made = set_values(template=template, level=INSTALLATION, values={"wifi": "correct horse"}, actor="ops")
    run()
    payloads = [
        bytes(payload) for payload in Command.objects.filter(type="configure").values_list("payload", flat=True)
    ]
    for device in devices:
        obey(device, "configure")
        assert device.memory.parameters["wifi"] == "correct horse"
    for place in (payloads, AuditEntry.objects.values_list("detail"), ParameterSet.objects.values_list("values")):
        assert "correct horse" not in str(list(place))
    kept = set_values(
        template=template, level=INSTALLATION, values={"wifi": {"$secret": "set"}, "tips": True}, actor="ops"
    )
    assert kept.values["wifi"] == made.values["wifi"]
    with pytest.raises(Refusal, match="no secret is set here"):
        set_values(template=template, level=own(terminal), values={"wifi": {"$secret": "set"}}, actor="ops")
    deliver(devices[0].hello())
    assert not ParametersDue.objects.filter(again=True).exists(), "what it reports leaves the secret out"


def test_a_new_version_of_a_template_reaches_its_terminals_and_breaks_nothing_that_is_set(
    register: Register, template: ParameterTemplate
) -> None:
    device = at_work(register("SN-1"))
    set_values(template=template, level=INSTALLATION, values={"interval": 600}, actor="ops")
    smaller = {**SCHEMA, "properties": {**SCHEMA["properties"], "interval": {"type": "integer", "maximum": 500}}}
    with pytest.raises(Refusal, match="what is set at whole installation would not fit: interval: 600 is greater"):
        publish_template(name="till", schema=smaller, actor="ops")
    more = {**SCHEMA, "properties": {**SCHEMA["properties"], "apn": {"type": "string", "default": "internet"}}}
    assert publish_template(name="till", schema=more, actor="ops").version == 2
    run()
    obey(device, "configure")
    assert device.memory.parameters == {"interval": 600, "apn": "internet"}


def test_an_answer_to_an_older_document_changes_nothing_and_a_refused_one_fails(
    register: Register, template: ParameterTemplate
) -> None:
    terminal = register("SN-1")
    working_device(terminal)
    run()
    for tips in (True, False):
        set_values(template=template, level=INSTALLATION, values={"tips": tips}, actor="ops")
        run()
    assert list(Command.objects.filter(type="configure").order_by("id").values_list("state", flat=True)) == [
        "cancelled",
        "cancelled",
        "queued",
    ]
    assert TerminalParameters.objects.get().state == "pending"


def test_statements_grow_neither_with_the_terminals_nor_with_the_levels(
    register: Register, template: ParameterTemplate
) -> None:
    counts = []
    model = TerminalModel.objects.get()
    for letter, n in (("A", 2), ("B", 40)):
        merchant = Merchant.objects.create(name=letter, mid=letter)
        stores = [Store.objects.create(merchant=merchant, name=str(k)) for k in range(n)]
        for k, store in enumerate(stores):
            register_terminal(serial=f"S{letter}-{k}", model=model, store=store, actor="ops")
            set_values(template=template, level=("store", store.pk), values={"interval": 10 + k}, actor="ops")
        Terminal.objects.update(state="active")
        run()
        with CaptureQueriesContext(connection) as queries:
            set_values(template=template, level=("merchant", merchant.pk), values={"tips": True}, actor="ops")
            run()
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 60


def test_what_terminals_get_is_what_a_walk_up_the_tree_finds(register: Register, template: ParameterTemplate) -> None:
    """Set-based against naive, over a tree and values of chance."""
    dice = random.Random(7)
    model = TerminalModel.objects.get()
    organisations = [Organisation.objects.create(name="O0")]
    for n in range(1, 4):
        organisations.append(Organisation.objects.create(name=f"O{n}", parent=dice.choice([None, *organisations])))
    merchants = [
        Merchant.objects.create(name=f"M{n}", mid=str(100 + n), organisation=dice.choice([None, *organisations]))
        for n in range(4)
    ]
    stores = [Store.objects.create(merchant=dice.choice(merchants), name=f"S{n}") for n in range(6)]
    terminals = [
        register_terminal(serial=f"SX-{n:02}", model=model, store=dice.choice(stores), actor="ops") for n in range(20)
    ]
    levels = [INSTALLATION, *(("organisation", one.pk) for one in organisations)]
    levels += [("merchant", one.pk) for one in merchants] + [("store", one.pk) for one in stores]
    levels += [own(one) for one in terminals[:8]]
    said: dict[tuple[str, int], dict[str, int]] = {}
    for level in dice.sample(levels, 18):
        said[level] = {name: dice.randrange(10, 60) for name in ("interval",) if dice.random() < 0.8}
        said[level] |= {"tips": dice.random() < 0.5} if dice.random() < 0.5 else {}
        set_values(template=template, level=level, values=said[level], actor="ops")
    found = effective(Terminal.objects.all())
    for terminal in Terminal.objects.select_related("store__merchant__organisation"):
        above = [own(terminal), ("store", terminal.store_id), ("merchant", terminal.store.merchant_id)]
        organisation = terminal.store.merchant.organisation
        while organisation is not None:
            above.append(("organisation", organisation.pk))
            organisation = organisation.parent
        above.append(INSTALLATION)
        expected: dict[str, Any] = {"interval": 60}
        for name in ("interval", "tips"):
            for level in above:
                if name in said.get(level, {}):
                    expected[name] = said[level][name]
                    break
        assert found[terminal.pk].values == expected, terminal


def test_a_trial_is_what_would_be(register: Register, template: ParameterTemplate) -> None:
    terminal = register("SN-1")
    trial = Trial(template.pk, ("store", terminal.store_id), {"tips": True})
    assert effective(Terminal.objects.all(), trial)[terminal.pk].values["tips"] is True
    assert "tips" not in effective(Terminal.objects.all())[terminal.pk].values


# --- what attackers and readers found ---------------------------------------------------------------------------------
def test_a_terminal_that_was_suspended_or_away_gets_what_was_set_meanwhile(
    register: Register, template: ParameterTemplate
) -> None:
    terminal = register("SN-1")
    device = at_work(terminal)
    terminal.refresh_from_db()
    change_state(terminal=terminal, transition=TerminalTransition.suspend, actor="ops")
    set_values(template=template, level=INSTALLATION, values={"tips": True}, actor="ops")
    run()
    change_state(terminal=terminal, transition=TerminalTransition.resume, actor="ops")
    run()
    obey(device, "configure")
    assert device.memory.parameters["tips"] is True
    set_values(template=template, level=INSTALLATION, values={"tips": False}, actor="ops")
    run()
    Command.objects.filter(state="queued").update(expires_at=timezone.now())
    expire_commands()
    assert TerminalParameters.objects.get().state == "failed"
    deliver(device.hello())
    run()
    obey(device, "configure")
    assert not device.memory.parameters["tips"]


def test_a_terminal_that_always_says_it_has_others_is_sent_to_once_an_hour(
    register: Register, template: ParameterTemplate
) -> None:
    device = at_work(register("SN-1"))
    sent = Command.objects.filter(type="configure").count()
    for _ in range(5):
        device.memory.parameters = {"interval": 7}
        deliver(device.hello())
        run()
        obey(device, "configure") if Command.objects.filter(type="configure", state="queued").exists() else None
    assert Command.objects.filter(type="configure").count() == sent + 1
    assert Fact.objects.filter(kind="parameters.drifted").count() == 1


def test_a_group_reaches_no_further_than_its_node(register: Register, template: ParameterTemplate) -> None:
    terminal = register("SN-1")
    group = TerminalGroup.objects.create(name="A", merchant=terminal.store.merchant)
    group.members.add(terminal)
    set_values(template=template, level=("group", group.pk), values={"interval": 10}, actor="ops")
    assert effective(Terminal.objects.all())[terminal.pk].values["interval"] == 10
    elsewhere = Store.objects.create(merchant=Merchant.objects.create(name="Books", mid="2"), name="Pier")
    Terminal.objects.update(store=elsewhere)
    assert effective(Terminal.objects.all())[terminal.pk].values["interval"] == 60
    found = services.preview(template=template, level=("group", group.pk), values={"interval": 20})
    assert (found.below, found.serials) == (0, [])


def test_renaming_and_deleting_a_group_is_followed(register: Register, template: ParameterTemplate) -> None:
    device = at_work(terminal := register("SN-1"))
    for name, interval in (("A", 10), ("B", 20)):
        group = TerminalGroup.objects.create(name=name)
        group.members.add(terminal)
        set_values(template=template, level=("group", group.pk), values={"interval": interval}, actor="ops")
    run()
    obey(device, "configure")
    found = [device.memory.parameters["interval"]]
    TerminalGroup.objects.filter(name="A").update(name="C")
    run()
    obey(device, "configure")
    found.append(device.memory.parameters["interval"])
    TerminalGroup.objects.get(name="C").delete()
    run()
    obey(device, "configure")
    assert [*found, device.memory.parameters["interval"]] == [20, 10, 20]


def test_a_secret_that_does_not_open_fails_its_own_terminals_and_no_others(
    register: Register, template: ParameterTemplate
) -> None:
    bad, good = register("SN-1"), register("SN-2")
    devices = [at_work(bad), at_work(good)]
    one = set_values(template=template, level=own(bad), values={"wifi": "correct horse"}, actor="ops")
    ParameterSet.objects.filter(pk=one.pk).update(values={"wifi": {"$sealed": "AAAA", "$secret": "1"}})
    set_values(template=template, level=own(good), values={"tips": True}, actor="ops")
    run()
    obey(devices[1], "configure")
    assert devices[1].memory.parameters["tips"]
    told = TerminalParameters.objects.get(terminal=bad)
    assert (told.state, told.reason) == ("failed", "no_protection_key")
    assert not ParametersDue.objects.exists()


def test_what_is_a_secret_changes_only_where_nothing_is_set(register: Register, template: ParameterTemplate) -> None:
    set_values(template=template, level=INSTALLATION, values={"wifi": "correct horse", "currency": "EUR"}, actor="ops")
    for name, part in (("wifi", {"type": "string"}), ("currency", {"type": "string", "writeOnly": True})):
        with pytest.raises(Refusal, match=f"{name} is set at whole installation"):
            publish_template(
                name="till", schema={**SCHEMA, "properties": {**SCHEMA["properties"], name: part}}, actor="ops"
            )
    assert template.versions.count() == 1


def test_who_saw_an_older_revision_does_not_undo_the_newer(register: Register, template: ParameterTemplate) -> None:
    set_values(template=template, level=INSTALLATION, values={"tips": True}, actor="ann", seen=0)
    with pytest.raises(Refusal, match="somebody else has set values here meanwhile"):
        set_values(template=template, level=INSTALLATION, values={"currency": "EUR"}, actor="ben", seen=0)
    assert ParameterSet.objects.get().values == {"tips": True}


def test_levels_that_are_too_large_together_are_refused(register: Register, template: ParameterTemplate) -> None:
    terminal = register("SN-1")
    big = {"extra": {"text": "x" * 15_000}}
    set_values(template=template, level=INSTALLATION, values=big, actor="ops")
    more = {**SCHEMA, "properties": {**SCHEMA["properties"], "other": {"type": "object"}}}
    publish_template(name="till", schema=more, actor="ops")
    template.refresh_from_db()
    with pytest.raises(Refusal, match="larger than 16384 bytes"):
        set_values(template=template, level=own(terminal), values={"other": {"text": "x" * 15_000}}, actor="ops")
