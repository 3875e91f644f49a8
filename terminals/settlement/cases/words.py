"""A difference as people read it: in one sentence, with its suspects."""

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from terminals.common.words import format_minor, word
from terminals.settlement.cases.models import Difference
from terminals.settlement.reconciliation.rules import DifferenceKind as K


def sentence_of(one: Difference) -> str:
    """Return what is wrong, for example: `1 QR alipay sale of 12.34 EUR that the terminal counted was never uploaded`."""
    said = _SENTENCES[K(one.kind)](one)
    if one.batch_number is None or one.kind in (K.UNCLOSED_BATCH,):
        return said
    return _("batch %(number)s: %(what)s") % {"number": f"{one.batch_number:06d}", "what": said}


def _values(one: Difference) -> dict[str, Any]:
    method = word("QR" if one.method == "qr" else one.method) if one.method else ""
    return {
        "n": abs(one.expected_count - one.found_count),
        "what": " ".join(filter(None, (method, word(one.scheme), word(one.transaction_kind)))),
        "amount": format_minor(abs(one.difference_minor), one.currency),
        "expected": format_minor(one.expected_minor, one.currency),
        "found": format_minor(one.found_minor, one.currency),
        "expected_count": one.expected_count,
        "found_count": one.found_count,
        "detail": one.detail,
        "number": f"{one.batch_number or 0:06d}",
    }


def _missing(one: Difference) -> str:
    said = ngettext(
        "%(n)s %(what)s of %(amount)s that the terminal counted was never uploaded",
        "%(n)s times %(what)s, together %(amount)s, that the terminal counted were never uploaded",
        abs(one.expected_count - one.found_count),
    ) % _values(one)
    if one.missing:
        said += " (" + _("numbers that never came: %(numbers)s") % {"numbers": ", ".join(map(str, one.missing))} + ")"
    return said


_SENTENCES: dict[K, Callable[[Difference], str]] = {
    K.MISSING_RECORD: _missing,
    K.DUPLICATE: lambda one: (
        ngettext(
            "%(n)s %(what)s of %(amount)s is recorded twice",
            "%(n)s times %(what)s, together %(amount)s, are recorded twice",
            abs(one.expected_count - one.found_count),
        )
        % _values(one)
    ),
    K.NOT_COUNTED: lambda one: (
        ngettext(
            "%(n)s %(what)s of %(amount)s is recorded, but the terminal did not settle it",
            "%(n)s times %(what)s, together %(amount)s, are recorded, but the terminal did not settle them",
            abs(one.expected_count - one.found_count),
        )
        % _values(one)
    ),
    K.LATE: lambda one: (
        ngettext(
            "%(n)s %(what)s of %(amount)s happened after the batch was closed",
            "%(n)s times %(what)s, together %(amount)s, happened after the batch was closed",
            abs(one.expected_count - one.found_count),
        )
        % _values(one)
    ),
    K.COUNT: lambda one: (
        _("%(what)s: %(expected)s in %(expected_count)s reported, the same in %(found_count)s recorded") % _values(one)
    ),
    K.AMOUNT: lambda one: (
        _("%(what)s: %(expected)s reported, %(found)s recorded, in the same number of transactions") % _values(one)
    ),
    K.FOREIGN_CURRENCY: lambda one: (
        _("%(what)s: %(found)s are not settled, the batch was settled in another currency") % _values(one)
    ),
    K.HOST: lambda one: _("the host answered %(detail)s") % _values(one),
    K.HOST_TOTALS: lambda one: (
        _("the host counted %(found)s in %(found_count)s, the terminal %(expected)s in %(expected_count)s")
        % _values(one)
    ),
    K.INCOMPLETE: lambda one: _("the terminal says that its upload is not complete") % _values(one),
    K.UNCLOSED_BATCH: lambda one: (
        _("batch %(number)s was left open with %(amount)s, a newer one was settled") % _values(one)
    ),
    K.NOT_SETTLED: lambda one: _("%(amount)s are not settled: the settlement failed") % _values(one),
    K.UNKNOWN_TERMINAL: lambda one: (
        _("%(amount)s credited for %(detail)s, a terminal that nobody knows") % _values(one)
    ),
    K.CREDITED_SHORT: lambda one: _("%(amount)s too little credited: %(found)s of %(expected)s") % _values(one),
    K.CREDITED_OVER: lambda one: (
        _("%(amount)s too much credited: %(found)s for %(expected)s") % _values(one)
        if one.expected_minor
        else _("%(found)s credited, of which nothing was settled: not yet, not this batch, or in another currency")
        % _values(one)
    ),
    K.CREDITED_TWICE: lambda one: _("credited twice: %(found)s for %(expected)s") % _values(one),
    K.OTHER_ACCOUNT: lambda one: _("%(found)s credited to an account that is not on file: %(detail)s") % _values(one),
    K.VELOCITY: lambda one: (
        _("%(found_count)s sales within ten minutes, where %(expected_count)s are usual") % _values(one)
        if one.expected_count
        else _("%(found_count)s sales within ten minutes") % _values(one)
    ),
    K.REFUND_SHARE: lambda one: (
        _("%(found)s given back in %(found_count)s refunds, %(detail)s %% of the sales") % _values(one)
    ),
    K.OFF_HOURS: lambda one: (
        _("%(found_count)s sales between the hours %(detail)s by the store's clock") % _values(one)
    ),
    K.UNUSUAL_AMOUNT: lambda one: (
        _("one sale of %(found)s, where %(expected)s is usual for the largest") % _values(one)
        if one.detail == "largest"
        else _("sales of %(found)s, where %(expected)s is usual for a batch") % _values(one)
    ),
    K.REPEATED_CARD: lambda one: _("one card paid %(found_count)s times") % _values(one),
    K.ROUND_AMOUNTS: lambda one: _("%(found_count)s of %(expected_count)s sales are round amounts") % _values(one),
    K.MOVED: lambda one: _("it was closed at %(detail)s, where the terminal never was before") % _values(one),
    K.NOT_CREDITED: lambda one: _("%(expected)s not credited by %(detail)s") % _values(one),
}
