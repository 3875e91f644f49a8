"""Templates and values: what fits, and how levels are laid over each other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.common.errors import Refusal
from terminals.parameters import rules
from terminals.parameters.rules import Layer

SCHEMA = rules.check_template(
    {
        "properties": {
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "limits": {"type": "object", "format": "money"},
            "interval": {"type": "integer", "minimum": 5, "maximum": 3600, "default": 60},
            "tips": {"type": "boolean"},
            "wifi": {"type": "string", "writeOnly": True, "minLength": 8},
            "extra": {"type": "object"},
            "settles_in": {"type": "string", "format": "currency"},
            "host": {"type": "string", "format": "host"},
        },
        "dependentRequired": {"limits": ["currency"]},
    }
)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (None, "with properties"),
        ({}, "with properties"),
        ({"properties": {}}, "with properties"),
        ({"properties": {"a b": {"type": "string"}}}, "a plain name"),
        ({"properties": {"a": {}}}, "and a type"),
        ({"properties": {"a": {"type": "strin"}}}, "'strin'"),
        ({"properties": {"a": {"type": "string", "$ref": "http://evil/"}}}, "refers to nothing else"),
        ({"properties": {"a": {"type": "string", "pattern": "(a+)+" * 100}}}, "at most 200 characters"),
        ({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}, "repeats no group"),
        ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, "takes too long"),
        ({"properties": {"a": {"type": "integer", "default": "x"}}}, "a: 'x' is not of type"),
        ({"properties": {"a": {"type": "object", "format": "money", "default": {"XXY": -1}}}}, "minor units"),
        ({"properties": {"a": {"type": "object", "default": {"$sealed": "x"}}}}, "do not begin with $"),
        ({"properties": {"a": {"type": "string", "writeOnly": True, "default": "x"}}}, "without a default"),
        ({"properties": {"a": {"type": "integer", "default": 2**60}}}, ""),
        ({"properties": {f"p{n}": {"type": "string"} for n in range(201)}}, "at most 200 properties"),
    ],
)
def test_what_is_no_template_is_refused(schema: Any, why: str) -> None:
    with pytest.raises(Refusal) as refused:
        rules.check_template(schema)
    assert why in refused.value.detail


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "an object"),
        ({"curency": "EUR"}, "curency is not in the template; it has c"),
        ({"currency": "euro"}, "currency does not have the form that is asked for: ^[A-Z]{3}$"),
        ({"settles_in": "XXQ"}, "settles_in does not have the form that is asked for: currency"),
        ({"host": "not a host!!"}, "host does not have the form that is asked for: host"),
        ({"host": "-a.example"}, "host does not have"),
        ({"host": "a.example:port"}, "host does not have"),
        ({"interval": 1}, "interval: 1 is less than the minimum of 5"),
        ({"interval": 7.5}, "interval: "),
        ({"tips": "yes"}, "tips: 'yes' is not of type 'boolean'"),
        ({"limits": {"EUR": 1.5}}, "minor units by currency"),
        ({"limits": {"XXX": 1}}, "minor units by currency"),
        ({"limits": {"EUR": True}}, "minor units by currency"),
        ({"wifi": "short"}, "wifi: is not a value that it may have"),
        ({"currency": "EUR" + "x" * 20_000}, "larger than 16384 bytes"),
        ({"interval": 2**60}, "exceeds safe integer domain"),
        ({"limits": {"$sealed": 5}}, "limits"),
        ({"extra": {"a": [{"$sealed": "x"}]}}, "do not begin with $"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_name(values: Any, why: str) -> None:
    with pytest.raises(Refusal) as refused:
        rules.check_values(SCHEMA, values)
    assert why in refused.value.detail
    assert "short" not in refused.value.detail


def test_null_sets_nothing_and_what_needs_another_property_is_asked_of_whole_documents() -> None:
    assert rules.check_values(SCHEMA, {"limits": {"EUR": 5000}, "tips": None}) == {"limits": {"EUR": 5000}}
    for host in ("acquirer.example:7001", "10.0.0.1", "a"):
        assert rules.check_values(SCHEMA, {"host": host, "settles_in": "EUR"})
    assert "currency" in rules.problem_of(SCHEMA, {"limits": {"EUR": 5000}})
    assert rules.problem_of(SCHEMA, {"limits": {"EUR": 5000}, "currency": "EUR"}) == ""
    sealed = {rules.SEALED: "x", rules.SECRET_ID: "1"}
    assert rules.problem_of(SCHEMA, {"wifi": sealed}) == ""


VALUES = st.dictionaries(st.sampled_from(["currency", "interval", "tips", "gone"]), st.integers(0, 3))


@given(st.lists(VALUES, max_size=6))
def test_each_value_comes_from_the_lowest_level_that_sets_it(levels: list[dict[str, int]]) -> None:
    """Against a naive walk up the tree."""
    values, origins = rules.merged(SCHEMA, [Layer(number, one) for number, one in enumerate(levels, start=1)])
    for name, part in SCHEMA["properties"].items():
        expected, origin = part.get("default"), 0
        for number in range(len(levels), 0, -1):
            if name in levels[number - 1]:
                expected, origin = levels[number - 1][name], number
                break
        assert values.get(name) == expected
        if expected is not None:
            assert origins[name] == origin
    assert "gone" not in values


def test_a_document_is_known_by_what_it_says_and_a_secret_by_when_it_was_set() -> None:
    first = {"tips": True, "wifi": {rules.SEALED: "aaa", rules.SECRET_ID: "1"}}
    assert rules.digest_of(first) == rules.digest_of(
        {"wifi": {rules.SEALED: "bbb", rules.SECRET_ID: "1"}, "tips": True}
    )
    assert rules.digest_of(first) != rules.digest_of({"tips": True, "wifi": {rules.SEALED: "a", rules.SECRET_ID: "2"}})
    assert rules.plain_digest(first, ["wifi"]) == rules.plain_digest({"tips": True}, [])
    assert rules.shown(first) == {"tips": True, "wifi": {"$secret": "set"}}


def test_a_difference_names_what_changed() -> None:
    assert rules.difference({"a": 1, "b": 2}, {"b": 3, "c": 4}) == [("a", 1, None), ("b", 2, 3), ("c", None, 4)]
