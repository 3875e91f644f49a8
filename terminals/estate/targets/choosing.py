"""Choosing terminals by a filter, within what the one who asks may see."""

from functools import reduce
from operator import and_
from typing import Any

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce, Length

from terminals.common.errors import Refusal
from terminals.common.scope import reach_of, within
from terminals.estate.grants import NODE_PATH
from terminals.estate.models import Organisation, Terminal, TerminalGroup
from terminals.estate.targets.fields import any_of, fields
from terminals.estate.targets.language import MOST_TESTS, And, Node, Not, Question, check_size, parse, questions_of

GROUP, ORGANISATION = "group", "organisation"
NOWHERE = "-"  # the path of nothing
VIEW_GROUPS = "terminals.view_terminalgroup"


def matching(terminals: QuerySet[Terminal], text: str, user: Any) -> QuerySet[Terminal]:
    """Return the terminals that pass a filter; raise Refusal for one that cannot be read or may not be asked.

    What a field tells needs its permission, like the page that shows it: where somebody lacks it, no terminal passes, however
    the filter is turned.
    """
    tree = _expanded(parse(text), user)
    check_size(tree)
    for needs in sorted({fields.named(test.name).needs for test in questions_of(tree)} - {""}):
        if not reach_of(user, needs).everywhere:
            terminals = within(terminals, user, needs)
    return terminals.filter(_question(tree))


def _expanded(node: Node, user: Any, *, in_group: bool = False, negated: bool = False) -> Node:
    """Return a filter with its groups' own filters in their place."""
    if isinstance(node, Question):
        if node.name == ORGANISATION and node.operator in ("=", "!=", "in", "~"):
            return _organisations(node, user, negated)
        return _group(node, user, in_group) if node.name == GROUP and node.operator == "=" else node
    if isinstance(node, Not):
        return Not(_expanded(node.part, user, in_group=in_group, negated=True))
    return type(node)(tuple(_expanded(part, user, in_group=in_group, negated=negated) for part in node.parts))


def _organisations(question: Question, user: Any, negated: bool) -> Node:
    """Return the question with the paths of the organisations that are meant, of those that the asker may see. Where it is turned
    round and there is none, raise Refusal: all but nobody would be everybody."""
    seen = within(Organisation.objects.all(), user, "terminals.view_organisation")
    named = Q(name__icontains=question.values[0]) if question.operator == "~" else Q(name__in=question.values)
    paths = tuple(seen.filter(named).order_by("pk").values_list("path", flat=True)[:MOST_TESTS])
    if not paths and (negated or question.operator == "!="):
        raise Refusal("bad_filter", "there is no organisation %(name)s", name=", ".join(map(repr, question.values)))
    asked = Question(ORGANISATION, "in", paths or (NOWHERE,))
    return Not(asked) if question.operator == "!=" else asked


def _group(question: Question, user: Any, in_group: bool) -> Node:
    """Return what a group asks; one of named terminals is asked for by its id. Of several of a name the topmost counts."""
    if in_group:
        raise Refusal("bad_filter", "a group's filter cannot name another group")
    named = within(TerminalGroup.objects.all(), user, VIEW_GROUPS).filter(name=question.values[0])
    group = named.annotate(path=Coalesce(NODE_PATH, Value(""))).order_by(Length("path"), "pk").first()
    if group is None:
        raise Refusal("bad_filter", "there is no group %(name)s", name=repr(question.values[0]))
    if not group.filter:
        return question._replace(values=(str(group.pk),))
    return _expanded(parse(group.filter), user, in_group=True)


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
