"""What a filter may ask of a terminal: typed fields, which features declare (their `targets.py`) and the project registers.

A field says its name, its kind, where its value lies, what asking it needs, and which index finds it; page, API reference and
refusals are made from that.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.translation import gettext

from terminals.common.errors import Refusal
from terminals.common.money import parse_major
from terminals.estate.targets.language import Question

Build = Callable[[str, Any], Q]  # operator and read value -> what holds
LOOKUPS = {"=": "", "~": "__icontains", "<": "__lt", "<=": "__lte", ">": "__gt", ">=": "__gte"}
ORDERED = ("=", "!=", "in", "<", "<=", ">", ">=")


@dataclass(frozen=True)
class Kind:
    """How a value is written, and which questions may be asked of it."""

    name: str
    operators: tuple[str, ...]
    read: Callable[[str], Any]
    example: str


def _read_number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise ValueError
    return int(text)


OLDEST = timedelta(days=36_500)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _read_age(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise ValueError
    age = timedelta(**{UNITS[found[2]]: int(found[1])})
    if age > OLDEST:
        raise ValueError
    return age


NUMBERS = r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,5}"  # of a version, as far as the database can compare them


def _read_version(text: str) -> list[int]:
    if not re.fullmatch(NUMBERS, text):
        raise ValueError
    return [int(part) for part in text.split(".")]


FLAG = Kind("flag", ("is",), str, "")
TEXT = Kind("text", ("=", "!=", "in", "~"), str, '"Corner bakery"')
WORD = Kind("word", ("=", "!=", "in"), str, "")
NUMBER = Kind("number", ORDERED, _read_number, "20")
AGE = Kind("time since", ("<", "<=", ">", ">="), _read_age, "2h")
MONEY = Kind("money", ORDERED, parse_major, '"100.00 EUR"')
VERSION = Kind("version", ORDERED, _read_version, "2.1.0")


@dataclass(frozen=True)
class Field:
    """One thing that a filter can ask. `at` is the lookup from a terminal; where that is not enough, `build` makes the test."""

    name: str
    kind: Kind
    told: str
    at: str = ""
    build: Build | None = None
    choices: tuple[str, ...] = ()
    needs: str = ""
    index: str = "primary key"

    def q(self, test: Question) -> Q:
        """Return what holds for the terminals that pass a test; raise Refusal for a question that makes no sense."""
        if test.operator not in self.kind.operators:
            if self.kind is FLAG:
                raise self._unfit(test, gettext("write its name alone, or not before it"))
            raise self._unfit(test, gettext("it takes %(operators)s") % {"operators": " ".join(self.kind.operators)})
        if test.operator == "is":
            return self._one("is", True)
        values = [self._read(test, text) for text in test.values]
        if test.operator == "!=":
            return ~self._one("=", values[0])
        if test.operator == "in":
            return any_of(self._one("=", value) for value in values)
        return self._one(test.operator, values[0])

    def _one(self, operator: str, value: Any) -> Q:
        if self.build is not None:
            return self.build(operator, value)
        if self.kind is AGE:
            then = timezone.now() - value
            return Q(**{f"{self.at}{'__lt' if operator.startswith('>') else '__gt'}": then})
        return Q(**{f"{self.at}{LOOKUPS.get(operator, '')}": value})

    def _read(self, test: Question, text: str) -> Any:
        if self.choices and text not in self.choices:
            raise self._unfit(test, gettext("choose one of %(names)s") % {"names": ", ".join(self.choices)})
        try:
            return self.kind.read(text)
        except (ValueError, Refusal):
            raise self._unfit(test, gettext("write for example %(example)s") % {"example": self.kind.example}) from None

    def _unfit(self, test: Question, why: str) -> Refusal:
        return Refusal(
            "bad_filter",
            "%(name)s %(operator)s %(values)s cannot be asked: %(why)s",
            name=test.name,
            operator=test.operator,
            values=" ".join(test.values),
            why=why,
        )


def any_of(questions: Iterable[Q]) -> Q:
    """Return what holds where one of the questions does."""
    together = Q()
    for question in questions:
        together |= question
    return together


def having(rows: QuerySet[Any], **wanted: Any) -> Q:
    """Return what holds for terminals that have such a row (`terminal`)."""
    return Q(Exists(rows.filter(terminal=OuterRef("pk"), **wanted).order_by()))


VERSION_ARRAY: Any = ArrayField(IntegerField())


def version_numbers(column: str) -> Any:
    """Return a version column as the array of its numbers; null where it does not begin with any."""
    begins = Func(F(column), Value(rf"^{NUMBERS}(?![0-9])"), function="substring", output_field=TextField())
    return Cast(Func(begins, Value("."), function="string_to_array", output_field=VERSION_ARRAY), VERSION_ARRAY)


class Fields:
    """The fields that filters know, by name; an object that the project fills at start."""

    def __init__(self) -> None:
        self._known: dict[str, Field] = {}

    def fill(self, *fields: Field) -> None:
        """Replace what is known; raise ValueError for a name that two features claim."""
        known: dict[str, Field] = {}
        for field in fields:
            if known.setdefault(field.name, field) is not field:
                raise ValueError(f"two fields are called {field.name}")
        self._known = known

    def all(self) -> list[Field]:
        return sorted(self._known.values(), key=lambda field: field.name)

    def knows(self, name: str) -> bool:
        return name.lower() in self._known

    def named(self, name: str) -> Field:
        """Return a field; raise Refusal for a name that none has."""
        if name not in self._known:
            near = get_close_matches(name, self._known, n=3, cutoff=0.5)
            if near:
                raise Refusal(
                    "bad_filter",
                    "no field is called %(name)s; did you mean %(names)s?",
                    name=name,
                    names=" / ".join(near),
                )
            raise Refusal(
                "bad_filter",
                "no field is called %(name)s; choose one of %(names)s",
                name=name,
                names=", ".join(sorted(self._known)),
            )
        return self._known[name]


fields = Fields()
