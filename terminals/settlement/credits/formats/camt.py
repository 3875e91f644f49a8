"""ISO 20022 bank-to-customer messages: camt.052 (report), camt.053 (statement) and camt.054 (notification), of all versions.

lxml cuts a file into its entries, so that a large one never stands in memory; xsdata binds each to pyiso20022's records.
"""

import importlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

from lxml import etree
from xsdata.exceptions import ConverterWarning, ParserError
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.parsers.handlers import LxmlEventHandler

from terminals.common.errors import Refusal
from terminals.common.money import minor_of_decimal
from terminals.settlement.credits import rules
from terminals.settlement.credits.formats.read import Other, Read, Reject, without_card_data
from terminals.settlement.credits.rules import LONGEST_TEXT, Entry, Named

_NAMESPACE = re.compile(r"\{urn:iso:std:iso:20022:tech:xsd:camt\.(05[234])\.001\.(0[2-9]|1[0-2])\}Document")
_TAGS = [f"{{*}}{name}" for name in ("Document", "Stmt", "Rpt", "Ntfctn", "Acct", "TtlNtries", "Ntry")]
_STATEMENTS = ("Stmt", "Rpt", "Ntfctn")
MOST_BYTES_OF_AN_ENTRY = 4 * 1024 * 1024  # some 14,000 transactions in one sum; the parser takes 100 times as much
MOST_TEXT = 5000  # characters of an entry's texts that are looked at
_NO_ID = {"", "NONREF", "NOTPROVIDED", "NONE"}  # what banks write where they have no reference


def read(stream: BinaryIO, settings: Mapping[str, Any]) -> Iterator[Read]:
    """Yield what each entry tells. Raises Refusal for a file that is no such message, is cut off, or says that it holds another
    number of entries than it does."""
    bounded = Bounded(stream)
    number, entries, expected, account = 0, 0, None, ""
    binding: type | None = None
    for event, element in _parsed(bounded):
        name = _local(element)
        if event == "start":
            binding = _binding(element.tag) if name == "Document" else binding
            if binding is None:
                raise _no_camt()
            if name in _STATEMENTS:
                entries, expected, account = 0, None, ""
        elif name == "Acct" and _is_within(element, _STATEMENTS):
            account = _account(element)
        elif name == "TtlNtries":
            expected = element.findtext("{*}NbOfNtries")
        elif name == "Ntry" and binding is not None:
            entries += 1
            for one in _items(number, element, binding, account, settings):
                number += 1
                yield one
            _drop(element)
            bounded.begin_anew()
        elif name in _STATEMENTS and expected is not None and expected.strip() != str(entries):
            raise Refusal(
                "incomplete",
                "the file says that it holds %(said)s entries, and holds %(held)s",
                said=expected[:20],
                held=entries,
            )
    if binding is None:
        raise _no_camt()


def _no_camt() -> Refusal:
    return Refusal("unknown_format", "this is no camt.052, camt.053 or camt.054 of version 02 to 12")


class Bounded:
    """A stream that refuses more bytes than an entry may have, with what stands before it: the parser keeps all of them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._taken = stream, 0

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._taken += len(piece)
        if self._taken > MOST_BYTES_OF_AN_ENTRY:
            raise Refusal("too_large", "an entry, or what stands between two, has more than 4 MB")
        return piece

    def begin_anew(self) -> None:
        self._taken = 0


def _parsed(stream: Bounded) -> Iterator[tuple[str, Any]]:
    """Yield the starts and ends of the elements that matter. Entities, external ones and document types are refused."""
    events = etree.iterparse(
        stream,
        events=("start", "end"),
        tag=_TAGS,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        for event, element in events:
            if event == "start" and element.getroottree().docinfo.doctype:
                raise Refusal("unknown_format", "an XML file with a document type is not read")
            yield event, element
    except etree.XMLSyntaxError as error:
        raise Refusal("bad_xml", "the XML cannot be read to its end: %(error)s", error=str(error)[:150]) from None


def _is_within(element: Any, names: Sequence[str]) -> bool:
    parent = element.getparent()
    return parent is not None and _local(parent) in names


def _local(element: Any) -> str:
    """Return an element's name without its namespace; a hostile one may have any characters."""
    return str(element.tag).rpartition("}")[2]


def _drop(element: Any) -> None:
    """Forget an entry that was read, and what stands before it."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


@lru_cache(maxsize=64)
def _binding(tag: str) -> type:
    """Return the record of an entry in the version that a document says it is."""
    found = _NAMESPACE.fullmatch(tag)
    if found is None:
        raise _no_camt()
    module = importlib.import_module(f"pyiso20022.camt.camt_{found[1]}_001_{found[2]}")
    name = next(name for name in dir(module) if re.fullmatch(r"ReportEntry\d+", name))
    return getattr(module, name)  # type: ignore[no-any-return]


# What a bank adds to the standard is left alone, what it writes wrongly is not.
_PARSER = XmlParser(
    context=XmlContext(),
    config=ParserConfig(fail_on_unknown_properties=False, fail_on_unknown_attributes=False),
    handler=LxmlEventHandler,
)


def _account(element: Any) -> str:
    found = element.findtext("{*}Id/{*}IBAN") or element.findtext("{*}Id/{*}Othr/{*}Id") or ""
    return "".join(found.split()).upper()[:40]


class Told(NamedTuple):
    """An amount that an entry, or one of its transactions, tells: signed, as `net` is booked; `text` may name what it is for."""

    currency: str
    net: Decimal
    fee: Decimal
    text: str
    entry_id: str


def _items(number: int, element: Any, binding: type, account: str, settings: Mapping[str, Any]) -> Iterator[Read]:
    """Yield what an entry tells: itself, or each of the transactions that were booked in one sum. `number` is the last one's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConverterWarning)
            entry: Any = _PARSER.parse(element, binding)
        booked = _status(entry.sts) == "BOOK"
        day = _day(entry.val_dt) or _day(entry.bookg_dt)
        told = _told(entry)
    except Refusal as refusal:
        yield Reject(number + 1, refusal)
        return
    except (ParserError, ConverterWarning, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        # A record without what the standard demands shows as any of these.
        yield Reject(
            number + 1,
            Refusal("bad_entry", "the entry is not as the standard has it: %(error)s", error=_said_of(error)),
        )
        return
    for place, one in enumerate(told, start=number + 1):
        try:
            named = rules.named_in(one.text[:MOST_TEXT], settings["reference"]) if booked else None
        except Refusal as refusal:
            yield Reject(place, refusal)
            continue
        yield _entry(place, one, named, day, account) if named is not None else Other(place)


def _said_of(error: Exception) -> str:
    """Return what a record complains of: an element's name where it lacks one, as files spell it."""
    lacking = re.search(r"missing [0-9]+ required keyword-only arguments?: (.*)", str(error))
    if lacking is None:
        return str(error)[:150]
    names = re.findall(r"'(\w+)'", lacking[1])
    return ", ".join("".join(part.capitalize() for part in name.split("_")) for name in names) + " ?"


def _entry(number: int, one: Told, named: Named, day: date | None, account: str) -> Read:
    try:
        net, fee = (rules.within_reason(minor_of_decimal(amount, one.currency)) for amount in (one.net, one.fee))
        entry = Entry(
            number,
            *(named.tid, named.batch_number, one.currency, net, fee, day, named.mid, account),
            entry_id=one.entry_id[:LONGEST_TEXT],
            reference=named.reference,
        )
        return without_card_data(entry)
    except Refusal as refusal:
        return Reject(number, refusal)


def _told(entry: Any) -> list[Told]:
    """Return the amounts that an entry tells: each transaction's where all have their own, else its own. Raises Refusal where
    they do not add up to it."""
    parts = [part for detail in entry.ntry_dtls for part in detail.tx_dtls]
    amounts = [_amount_of(part) for part in parts]
    whole = _signed(entry.amt, entry.cdt_dbt_ind)
    if len(parts) < 2 or None in amounts:
        text = " ".join(filter(None, [*map(_text, parts), entry.addtl_ntry_inf]))
        currency = entry.amt.ccy
        fee = sum((_fee(part, currency) for part in parts), Decimal(0)) or _fee(entry, currency)
        return [Told(entry.amt.ccy, whole, fee, text, _id_of(entry, *parts[:1]))]
    told = []
    for place, (part, amount) in enumerate(zip(parts, amounts, strict=True), start=1):
        net = _signed(amount, getattr(part, "cdt_dbt_ind", None) or entry.cdt_dbt_ind)
        entry_id = _id_of(entry, part)
        told.append(
            Told(amount.ccy, net, _fee(part, amount.ccy), _text(part), f"{entry_id}/{place}" if entry_id else "")
        )
    if sum(one.net for one in told) != whole:
        raise Refusal("details_differ", "its transactions do not add up to its amount")
    return told


def _status(status: Any) -> str:
    """Return an entry's status: a code by itself up to version 07, one of a choice later."""
    code = getattr(status, "cd", status)
    return str(getattr(code, "value", code))


def _signed(amount: Any, indicator: Any) -> Decimal:
    value = Decimal(amount.value)
    return -value if getattr(indicator, "value", indicator) == "DBIT" else value


def _amount_of(part: Any) -> Any:
    """Return a transaction's own amount, where it has one: itself in later versions, among its details in earlier ones."""
    amount = getattr(part, "amt", None)
    if amount is None and part.amt_dtls is not None and part.amt_dtls.tx_amt is not None:
        amount = part.amt_dtls.tx_amt.amt
    return amount


def _fee(of: Any, currency: str) -> Decimal:
    """Return what was kept of an amount: its charges, but those that are booked apart from it. Raises Refusal for charges in
    another currency."""
    charges = of.chrgs
    records = charges if isinstance(charges, list) else charges.rcrd if charges is not None else []
    fee = Decimal(0)
    for record in records:
        if getattr(record, "chrg_incl_ind", None) is not False:
            if record.amt.ccy != currency:
                raise Refusal("bad_amount", "its charges are in another currency than its amount")
            # A charge is a debit unless it says that it is given back.
            given_back = getattr(record.cdt_dbt_ind, "value", "") == "CRDT"
            fee += -Decimal(record.amt.value) if given_back else Decimal(record.amt.value)
    return fee


def _text(part: Any) -> str:
    """Return what a transaction says of itself: its remittance texts, structured references, and the payer's own id for it."""
    told: list[str | None] = []
    if part.rmt_inf is not None:
        told += part.rmt_inf.ustrd
        for structured in part.rmt_inf.strd:
            told += [structured.cdtr_ref_inf.ref if structured.cdtr_ref_inf is not None else None]
            told += structured.addtl_rmt_inf
    told += [part.refs.end_to_end_id] if part.refs is not None else []
    return " ".join(filter(None, [*told, part.addtl_tx_inf]))


def _id_of(entry: Any, *parts: Any) -> str:
    """Return the bank's own reference of a transaction, else of its entry; nothing where it gives none."""
    found = [part.refs.acct_svcr_ref for part in parts if part.refs is not None]
    return next((one for one in [*found, entry.acct_svcr_ref] if one and one.upper() not in _NO_ID), "")


def _day(choice: Any) -> date | None:
    if choice is None:
        return None
    with suppress(AttributeError):
        return choice.dt.to_date()  # type: ignore[no-any-return]
    return choice.dt_tm.to_datetime().date() if choice.dt_tm is not None else None
