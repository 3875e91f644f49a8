"""The filter language: what it reads, and that everything else is refused with its place, cheaply."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.common.errors import Refusal
from terminals.estate.targets.language import And, Node, Not, Or, Question, parse, questions_of

A, B, C = (Question(name, "is", ()) for name in "abc")
CASES: dict[str, Node] = {
    "a": A,
    "A": A,
    "not a": Not(A),
    "a and b or c": Or((And((A, B)), C)),
    "a AND (b Or c)": And((A, Or((B, C)))),
    "not a and b": And((Not(A), B)),
    "not (a or b)": Not(Or((A, B))),
    'store = "Corner (2)"': Question("store", "=", ("Corner (2)",)),
    'tag = "a ""b"" c"': Question("tag", "=", ('a "b" c',)),
    "battery<20": Question("battery", "<", ("20",)),
    "last_seen >= 2h": Question("last_seen", ">=", ("2h",)),
    "printer in (fault,out_of_paper)": Question("printer", "in", ("fault", "out_of_paper")),
    "android": Question("android", "is", ()),
    "tag = 试点": Question("tag", "=", ("试点",)),
}


@pytest.mark.parametrize("text", CASES)
def test_a_filter_is_read(text: str) -> None:
    assert parse(text) == CASES[text]


@pytest.mark.parametrize(
    ("text", "place"),
    [("", 1), ("a =", 4), ("a = = b", 5), ("(a", 3), ("a b", 3), ("a in ()", 7), ("a and", 6), ("a)", 2), ("a;b", 2)],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, place: int) -> None:
    with pytest.raises(Refusal, match=rf"cannot be read at character {place}; expected: "):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["a" * 2001, "not " * 30 + "a", " or ".join("a" for _ in range(60)), "not (" * 25 + "a" + ")" * 25],
)
def test_a_filter_is_neither_long_nor_wide_nor_deep(text: str) -> None:
    with pytest.raises(Refusal, match="the filter"):
        parse(text)


@given(st.text(alphabet='ab ()"=<>~!,\n\\%_0andornotin', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Refusal):
        assert all(set(question.name) <= set("ab_dinort") for question in questions_of(parse(text)))
