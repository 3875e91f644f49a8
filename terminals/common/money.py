"""Money as people read it. Everywhere else it is an integer in the currency's minor unit."""

import re
from decimal import Decimal

from terminals.common.errors import Refusal

LARGEST_MINOR = 10**15
# ISO 4217 list one (SIX): money that people pay with, no metals, funds or tests.
CURRENCIES = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
    COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS
    INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP
    MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
    SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYI UYU UZS VED VES
    VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 - a list would take two hundred lines
)
# ISO 4217's minor unit exponents that are not 2 (list one, maintenance agency SIX).
_EXPONENTS = dict.fromkeys(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ],
    0,
)
_EXPONENTS |= dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3)


def check_currency(code: str) -> str:
    """Return a currency's code as it is; raise Refusal where ISO 4217 knows none."""
    if code not in CURRENCIES:
        raise Refusal("bad_amount", "%(currency)s is not an ISO 4217 currency; write for example EUR", currency=code)
    return code


def digits_of(amount_minor: int, currency: str, *, signed: bool = False) -> str:
    """Return an amount in major units without its currency: `1,234.50`, for JPY `1,235`, or with `signed` `+0.05`."""
    exponent = _EXPONENTS.get(currency, 2)
    whole, rest = divmod(abs(amount_minor), 10**exponent)
    sign = "-" if amount_minor < 0 else "+" if signed else ""
    return sign + f"{whole:,}" + (f".{rest:0{exponent}d}" if exponent else "")


def minor_of_major(major: int, currency: str) -> int:
    """Return whole major units in minor ones: 500 EUR are 50,000, 500 JPY are 500."""
    return int(major * 10 ** _EXPONENTS.get(currency, 2))


def parse_major(text: str) -> tuple[int, str]:
    """Return minor units and currency of what a person types: `150.00 EUR`, `JPY 1,500`; raise Refusal otherwise."""
    ordered = re.sub(r"^\s*([A-Za-z]{3})\s*(\S+)\s*$", r"\2 \1", text)
    # A comma parts thousands and nothing else: 1,50 is somebody's decimal comma, and must not become 150.
    found = re.fullmatch(r"\s*([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,16})(?:\.([0-9]{1,4}))?\s*([A-Za-z]{3})\s*", ordered)
    if found is None:
        raise Refusal("bad_amount", "%(text)s is not an amount; write for example 150.00 EUR", text=repr(text))
    currency = check_currency(found[3].upper())
    exponent, cents = _EXPONENTS.get(currency, 2), found[2] or ""
    if len(cents) > exponent:
        raise Refusal(
            "bad_amount",
            "%(currency)s has %(exponent)s decimals; %(typed)s has %(cents)s",
            currency=currency,
            exponent=exponent,
            typed=repr(text.strip()),
            cents=len(cents),
        )
    minor = int(found[1].replace(",", "") + cents.ljust(exponent, "0"))
    if minor > LARGEST_MINOR:
        raise Refusal("bad_amount", "%(typed)s is more than can be counted", typed=repr(text.strip()))
    return minor, currency


def minor_of_decimal(amount: Decimal, currency: str) -> int:
    """Return an amount in minor units; raise Refusal where the currency has no such decimals, or where nobody could count it."""
    exponent = _EXPONENTS.get(check_currency(currency), 2)
    if not amount.is_finite() or abs(amount) > LARGEST_MINOR:
        raise Refusal("bad_amount", "%(typed)s is more than can be counted", typed=repr(str(amount)[:40]))
    minor = amount.scaleb(exponent)
    if minor != minor.to_integral_value():
        raise Refusal(
            "bad_amount",
            "%(currency)s has %(exponent)s decimals; %(typed)s has more",
            currency=currency,
            exponent=exponent,
            typed=repr(str(amount)[:40]),
        )
    if abs(minor) > LARGEST_MINOR:
        raise Refusal("bad_amount", "%(typed)s is more than can be counted", typed=repr(str(amount)[:40]))
    return int(minor)
