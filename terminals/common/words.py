"""States and the protocol's words as people read them, in their language: `out_of_paper` -> `out of paper`."""

from collections.abc import Iterable

from django.utils.functional import lazy
from django.utils.translation import gettext, pgettext

from terminals.common.errors import Refusal, filled

CONTEXT = "word"  # of these in the catalogue: a state's "failed" is not the "failed" of a sentence


def word(value: str) -> str:
    """Return a state or a word of the protocol in the reader's language; one that nobody translated as it is."""
    plain = value.replace("_", " ")
    return pgettext(CONTEXT, plain) if plain else ""


# For labels that are made once, at start: translated when they are shown.
lazy_word = lazy(word, str)


def choices(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return (value, label) pairs for a model's field, of an enum's states or of the protocol's words."""
    return [(str(value), lazy_word(str(value))) for value in values]


def sentence(refusal: Refusal) -> str:
    """Return a refusal's sentence in the reader's language, the states in it as well."""
    values = {
        name: tuple(word(state) for state in value)
        if isinstance(value, tuple)
        else word(str(value))
        if name == "state"
        else value
        for name, value in refusal.values.items()
    }
    return filled(gettext(refusal.template), values)
