"""The filter language, pure: text -> a tree of tests. What the names mean is the fields' business (fields.py).

    state = active and (battery < 20 or printer in (out_of_paper, fault)) and not tag = pilot
    organisation = "Acme acquiring" and last_seen > 2h and unsettled >= "100.00 EUR"

A test is `name`, `name operator value` or `name in (value, ...)`; a value with spaces or signs stands in double quotes, a double
quote within them is written twice.
`and` binds closer than `or`, `not` closest. Whoever sends one may be hostile: it is short, and neither wide nor deep.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from lark import Lark, Token, Tree, UnexpectedInput, UnexpectedToken
from lark.visitors import Transformer_NonRecursive

from terminals.common.errors import Refusal

LONGEST, MOST_TESTS, DEEPEST = 2000, 50, 20
GRAMMAR = r"""
?start: any
?any: all (_OR all)*
?all: one (_AND one)*
?one: _NOT one -> negated
    | "(" any ")"
    | test
test: NAME [OPERATOR value]
    | NAME _IN "(" value ("," value)* ")" -> listed
?value: QUOTED | WORD
_OR.3: /or\b/i
_AND.3: /and\b/i
_NOT.3: /not\b/i
_IN.3: /in\b/i
OPERATOR.2: "<=" | ">=" | "!=" | "=" | "<" | ">" | "~"
NAME: /[A-Za-z_]+/
QUOTED: /"(?:[^"]|"")*"/
WORD: /[^\s()",=<>~!]+/
%ignore /\s+/
"""
SHOWN = {
    "NAME": "a field's name",
    "OPERATOR": "an operator",
    "WORD": "a value",
    "QUOTED": 'a "value"',
    "$END": "the end",
}
SHOWN |= {"_AND": "and", "_OR": "or", "_NOT": "not", "_IN": "in", "LPAR": "(", "RPAR": ")", "COMMA": ","}


class Question(NamedTuple):
    """One question about a terminal; `operator` is `is` for a bare name, `in` for a list."""

    name: str
    operator: str
    values: tuple[str, ...]


class Not(NamedTuple):
    part: "Node"


class And(NamedTuple):
    parts: "tuple[Node, ...]"


class Or(NamedTuple):
    parts: "tuple[Node, ...]"


Node = Question | Not | And | Or


class _Builder(Transformer_NonRecursive[Token, Any]):
    def test(self, parts: list[Any]) -> Question:
        name, operator, value = (*parts, None, None)[:3]
        if operator is None:
            return Question(str(name).lower(), "is", ())
        return Question(str(name).lower(), str(operator), (_text(value),))

    def listed(self, parts: list[Any]) -> Question:
        return Question(str(parts[0]).lower(), "in", tuple(map(_text, parts[1:])))

    def negated(self, parts: list[Any]) -> Not:
        return Not(parts[0])

    def all(self, parts: list[Any]) -> And:
        return And(tuple(parts))

    def any(self, parts: list[Any]) -> Or:
        return Or(tuple(parts))


def _text(token: Any) -> str:
    text = str(token)
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=True)


def parse(text: str) -> Node:
    """Return the tree of a filter; raise Refusal, with the place, for what is none."""
    if len(text) > LONGEST:
        raise Refusal("bad_filter", "the filter is longer than %(longest)s characters", longest=LONGEST)
    try:
        tree: Tree[Token] | Token = _parser().parse(text)
    except UnexpectedInput as error:
        expected = getattr(error, "accepts", None) or getattr(error, "expected", None) or getattr(error, "allowed", ())
        names = sorted({SHOWN.get(name, name) for name in expected or ()})
        ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        place = len(text) if ended or error.pos_in_stream is None else error.pos_in_stream
        raise Refusal(
            "bad_filter",
            "the filter cannot be read at character %(place)s; expected: %(expected)s",
            place=place + 1,
            expected=", ".join(names) or "-",
        ) from None
    node: Node = _Builder().transform(tree)  # type: ignore[arg-type]
    check_size(node)
    return node


def check_size(node: Node) -> None:
    """Raise Refusal for a tree that would cost too much; a list counts as many tests as it has values."""
    waiting, tests = [(node, 1)], 0
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, Question):
            tests += max(len(one.values), 1)
        elif isinstance(one, Not):
            waiting.append((one.part, depth + 1))
        else:
            waiting += [(part, depth + 1) for part in one.parts]
        if depth > DEEPEST or tests > MOST_TESTS:
            raise Refusal(
                "bad_filter",
                "the filter has more than %(tests)s tests, or is nested deeper than %(depth)s",
                tests=MOST_TESTS,
                depth=DEEPEST,
            )


def conjuncts(text: str) -> list[str]:
    """Return the parts of a filter that all must hold, as they are written; the whole where it is no such list."""
    parts = re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE)
    try:
        whole = parse(text)
        if isinstance(whole, And) and tuple(parse(part) for part in parts) == whole.parts:
            return parts
    except Refusal:
        pass
    return [text]


def questions_of(node: Node) -> list[Question]:
    """Return the tests of a tree, from left to right."""
    if isinstance(node, Question):
        return [node]
    parts = (node.part,) if isinstance(node, Not) else node.parts
    return [test for part in parts for test in questions_of(part)]


def quoted(text: str) -> str:
    """Return a value as a filter writes it."""
    return '"' + text.replace('"', '""') + '"'
