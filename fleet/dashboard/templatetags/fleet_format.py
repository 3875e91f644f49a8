"""Money in templates."""

from django import template

from terminals.money import format_minor

register = template.Library()


@register.filter
def money(amount_minor: int, currency: str) -> str:
    return format_minor(amount_minor, currency)


@register.filter
def money_signed(amount_minor: int, currency: str) -> str:
    return format_minor(amount_minor, currency, signed=True)
