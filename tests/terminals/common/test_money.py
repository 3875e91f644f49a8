"""Amounts as people read them."""

import pytest

from terminals.common.money import format_minor


@pytest.mark.parametrize(
    ("minor", "currency", "signed", "text"),
    [
        (123450, "EUR", False, "1,234.50 EUR"),
        (5, "EUR", True, "+0.05 EUR"),
        (-5, "EUR", True, "-0.05 EUR"),
        (0, "EUR", False, "0.00 EUR"),
        (1235, "JPY", False, "1,235 JPY"),
        (1234567, "KWD", False, "1,234.567 KWD"),
        (-100, "USD", False, "-1.00 USD"),
    ],
)
def test_minor_units_are_shown_by_the_currencys_exponent(minor: int, currency: str, signed: bool, text: str) -> None:
    assert format_minor(minor, currency, signed=signed) == text
