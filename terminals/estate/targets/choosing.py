"""Choosing terminals by a filter, within what the one who asks may see."""

from functools import reduce
from operator import and_
from typing import Any

from django.db.models import Q, QuerySet

from terminals.common.errors import Refusal
from terminals.common.scope import reach_of, within
from terminals.estate.models import Terminal, TerminalGroup
from terminals.estate.targets.fields import any_of, fields
from terminals.estate.targets.language import And, Node, Not, Question, parse, questions_of

GROUP = "group"
VIEW_GROUPS = "terminals.view_terminalgroup"


def matching(terminals: QuerySet[Terminal], text: str, user: Any) -> QuerySet[Terminal]:
    """Return the terminals that pass a filter; raise Refusal for one that cannot be read or may not be asked.

    What a field tells needs its permission, like the page that shows it: where somebody lacks it, no terminal passes, however
    the filter is turned.
    """
    tree = _expanded(parse(text), user)
    for needs in sorted({fields.named(test.name).needs for test in questions_of(tree)} - {""}):
        if not reach_of(user, needs).everywhere:
            terminals = within(terminals, user, needs)
    return terminals.filter(_question(tree))


def _expanded(node: Node, user: Any, *, in_group: bool = False) -> Node:
    """Return a filter with its groups' own filters in their place."""
    if isinstance(node, Question):
        return _group(node, user, in_group) if node.name == GROUP and node.operator == "=" else node
    if isinstance(node, Not):
        return Not(_expanded(node.part, user, in_group=in_group))
    return type(node)(tuple(_expanded(part, user, in_group=in_group) for part in node.parts))


def _group(question: Question, user: Any, in_group: bool) -> Node:
    """Return what a group asks; one of named terminals is asked for by its id."""
    if in_group:
        raise Refusal("bad_filter", "a group's filter cannot name another group")
    groups = within(TerminalGroup.objects.all(), user, VIEW_GROUPS).filter(name=question.values[0])[:2]
    if not groups:
        raise Refusal("bad_filter", "there is no group %(name)s", name=repr(question.values[0]))
    if len(groups) > 1:
        raise Refusal("bad_filter", "several groups are called %(name)s", name=repr(question.values[0]))
    if not groups[0].filter:
        return question._replace(values=(str(groups[0].pk),))
    return _expanded(parse(groups[0].filter), user, in_group=True)


def check_filter(text: str, user: Any) -> None:
    """Raise Refusal for a filter that a group could not have; no terminal is looked at."""
    tree = _expanded(parse(text), user, in_group=True)
    for question in questions_of(tree):
        fields.named(question.name).q(question)


def _question(node: Node) -> Q:
    if isinstance(node, Question):
        return fields.named(node.name).q(node)
    if isinstance(node, Not):
        return ~_question(node.part)
    parts = [_question(part) for part in node.parts]
    return reduce(and_, parts) if isinstance(node, And) else any_of(parts)
