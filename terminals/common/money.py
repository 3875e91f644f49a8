"""Money as people read it. Everywhere else it is an integer in the currency's minor unit."""

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


def format_minor(amount_minor: int, currency: str, *, signed: bool = False) -> str:
    """Return for example `1,234.50 EUR`, `1,235 JPY`, or with `signed` `+0.05 EUR`."""
    exponent = _EXPONENTS.get(currency, 2)
    whole, rest = divmod(abs(amount_minor), 10**exponent)
    sign = "-" if amount_minor < 0 else "+" if signed else ""
    digits = f"{whole:,}" + (f".{rest:0{exponent}d}" if exponent else "")
    return f"{sign}{digits} {currency}".strip()
