"""A plan's settings: what is refused, what levels come to, and where each value comes from."""

from typing import Any

import pytest

from terminals.common.errors import Refusal
from terminals.settlement.plans.rules import SETTINGS, Layer, checked, complete, merged


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cycle": "61 * * * *"}, "cycle: '61 \\* \\* \\* \\*' is no crontab that comes due"),
        ({"time_zone": "Berlin"}, "time_zone: .*not an IANA time zone"),
        ({"cut_off": "25:00"}, "cut_off: it is a local time as 23:00"),
        ({"amount_limits": {"EUR": 0}}, "amount_limits: it is a whole number from 1"),
        ({"amount_limits": {"XXX": 1}}, "amount_limits: XXX is not an ISO 4217 currency"),
        ({"amount_limits": 150}, "amount_limits: it is an amount in minor units for each currency"),
        ({"count_limit": True}, "count_limit: it is a whole number"),
        ({"retries": 21}, "retries: it is a whole number from 0 to 20"),
        ({"when_missed": "later"}, "when_missed: it is one of"),
        ({"check_printer": "stop"}, "check_printer: it is one of"),
        ({"enabled": 1}, "enabled: it is true or false"),
        ({"treshold": 1}, "treshold is no setting; known are enabled, cycle"),
        ([], "settings are an object"),
    ],
)
def test_what_no_plan_could_use_is_refused_by_its_name(settings: Any, told: str) -> None:
    with pytest.raises(Refusal, match=told):
        checked(settings)


def test_every_default_is_itself_a_value_that_is_taken() -> None:
    defaults = {name: setting.default for name, setting in SETTINGS.items()}
    assert checked(defaults) == defaults == complete({})


def test_the_nearest_level_wins_and_each_value_tells_where_it_comes_from() -> None:
    nightly = {"cycle": "30 22 * * *", "amount_limits": {"EUR": 100}}
    layers = [
        Layer("installation", nightly, {}),
        Layer("organisation 1", None, {"cut_off": "23:00", "check_printer": "block"}),
        Layer("merchant 2", None, {"amount_limits": {"EUR": 500, "USD": 600}}),
        Layer("terminal 7", None, {"cycle": ""}),
    ]
    settings, origins = merged(layers)
    assert (settings["cycle"], settings["amount_limits"], settings["cut_off"]) == (
        "",
        {"EUR": 500, "USD": 600},
        "23:00",
    )
    told = {name: origins[name] for name in ("cycle", "amount_limits", "cut_off", "check_printer", "retries")}
    assert told == {
        "cycle": "terminal 7",
        "amount_limits": "merchant 2",
        "cut_off": "organisation 1",
        "check_printer": "organisation 1",
        "retries": None,
    }


def test_a_plan_set_below_replaces_all_that_comes_from_above() -> None:
    layers = [
        Layer("installation", {"cycle": "30 22 * * *", "retries": 9}, {}),
        Layer("merchant", None, {"cut_off": "23:00"}),
        Layer("store", {"count_limit": 50}, {"jitter_seconds": 60}),
    ]
    settings, origins = merged(layers)
    assert settings == complete({"count_limit": 50, "jitter_seconds": 60})
    assert (origins["count_limit"], origins["jitter_seconds"], origins["cut_off"]) == ("store", "store", None)
