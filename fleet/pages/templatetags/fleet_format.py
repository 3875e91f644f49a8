"""Money and the protocol's words in templates."""

from typing import Any

from django import template

from terminals.common.facts.kinds import reasons_text
from terminals.common.money import digits_of
from terminals.common.words import TONES, format_minor, requester_name, word
from terminals.estate.models import Merchant, Organisation, Store, TerminalGroup
from terminals.estate.targets.language import quoted
from terminals.settlement.reconciliation.rules import Line, Net, nets_of

register = template.Library()


@register.filter
def money(amount_minor: int, currency: str) -> str:
    return format_minor(amount_minor, currency)


@register.filter
def amount(amount_minor: int, currency: str) -> str:
    """Format an amount in major units without its currency, which stands in a column of its own."""
    return digits_of(amount_minor, currency)


@register.filter
def money_signed(amount_minor: int, currency: str) -> str:
    return format_minor(amount_minor, currency, signed=True)


@register.filter
def words(value: str) -> str:
    """Return a state or a protocol's word as people read it: `out_of_paper` -> `out of paper`."""
    return word(value)


@register.filter
def reasons(stored: list[dict[str, Any]]) -> str:
    """Return the words of stored reasons."""
    return reasons_text(stored)


@register.filter
def nets(lines: list[Line]) -> list[Net]:
    """Return what a batch's lines add up to, a currency each."""
    return nets_of(lines)


@register.filter
def tone(value: str) -> str:
    """Return the CSS class of a state's colour."""
    return f"tw-{TONES[value]}-tone" if value in TONES else ""


@register.filter
def room(kind: str) -> str:
    """Return the part of a fact's kind that people sort by: `settlement.settled` -> `settlement`."""
    return word(kind.partition(".")[0])


@register.filter
def its_terminals(node: Organisation | Merchant | Store | TerminalGroup) -> str:
    """Return the filter that finds the terminals of a node or a group."""
    kind = str(node._meta.model_name).removeprefix("terminal")
    merchant = f" and merchant = {quoted(node.merchant.name)}" if isinstance(node, Store) else ""
    return f"{kind} = {quoted(node.name)}{merchant}"


@register.filter
def requester(name: str) -> str:
    """Return who asked for something: an operator, or what the server asks by itself."""
    return requester_name(name)
