"""The levels at which something is set for terminals, from the top down: installation, organisations, merchant, store. Pure."""

import re

Level = tuple[str, int]  # the kind of a level and its object's id
INSTALLATION: Level = ("installation", 0)
LETTERS = {"o": "organisation", "m": "merchant", "s": "store"}


def path_levels(path: str) -> list[Level]:
    """Return the levels above a terminal, from the top down: `o1.m2.s3.` -> organisation 1, merchant 2, store 3."""
    return [(LETTERS[letter], int(key)) for letter, key in re.findall(r"([oms])([0-9]+)\.", path)]
