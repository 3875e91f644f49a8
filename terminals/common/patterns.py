"""Patterns of texts that come from outside."""


def whole(pattern: str) -> str:
    """Return a regular expression for the whole of a text; valid in JSON Schema, too.

    Python's `$` alone lets a newline pass at the end, which nothing behind it expects.
    """
    return rf"^{pattern}(?!\n)$"
