"""What is unusual about a batch: signals by their rules, tried on the past, switched on, and followed as cases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.common.scope import EVERYWHERE
from terminals.estate.models import Merchant, Organisation, Store, Terminal
from terminals.link.protocol.messages.settlement import Settlement, Total, TransactionRecord, Transactions
from terminals.link.services import new_id
from terminals.settlement import tasks
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.models import BatchProfile, Case, Difference, RiskRule, SettlementRun
from terminals.settlement.risk import services
from terminals.settlement.risk.rules import SIGNALS, Profile, Sale, checked, judge, profile_of
from terminals.simulator.device import Device
from tests.conftest import deliver, working_device

Register = Callable[[str], Terminal]
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
USUAL = profile_of(
    [Sale("sale", 2350 + n, NOON + timedelta(minutes=17 * n), f"c{n}") for n in range(20)], "EUR", "cell-1"
)
PAST = [USUAL] * 8


def batch(*sales: Sale, place: str = "cell-1") -> Profile:
    return profile_of(sales, "EUR", place)


def sales(count: int, *, amount: int = 2351, minutes: float = 17, card: str = "", at: datetime = NOON) -> list[Sale]:
    return [Sale("sale", amount + n, at + timedelta(minutes=minutes * n), card or f"c{n}") for n in range(count)]


UNUSUAL = {
    "velocity": batch(*sales(15, minutes=0.5)),
    "refund_share": batch(*sales(10), Sale("refund", 12_000, NOON)),
    "off_hours": batch(*sales(5, at=NOON.replace(hour=2), minutes=3)),
    "unusual_amount": batch(*sales(10), Sale("sale", 250_000, NOON, "x")),
    "repeated_card": batch(*sales(6, card="tok_1")),
    "round_amounts": batch(*(Sale("sale", 5000, NOON + timedelta(minutes=20 * n), f"c{n}") for n in range(8))),
    "moved": batch(*sales(10), place="cell-9"),
}


@pytest.mark.parametrize("signal", SIGNALS)
def test_each_signal_finds_its_own_and_leaves_a_usual_batch_alone(signal: str) -> None:
    said = checked(signal, {})
    assert judge(signal, said, UNUSUAL[signal], PAST, []) is not None
    assert judge(signal, said, USUAL, PAST, []) is None
    others = [name for name, one in UNUSUAL.items() if name != signal and judge(signal, said, one, PAST, [])]
    assert others in ([], ["velocity"]), others  # what is sold within minutes may be other things, too


def test_what_a_terminal_always_does_is_not_unusual() -> None:
    for signal in ("velocity", "off_hours", "repeated_card", "round_amounts", "unusual_amount"):
        assert judge(signal, checked(signal, {}), UNUSUAL[signal], [UNUSUAL[signal]] * 8, []) is None, signal


def test_a_new_terminal_is_held_against_its_peers() -> None:
    large = batch(*sales(10, amount=90_000))
    said = checked("unusual_amount", {})
    assert judge("unusual_amount", said, large, [], []) is None, "nobody knows what is usual"
    assert judge("unusual_amount", said, large, [], PAST) is not None


def test_a_profile_keeps_counts_and_no_transaction() -> None:
    assert (USUAL.sales_count, USUAL.most_in_ten_minutes, USUAL.most_of_a_card) == (20, 1, 1)
    assert sum(USUAL.by_hour) == 20
    assert batch(*sales(2, minutes=0), Sale("declined", 1, NOON), Sale("void", 5, NOON)).sales_count == 2


@pytest.mark.parametrize(
    ("signal", "said"),
    [("x", {}), ("velocity", {"x": 1}), ("velocity", {"count": "12"}), ("velocity", {"count": 1}), ("moved", [])],
)
def test_settings_that_do_not_fit_are_refused(signal: str, said: Any) -> None:
    with pytest.raises(Refusal):
        checked(signal, said)


@pytest.fixture
def device(register: Register) -> Device:
    return working_device(register("SN-1"))


def settle(device: Device, number: int, amounts: list[int], *, place: str = "cell-1", card: str = "") -> None:
    now = device.now()
    records = [
        TransactionRecord(
            new_id(), "sale", "card", amount, "EUR", now - timedelta(hours=n / 2), card_token=card or f"c{n}"
        )
        for n, amount in enumerate(amounts)
    ]
    totals = [Total("card", "sale", "EUR", len(amounts), sum(amounts))] if amounts else []
    deliver(
        device.report("transactions", Transactions(number, records)),
        device.report("settlement", Settlement(number, now, "EUR", totals, place=place)),
    )


def test_a_settled_batch_is_looked_at_once_and_opens_a_case_where_a_rule_is_on(device: Device) -> None:
    services.set_rule(organisation=None, signal="repeated_card", settings={"count": 4}, enabled=True, actor="ann")
    services.set_rule(organisation=None, signal="moved", settings={}, enabled=False, actor="ann")
    settle(device, 1, [1111, 2222])
    settle(device, 2, [1111] * 5, card="tok_9", place="cell-2")
    tasks.look_for_risk()
    assert BatchProfile.objects.count() == 2
    assert sentence_of(Difference.objects.get()) == "batch 000002: one card paid 5 times"
    assert Case.objects.get().subject == "risk"
    with CaptureQueriesContext(connection) as queries:
        tasks.look_for_risk()
    assert len([one for one in queries if "SELECT" in one["sql"]]) == 1, "nothing is left to look at"
    assert AuditEntry.objects.filter(action="riskrule.create").count() == 2


def test_late_transactions_have_a_batch_looked_at_again(device: Device) -> None:
    services.set_rule(organisation=None, signal="repeated_card", settings={"count": 4}, enabled=True, actor="ann")
    settle(device, 1, [500, 500])
    tasks.look_for_risk()
    assert not Difference.objects.filter(kind="repeated_card").exists()
    late = [TransactionRecord(new_id(), "sale", "card", 700, "EUR", device.now(), card_token="c0") for _ in range(4)]
    deliver(device.report("transactions", Transactions(1, late)))
    tasks.look_for_risk()
    assert Difference.objects.get(kind="repeated_card").found_count == 5


def test_the_nearest_rule_counts(register: Register) -> None:
    top = Organisation.objects.create(name="Top")
    below = Organisation.objects.create(name="Below", parent=top)
    for organisation, count in ((None, 2), (top, 3), (below, 4)):
        services.set_rule(
            organisation=organisation, signal="velocity", settings={"count": count}, enabled=True, actor="ann"
        )
    rules = list(RiskRule.objects.select_related("organisation"))
    for path, count in (("m1.", 2), (top.path, 3), (below.path + "m7.s1.", 4)):
        assert [rule.settings["count"] for rule in services.nearest(rules, path)] == [count]


def test_a_rule_is_tried_on_the_past_before_it_is_switched_on(
    client: Client, admin_client: Client, device: Device
) -> None:
    settle(device, 1, [1111] * 5, card="tok_9")
    settle(device, 2, [1111, 2222])
    tasks.look_for_risk()
    assert not Case.objects.exists(), "no rule is on"
    assert len(services.try_rule("repeated_card", {"count": 4}, EVERYWHERE, 7)) == 1
    address = reverse("risk-rule", args=["repeated_card"])
    page = admin_client.post(address, {"count": "4", "action": "try"}).content.decode()
    assert not RiskRule.objects.exists(), "it was tried"
    assert "It would have found 1 batch in the last 7 days" in page
    assert "one card paid 5 times" in page
    assert "It would have found 0 batches" in admin_client.get(address, {"count": "9"}).content.decode()
    assert "a whole number from" in admin_client.get(address, {"count": "x"}).content.decode()
    admin_client.post(address, {"count": "4", "enabled": "on", "action": "set"})
    rule = RiskRule.objects.get()
    assert (rule.enabled, rule.settings) == (True, {"count": 4})
    assert "on" in admin_client.get(reverse("risk-signals")).content.decode()
    settle(device, 3, [1111] * 5, card="tok_9")
    tasks.look_for_risk()
    assert Case.objects.get().difference_count == 1


def test_the_api_sets_and_tries_rules(admin_client: Client, device: Device) -> None:
    settle(device, 1, [1111] * 5, card="tok_9")
    tasks.look_for_risk()
    url = "/api/v1/settlement/risk-rules/"
    said = {"signal": "repeated_card", "settings": {"count": 4}}
    (hit,) = admin_client.post(f"{url}trial/", said, content_type="application/json").json()
    assert (hit["batch_number"], hit["found_count"]) == (1, 5)
    made = admin_client.post(url, {**said, "enabled": True}, content_type="application/json")
    assert made.status_code == 201
    wrong = admin_client.post(url, {**said, "settings": {"count": 0}}, content_type="application/json")
    assert wrong.status_code == 409


def test_statements_do_not_grow_with_the_batches(device: Device) -> None:
    services.set_rule(organisation=None, signal="velocity", settings={}, enabled=True, actor="ann")
    numbers = []
    for first, count in ((1, 2), (10, 25)):
        for number in range(first, first + count):
            settle(device, number, [1111, 2222])
        with CaptureQueriesContext(connection) as queries:
            assert services.profile_next() == count
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]
    assert not SettlementRun.objects.filter(to_profile=True).exists()


def test_a_signal_that_is_off_nearby_opens_no_case_although_it_is_on_for_all(device: Device) -> None:
    organisation = Organisation.objects.create(name="Quiet")
    Terminal.objects.get().store.merchant.__class__.objects.update(organisation=organisation)
    services.set_rule(organisation=None, signal="repeated_card", settings={"count": 4}, enabled=True, actor="ann")
    services.set_rule(organisation=organisation, signal="repeated_card", settings={}, enabled=False, actor="ann")
    settle(device, 1, [1111] * 5, card="tok_9")
    tasks.look_for_risk()
    assert not Case.objects.exists()


def test_a_new_terminal_is_held_against_those_of_its_merchant_alone(register: Register) -> None:
    old, new, stranger = (working_device(register(f"SN-{n}")) for n in (1, 2, 3))
    other = Merchant.objects.create(name="Florist", mid="9")
    Terminal.objects.filter(serial="SN-3").update(store=Store.objects.create(merchant=other, name="Market"))
    for device, amount in ((old, 1111), (stranger, 9999), (new, 2222)):
        settle(device, 1, [amount])
        tasks.look_for_risk()
    row = BatchProfile.objects.get(terminal__serial="SN-2")
    (past,) = services.pasts_of([services._batch(row)]).values()
    assert (past.own, [one.largest_minor for one in past.peers]) == ([], [1111])
