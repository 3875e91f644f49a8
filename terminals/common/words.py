"""States and the protocol's words as people read them, in their language: `out_of_paper` -> `out of paper`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.functional import lazy
from django.utils.translation import gettext, pgettext

from terminals.common.errors import Refusal, filled
from terminals.common.money import digits_of

CONTEXT = "word"  # of these in the catalogue: a state's "failed" is not the "failed" of a sentence


def word(value: str) -> str:
    """Return a state or a word of the protocol in the reader's language; one that nobody translated as it is."""
    plain = value.replace("_", " ")
    return pgettext(CONTEXT, plain) if plain else ""


def requester_name(name: str) -> str:
    """Return who asked for something: an operator's name has no space; what the server asks by itself has one."""
    return word(name) if " " in name else name


# For labels that are made once, at start: translated when they are shown.
lazy_word = lazy(word, str)


def choices(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return (value, label) pairs for a model's field, of an enum's states or of the protocol's words."""
    return [(str(value), lazy_word(str(value))) for value in values]


def format_minor(amount_minor: int, currency: str, *, signed: bool = False) -> str:
    """Return for example `1,234.50 EUR` or, with `signed`, `+0.05 EUR`, in the order of the reader's language."""
    said = {"amount": digits_of(amount_minor, currency, signed=signed), "currency": currency}
    return (pgettext("money", "%(amount)s %(currency)s") % said).strip()


def sentence(refusal: Refusal) -> str:
    """Return a refusal's sentence in the reader's language, and so what is in it: states (tuples, `state`), `verb`, refusals."""
    values: dict[str, object] = {}
    for name, value in refusal.values.items():
        if isinstance(value, tuple):
            values[name] = tuple(word(state) for state in value)
        elif isinstance(value, Refusal):  # why one thing of many cannot be
            values[name] = sentence(value)
        else:
            values[name] = word(str(value)) if name in ("state", "verb") else value
    return filled(gettext(refusal.template), values)


@contextmanager
def field_errors(field: str | None = None) -> Iterator[None]:
    """Tell a refusal as the error of a form, a model, or one of its fields."""
    try:
        yield
    except Refusal as refusal:
        told: Any = sentence(refusal)
        raise ValidationError({field: told} if field else told) from None


def stored_sentence(template: str, values: dict[str, Any]) -> str:
    """Return the sentence of a refusal that was stored as data (JSON keeps a tuple of states as a list)."""
    return sentence(Refusal("", template, **{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}))


# How a state looks: the colour that an operator's eye goes to. What is not named is neutral.
TONES = (
    dict.fromkeys(["active", "balanced", "succeeded", "confirmed", "installed", "applied", "ok", "online"], "success")
    | dict.fromkeys(
        [
            "unbalanced",
            "failed",
            "rejected",
            "mismatch",
            "fault",
            "out_of_paper",
            "locked",
            "offline",
            "critical",
            "high",
        ],
        "danger",
    )
    | dict.fromkeys(["suspended", "expired", "pending", "paper_low", "warning", "absent"], "warning")
)
