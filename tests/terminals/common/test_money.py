"""Amounts as people read them."""

import pytest

from terminals.common.errors import Refusal
from terminals.common.money import parse_major
from terminals.common.words import format_minor


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


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("150 EUR", (15_000, "EUR")),
        ("150.00 eur", (15_000, "EUR")),
        (" 1,234.5 USD ", (123_450, "USD")),
        ("1500JPY", (1_500, "JPY")),
        ("EUR 150", (15_000, "EUR")),
        ("1.234 KWD", (1_234, "KWD")),
    ],
)
def test_what_a_person_types_is_major_units_with_their_currency(text: str, amount: tuple[int, str]) -> None:
    assert parse_major(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        "150",
        "-1 EUR",
        "1.5 JPY",
        "1.234 EUR",
        "1e3 EUR",
        "1,50 EUR",
        "1,5 EUR",
        "1,,500 EUR",
        "1.50,00 EUR",
        "150 XYZ",
        "1 XXX",
        "9" * 5000 + "EUR",
        "9" * 20 + " EUR",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        parse_major(text)
