"""What a terminal's parameters may be. Templates are JSON Schemas (2020-12); values are held against them where they are set,
and a whole document before it is sent. Pure."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import rfc8785
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError

from terminals.common.errors import Refusal
from terminals.common.money import CURRENCIES, LARGEST_MINOR
from terminals.common.states import Machine, Transition

Values = Mapping[str, Any]
MOST_PROPERTIES, LONGEST_PATTERN, LARGEST_DOCUMENT = 200, 200, 16 * 1024
ORDER = "x-order"  # of the properties, by name
REPEATED = re.compile(r"\)[*+{]")  # a group that repeats: with it a short text can take for ever
MONEY = "money"  # the format of an object of currency -> minor units
FORMATS = FormatChecker(
    formats=()
)  # besides it: `currency` (ISO 4217) and `host` (a name or an IPv4 address, and a port)
FORMATS.checks("currency")(lambda value: not isinstance(value, str) or value in CURRENCIES)
HOST = re.compile(
    r"(?=.{1,253}(:|\Z))[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*(:[0-9]{1,5})?"
)
FORMATS.checks("host")(lambda value: not isinstance(value, str) or HOST.fullmatch(value) is not None)


class ParameterState(StrEnum):
    PENDING = "pending"
    APPLIED = "applied"
    FAILED = "failed"
    INVALID = "invalid"


_P = ParameterState


class ParameterTransition(Machine):
    apply = Transition((_P.PENDING,), _P.APPLIED)
    fail = Transition((_P.PENDING,), _P.FAILED)


def check_template(schema: Any) -> dict[str, Any]:
    """Return a template as it is kept: an object of named properties, and nothing else; raise Refusal for what is none."""
    if not isinstance(schema, dict) or not isinstance(properties := schema.get("properties"), dict) or not properties:
        raise Refusal("bad_template", "a template is a JSON Schema with properties")
    if len(properties) > MOST_PROPERTIES:
        raise Refusal("bad_template", "a template has at most %(most)s properties", most=MOST_PROPERTIES)
    for name, part in properties.items():
        if not name.isidentifier() or not isinstance(part, dict) or "type" not in part:
            raise Refusal("bad_template", "%(name)s: a property has a plain name, and a type", name=repr(name))
        if part.get("writeOnly") and (part["type"] != "string" or "default" in part):
            raise Refusal("bad_template", "%(name)s: a secret is a text without a default", name=name)
        _refuse_marked(name, part.get("default"))
    _refuse_far_and_slow(schema)
    # PostgreSQL's JSON forgets the order of members, and pages show them in the template's.
    kept = {**schema, "type": "object", "additionalProperties": False, ORDER: list(properties)}
    try:
        Draft202012Validator.check_schema(kept)
    except SchemaError as error:
        raise Refusal("bad_template", "%(error)s", error=error.message[:200]) from None
    if _size(kept) > LARGEST_DOCUMENT * 4:
        raise Refusal("bad_template", "the template is too large")
    check_values(kept, {name: part["default"] for name, part in properties.items() if "default" in part})
    return kept


def _refuse_far_and_slow(schema: Any) -> None:
    """Refuse references, which lead who knows where, and long patterns, which take who knows how long."""
    if isinstance(schema, dict):
        for name, part in schema.items():
            if name in ("$ref", "$dynamicRef", "$id"):
                raise Refusal("bad_template", "a template refers to nothing else (%(name)s)", name=name)
            if name in ("patternProperties", "uniqueItems"):
                raise Refusal("bad_template", "a template has no %(name)s: it takes too long", name=name)
            if name == "pattern" and isinstance(part, str) and (len(part) > LONGEST_PATTERN or REPEATED.search(part)):
                raise Refusal(
                    "bad_template",
                    "a pattern has at most %(most)s characters, and repeats no group: it takes too long",
                    most=LONGEST_PATTERN,
                )
            _refuse_far_and_slow(part)
    elif isinstance(schema, list):
        for part in schema:
            _refuse_far_and_slow(part)


def _refuse_marked(name: str, value: Any) -> None:
    """Refuse what looks like a sealed secret from inside: nobody writes one but the services."""
    if isinstance(value, dict):
        if any(str(member).startswith("$") for member in value):
            raise Refusal("bad_parameters", "%(name)s: the names of members do not begin with $", name=name)
        for part in value.values():
            _refuse_marked(name, part)
    elif isinstance(value, list):
        for part in value:
            _refuse_marked(name, part)


def secrets_of(schema: Values) -> frozenset[str]:
    """Return the names of properties that are sealed and never shown: `writeOnly` in JSON Schema."""
    return frozenset(name for name, part in schema["properties"].items() if part.get("writeOnly"))


def properties_of(schema: Values) -> dict[str, Any]:
    """Return a template's properties, in the order in which they were written."""
    properties = schema["properties"]
    return {name: properties[name] for name in schema.get(ORDER, properties)}


def is_money(part: Values) -> bool:
    return part.get("format") == MONEY


def check_values(schema: Values, values: Any) -> dict[str, Any]:
    """Return values that are set at a level, each held against its property; raise Refusal naming the one that does not fit.

    null says the same as leaving it out. What needs several properties together is asked of whole documents only.
    """
    if not isinstance(values, dict):
        raise Refusal("bad_parameters", "values are an object: name -> value")
    kept = {name: value for name, value in values.items() if value is not None}
    if _size(kept) > LARGEST_DOCUMENT:  # first: what is large takes long to look at
        raise Refusal("bad_parameters", "the values are larger than %(most)s bytes", most=LARGEST_DOCUMENT)
    for name, value in kept.items():
        part = schema["properties"].get(name)
        if part is None:
            known = ", ".join(properties_of(schema))
            raise Refusal("bad_parameters", "%(name)s is not in the template; it has %(known)s", name=name, known=known)
        for error in Draft202012Validator(part, format_checker=FORMATS).iter_errors(value):
            raise _misfit(name, part, error)
        if is_money(part):
            _check_money(name, value)
        _refuse_marked(name, value)
    return kept


def _misfit(name: str, part: Values, error: ValidationError) -> Refusal:
    """Return why a value does not fit its property, for people where JSON Schema's own words are for programmers."""
    if part.get("writeOnly"):
        return Refusal("bad_parameters", "%(name)s: is not a value that it may have", name=name)
    if error.validator in ("pattern", "format"):
        wanted = part.get("description") or error.validator_value
        return Refusal(
            "bad_parameters", "%(name)s does not have the form that is asked for: %(wanted)s", name=name, wanted=wanted
        )
    return Refusal("bad_parameters", "%(name)s: %(error)s", name=name, error=error.message[:200])


def _size(values: Values) -> int:
    """Return how many bytes values take; raise Refusal for what canonical JSON cannot say, an integer beyond 2^53 for one."""
    try:
        return len(rfc8785.dumps(dict(values)))
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise Refusal("bad_parameters", "%(error)s", error=error) from None


def _check_money(name: str, value: Any) -> None:
    fits = isinstance(value, dict) and all(
        currency in CURRENCIES and type(minor) is int and 0 <= minor <= LARGEST_MINOR
        for currency, minor in value.items()
    )
    if not fits:
        raise Refusal("bad_parameters", "%(name)s: minor units by currency, for example {'EUR': 5000}", name=name)


def problem_of(schema: Values, document: Values) -> str:
    """Return why a whole document does not fit its template, empty where it does. Secrets are held as they were set."""
    if _size(document) > LARGEST_DOCUMENT:
        return f"larger than {LARGEST_DOCUMENT} bytes"
    secrets = secrets_of(schema)
    parts = {name: {} if name in secrets else part for name, part in schema["properties"].items()}
    whole = Draft202012Validator({**schema, "properties": parts}, format_checker=FORMATS)
    for error in whole.iter_errors(dict(document)):
        return str(error.message)[:200]
    return ""


class Layer(NamedTuple):
    """What is set at one level, and where that is."""

    origin: int  # the id of the set of values
    values: Values


def merged(schema: Values, layers: Sequence[Layer]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the effective values and where each comes from: later layers win, a property as a whole. 0 is the template, by its
    defaults. What the template does not know any more does not count."""
    properties = schema.get("properties", {})
    values = {name: part["default"] for name, part in properties.items() if "default" in part}
    origins = dict.fromkeys(values, 0)
    for layer in layers:
        known = {name: value for name, value in layer.values.items() if name in properties}
        values |= known
        origins |= dict.fromkeys(known, layer.origin)
    return values, origins


# A secret among values: sealed, and known by an id of its own that says when it is another.
SEALED, SECRET_ID = "$sealed", "$secret"


def is_sealed(value: Any) -> bool:
    return isinstance(value, dict) and SEALED in value


def sealed_in(values: Values) -> list[str]:
    """Return the names of the secrets among values."""
    return [name for name, value in values.items() if is_sealed(value)]


def digest_of(values: Values) -> str:
    """Return what tells documents apart: of a sealed secret its id, not its seal, which is another each time."""
    told = {name: value[SECRET_ID] if is_sealed(value) else value for name, value in values.items()}
    return hashlib.sha256(rfc8785.dumps(told)).hexdigest()


def plain_digest(values: Values, secrets: Iterable[str]) -> str:
    """Return the digest that a terminal can report of what it has: SHA-256 of the canonical JSON (RFC 8785), without secrets."""
    left_out = frozenset(secrets)
    return hashlib.sha256(rfc8785.dumps({n: v for n, v in values.items() if n not in left_out})).hexdigest()


class Change(NamedTuple):
    """A property that two sets of values do not have alike; None is not set."""

    name: str
    before: Any
    after: Any


def difference(before: Values, after: Values) -> list[Change]:
    """Return what differs, by name; secrets as they lie there, sealed: `shown` tells them to people."""
    changes = (Change(name, before.get(name), after.get(name)) for name in sorted({*before, *after}))
    return [change for change in changes if change.before != change.after]


def shown(values: Values) -> dict[str, Any]:
    """Return values as people and programs may see them: of a secret only that it is set."""
    return {name: {SECRET_ID: "set"} if is_sealed(value) else value for name, value in values.items()}
