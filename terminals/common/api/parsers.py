"""How the API reads bodies. Apart from `base`, because REST framework imports it while that is still loading."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

LARGEST_INTEGER = 2**53 - 1


class InteroperableJSONParser(JSONParser):
    """JSON that everybody reads alike (I-JSON, RFC 7493), since what it says will stand in the audit.

    Refused besides malformed JSON: other encodings than UTF-8, U+0000, integers beyond 2^53, NaN and infinities, and
    nesting that Python's decoder cannot follow.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            text = stream.read().decode("utf-8")
            if "\\u0000" in text:
                raise ValueError("the character U+0000 is not allowed")
            return json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_number)
        except RecursionError:
            raise ParseError("JSON parse error: nested too deeply") from None
        except ValueError as error:
            raise ParseError(f"JSON parse error: {error}") from None


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(value := int(digits)) > LARGEST_INTEGER:
        raise ValueError("an integer beyond 2^53 is not allowed; write it as a string")
    return value


def _number(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text} is no number that JSON has")
    return value
