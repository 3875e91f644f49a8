"""Credit files: their states, what a profile may say of their form, and what an entry tells. Pure."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from terminals.common.errors import Refusal
from terminals.common.money import check_currency, minor_of_decimal
from terminals.common.states import Machine, Transition
from terminals.settlement.rules import LAST_BATCH_NUMBER, METHODS

LONGEST_TEXT = 140  # of a reference, an entry's own id, or a header's name
MOST_MINOR = 10**12  # of one entry: a million of them still add up within 64 bits
MOST_FEE_BP = 2000  # basis points: a fifth


class FileState(StrEnum):
    READING = "reading"  # its entries are read and put aside: nothing counts yet
    MATCHING = "matching"  # read to its end: entries are given to their batches
    DONE = "done"
    FAILED = "failed"  # it could not be read to its end; nothing of it counts
    WITHDRAWING = "withdrawing"
    WITHDRAWN = "withdrawn"  # somebody took it back; nothing of it counts


class EntryState(StrEnum):
    READ = "read"
    MATCHED = "matched"
    UNKNOWN = "unknown"  # it names a terminal that nobody knows, or several have its TID
    REPEATED = "repeated"  # an earlier file of the same profile has told it
    WITHDRAWN = "withdrawn"


_F, _E = FileState, EntryState
IN_WORK = (_F.READING, _F.MATCHING, _F.WITHDRAWING)


class FileTransition(Machine):
    match = Transition((_F.READING,), _F.MATCHING)
    fail = Transition((_F.READING,), _F.FAILED)
    finish = Transition((_F.MATCHING,), _F.DONE)
    go_on = Transition((_F.MATCHING, _F.DONE), _F.MATCHING)  # entries of it count by now that did not
    give_up = Transition((_F.MATCHING,), _F.WITHDRAWING)  # what was matched is taken away again
    withdraw = Transition((_F.DONE,), _F.WITHDRAWING)
    end_withdrawal = Transition((_F.WITHDRAWING,), _F.WITHDRAWN)


class EntryTransition(Machine):
    match = Transition((_E.READ, _E.UNKNOWN), _E.MATCHED)
    miss = Transition((_E.READ,), _E.UNKNOWN)
    repeat = Transition((_E.READ,), _E.REPEATED)
    revive = Transition((_E.REPEATED,), _E.READ)  # the file that had told it was taken back
    withdraw = Transition(tuple(EntryState), _E.WITHDRAWN)


# --- what a profile may say ------------------------------------------------------------------------------------------
FORMATS = ("camt", "csv")
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
ENCODINGS = ("utf-8", "cp1252", "iso-8859-15")
DECIMAL_MARKS = {"point": ".", "comma": ","}
DATE_FORMATS = {
    "YYYY-MM-DD": "%Y-%m-%d",
    "YYYYMMDD": "%Y%m%d",
    "DD.MM.YYYY": "%d.%m.%Y",
    "DD/MM/YYYY": "%d/%m/%Y",
    "MM/DD/YYYY": "%m/%d/%Y",
}
# What a column of a CSV file may tell.
COLUMNS = (
    "tid",
    "mid",
    "batch",
    "reference",
    "net",
    "gross",
    "fee",
    "currency",
    "value_date",
    "account",
    "method",
    "entry_id",
)
# The names in a reference. Each is bounded, so that no text costs more than its length.
_NAMES = {"tid": r"[0-9A-Za-z]{1,8}", "mid": r"[0-9A-Za-z]{1,15}", "batch": r"[0-9]{1,6}"}
_NAME = re.compile(r"\{([a-z]+)\}")


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise Refusal("bad_profile", "it is one of %(words)s", words=words)
        return str(value)

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise Refusal("bad_profile", "it is a text of at most %(most)s characters", most=LONGEST_TEXT)
    return value.strip()


def _reference(value: Any) -> str:
    text = _text(value)
    if text:
        pattern_of(text)
    return text


def _currency(value: Any) -> str:
    text = _text(value)
    return check_currency(text) if text else ""


def _columns(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or (unknown := sorted(value.keys() - set(COLUMNS))):
        named = unknown[0] if isinstance(value, dict) else ""
        raise Refusal(
            "bad_profile", "%(name)s is none of the columns %(known)s", name=repr(named[:40]), known=", ".join(COLUMNS)
        )
    kept = {name: _text(header) for name, header in value.items()}
    return {name: header for name, header in kept.items() if header}


def _methods(value: Any) -> dict[str, str]:
    """What the file calls a method -> `card`, `qr`, `card/visa`, `qr/alipay`."""
    if not isinstance(value, dict) or len(value) > 100:
        raise Refusal("bad_profile", 'it is what the file says and what is meant, as {"VISA": "card/visa"}')
    kept = {}
    for said, meant in value.items():
        method, _slash, scheme = _text(meant).lower().partition("/")
        if method not in METHODS or not re.fullmatch(r"[a-z0-9_]{0,20}", scheme):
            raise Refusal("bad_profile", "%(meant)s is no method; write card, qr, card/visa or qr/alipay", meant=meant)
        kept[_text(said).lower()] = f"{method}/{scheme}".rstrip("/")
    return kept


def _fee(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_FEE_BP:
        raise Refusal("bad_profile", "it is a whole number from 0 to %(most)s (basis points)", most=MOST_FEE_BP)
    return value


class Setting(NamedTuple):
    default: Any
    check: Callable[[Any], Any]


SETTINGS: Mapping[str, Setting] = {
    "reference": Setting("", _reference),  # where a text names terminal and batch, as `TID {tid} BATCH {batch}`
    # How much the acquirer may keep where the file does not say its fee.
    "fee_most_bp": Setting(0, _fee),
    "delimiter": Setting("comma", _one_of(*DELIMITERS)),
    "encoding": Setting("utf-8", _one_of(*ENCODINGS)),
    "decimal_mark": Setting("point", _one_of(*DECIMAL_MARKS)),
    "amounts": Setting("major", _one_of("major", "minor")),
    "date_format": Setting("YYYY-MM-DD", _one_of(*DATE_FORMATS)),
    "currency": Setting("", _currency),  # where no column tells it
    "columns": Setting({}, _columns),
    "methods": Setting({}, _methods),
}


def checked(file_format: str, settings: Any) -> dict[str, Any]:
    """Return a profile's settings, whole, as they are kept; raise Refusal for one by which no entry could be read."""
    if not isinstance(settings, dict) or (unknown := sorted(settings.keys() - SETTINGS.keys())):
        named = unknown[0] if isinstance(settings, dict) else ""
        raise Refusal("bad_profile", "%(name)s is none of %(known)s", name=repr(named[:40]), known=", ".join(SETTINGS))
    kept = {}
    for name, setting in SETTINGS.items():
        try:
            kept[name] = setting.check(settings.get(name, setting.default))
        except Refusal as refusal:
            raise Refusal(refusal.reason, "%(name)s: %(why)s", name=name, why=refusal) from None
    columns = kept["columns"]
    if file_format == "camt" and not kept["reference"]:
        raise Refusal("bad_profile", "write where its texts name terminal and batch, as TID {tid} BATCH {batch}")
    if file_format == "csv":
        if not ({"tid", "batch"} <= columns.keys() or ("reference" in columns and kept["reference"])):
            raise Refusal("bad_profile", "name the columns of TID and batch, or one with a reference and its form")
        if not {"net", "gross"} & columns.keys():
            raise Refusal("bad_profile", "name the column of the net or of the gross amount")
        if not kept["currency"] and "currency" not in columns:
            raise Refusal("bad_profile", "name the column of the currency, or the currency of all entries")
    return kept


@lru_cache(maxsize=256)
def pattern_of(form: str) -> re.Pattern[str]:
    """Return what finds a reference of a form such as `TID {tid} BATCH {batch}`; blanks and letters' case do not matter.

    Raises Refusal where it does not name both, names something twice or next to each other, or something unknown.
    """
    parts = _NAME.split(form)
    names, texts = parts[1::2], parts[0::2]
    known = ", ".join(f"{{{name}}}" for name in _NAMES)
    if unknown := [name for name in names if name not in _NAMES]:
        raise Refusal("bad_profile", "{%(name)s} is none of %(known)s", name=unknown[0], known=known)
    if not {"tid", "batch"} <= set(names) or len(set(names)) != len(names):
        raise Refusal("bad_profile", "a reference names {tid} and {batch} once, as TID {tid} BATCH {batch}")
    if not all(texts[1:-1]):
        raise Refusal("bad_profile", "there must be something between two names, or nobody could tell them apart")
    found = r"(?<![0-9A-Za-z])" if not texts[0] else ""
    for place, (text, name) in enumerate(zip(texts, [*names, ""], strict=True)):
        between = 0 < place < len(names) and not text.strip()
        # Blanks alone must be there, or one number would be read as two names.
        found += r"\s{1,9}" if between else r"\s{0,9}".join(map(re.escape, re.split(r"\s+", text)))
        found += f"(?P<{name}>{_NAMES[name]})" if name else ""
    end = r"(?![0-9A-Za-z])" if not texts[-1] else ""
    return re.compile(found + end, re.IGNORECASE)


# --- what an entry tells ---------------------------------------------------------------------------------------------
class Entry(NamedTuple):
    """What a file tells of one credit: `number` is its place in the file, amounts are minor units, `net` is what arrived."""

    number: int
    tid: str
    batch_number: int
    currency: str
    net_minor: int
    fee_minor: int = 0
    value_date: date | None = None
    mid: str = ""
    account: str = ""  # its whole number
    method: str = ""  # empty: the whole batch
    scheme: str = ""
    entry_id: str = ""
    reference: str = ""

    @property
    def gross_minor(self) -> int:
        return self.net_minor + self.fee_minor


class Named(NamedTuple):
    """The terminal and the batch that an entry concerns; `reference` is the text that said so."""

    tid: str
    batch_number: int
    mid: str = ""
    reference: str = ""


def named_in(text: str, form: str) -> Named | None:
    """Return which terminal and batch a text names; nothing where it is about something else. Raises Refusal for several."""
    several = {
        (one["tid"].upper(), int(one["batch"])): one for one in pattern_of(form).finditer(text) if int(one["batch"])
    }
    if not several:
        return None
    if len(several) > 1:
        raise Refusal("several_batches", "it names several batches and no amount of each")
    (found,) = several.values()
    said = found.groupdict()
    return Named(said["tid"].upper(), int(said["batch"]), (said.get("mid") or "").upper(), found[0][:LONGEST_TEXT])


def named_by(tid: str, batch: str, mid: str = "") -> Named:
    """Return the terminal and the batch that cells name; raise Refusal where they name none."""
    if not re.fullmatch(_NAMES["tid"], tid):
        raise Refusal("bad_tid", "%(tid)s is no TID of at most 8 letters and digits", tid=repr(tid[:40]))
    if not re.fullmatch(r"[0-9]{1,9}", batch) or not 0 < int(batch) <= LAST_BATCH_NUMBER:
        raise Refusal("bad_batch", "%(batch)s is no batch number of at most six digits", batch=repr(batch[:40]))
    if mid and not re.fullmatch(_NAMES["mid"], mid):
        raise Refusal("bad_mid", "%(mid)s is no MID of at most 15 letters and digits", mid=repr(mid[:40]))
    return Named(tid.upper(), int(batch), mid.upper())


def amount_of(text: str, currency: str, *, mark: str = ".", minor: bool = False) -> int:
    """Return minor units of an amount as files write it: `-1,234.50`, `1.234,50-`, in minor units `123450`."""
    thousands = "," if mark == "." else "."
    found = re.fullmatch(
        rf"([+-]?)([0-9]{{1,3}}(?:[{thousands} '][0-9]{{3}})+|[0-9]{{1,18}})(?:[{mark}]([0-9]{{1,6}}))?([+-]?)",
        text.strip(),
    )
    if found is None or (found[1] and found[4]) or (minor and found[3]):
        raise Refusal("bad_amount", "%(text)s is no amount as the profile describes it", text=repr(text[:40]))
    digits = re.sub(r"[^0-9]", "", found[2])
    try:
        amount = Decimal(f"{digits}.{found[3] or 0}") * (-1 if "-" in (found[1], found[4]) else 1)
    except InvalidOperation:  # pragma: no cover - the pattern lets nothing else through
        raise Refusal("bad_amount", "%(text)s is no amount", text=repr(text[:40])) from None
    if minor:
        check_currency(currency)
        return within_reason(int(amount))
    return within_reason(minor_of_decimal(amount, currency))


def within_reason(amount_minor: int) -> int:
    """Return an amount as it is; raise Refusal for more than one credit could be."""
    if abs(amount_minor) > MOST_MINOR:
        raise Refusal("bad_amount", "the amount is more than one credit could be")
    return amount_minor


def method_of(said: str, methods: Mapping[str, str]) -> tuple[str, str]:
    """Return method and scheme of what a file calls them; raise Refusal for what the profile does not know. Empty: the whole
    batch."""
    if not said:
        return "", ""
    meant = methods.get(said.lower())
    if meant is None:
        raise Refusal("unknown_method", "the profile does not say which method %(said)s is", said=repr(said[:40]))
    method, _slash, scheme = meant.partition("/")
    return method, scheme
