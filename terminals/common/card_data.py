"""Whether bytes hold what must never be kept: a full card number, or the content of a magnetic stripe (PCI DSS 3.3, 3.4).

A card number has 13 to 19 digits and a right check digit (ISO/IEC 7812, Luhn); people also write it in fours. Pure.
"""

import re
from typing import Any

_WORTH_A_LOOK = re.compile(rb"[0-9]{12}|[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}")
_ESCAPED_DIGIT = re.compile(rb"\\u00(3[0-9])")
# Not part of a longer number, of a decimal fraction, or of a hexadecimal word.
_PLAIN = re.compile(rb"(?<![0-9A-Za-z.])[0-9]{13,19}(?![0-9A-Za-z.])")
_IN_FOURS = re.compile(rb"(?<![0-9A-Za-z-])[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}(?![0-9A-Za-z-])")
# ISO/IEC 7813: track 1 is %B, number, ^, name; track 2 is ;, number, =, expiry; its equivalent data on a chip has a D.
_TRACK = re.compile(rb"%?[Bb][0-9]{12,19}\^|[0-9]{12,19}[=D][0-9]{4}")


def has_card_data(content: bytes) -> bool:
    """Whether something in it looks like a full card number or like a track."""
    if b"\\u00" in content:  # JSON may write a digit as \\u0034
        content = _ESCAPED_DIGIT.sub(lambda match: bytes.fromhex(match[1].decode()), content)
    if not _WORTH_A_LOOK.search(content):
        return False
    if _TRACK.search(content):
        return True
    found = (match[0] for pattern in (_PLAIN, _IN_FOURS) for match in pattern.finditer(content))
    return any(_luhn(re.sub(rb"[ -]", b"", number)) for number in found)


def strings_with_card_data(value: Any) -> bool:
    """Whether a text somewhere in a JSON value has card data. Numbers pass: a counter or an instant may look like one."""
    if isinstance(value, str):
        return has_card_data(value.encode())
    if isinstance(value, dict):
        return any(strings_with_card_data(name) or strings_with_card_data(member) for name, member in value.items())
    return isinstance(value, list) and any(map(strings_with_card_data, value))


def _luhn(digits: bytes) -> bool:
    total = 0
    for place, code in enumerate(reversed(digits)):
        digit = code - 48
        total += digit if place % 2 == 0 else (digit * 2 - 9 if digit > 4 else digit * 2)
    return total % 10 == 0 and digits.strip(b"0") != b""
