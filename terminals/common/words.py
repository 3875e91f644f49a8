"""States and the protocol's words as people read them, in their language: `out_of_paper` -> `out of paper`."""

from collections.abc import Iterable

from django.utils.functional import lazy
from django.utils.translation import pgettext

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
