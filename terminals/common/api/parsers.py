"""How the API reads bodies. Apart from `base`, because REST framework imports it while that is still loading."""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.utils.translation import gettext
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

LARGEST_INTEGER = 2**53 - 1


class InteroperableJSONParser(JSONParser):
    """JSON that everybody reads alike (I-JSON, RFC 7493), since what it says will stand in the audit.

    Refused besides malformed JSON: other encodings than UTF-8, U+0000, lone surrogates, integers beyond 2^53, NaN and
    infinities, and nesting that Python's decoder cannot follow.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return parse_json(stream.read().decode("utf-8"))
        except ValueError as error:
            raise ParseError(gettext("JSON parse error: %(error)s") % {"error": error}) from None


def parse_json(text: str) -> Any:
    """Return what a JSON text says; raise ValueError where not everybody would read the same."""
    try:
        if "\\u0000" in text:
            raise ValueError(gettext("the character U+0000 is not allowed"))
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_number)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(gettext("nested too deeply")) from None
    except UnicodeEncodeError:
        raise ValueError(gettext("half of a surrogate pair is no character")) from None
    return value


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(value := int(digits)) > LARGEST_INTEGER:
        raise ValueError(gettext("an integer beyond 2^53 is not allowed; write it as a string"))
    return value


def _number(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(gettext("%(text)s is not a JSON number") % {"text": text})
    return value
