"""Settings as people type them: money in major units, what is left empty comes from above."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from terminals.common.errors import Refusal
from terminals.common.money import parse_major
from terminals.common.words import format_minor, lazy_word, sentence, word
from terminals.settlement.plans.models import BusinessCalendar
from terminals.settlement.plans.rules import CHECKS, SETTINGS, SEVERITIES, WHEN_MISSED

# name -> (label, help)
LABELS: dict[str, tuple[Any, Any]] = {
    "enabled": (_("Settles by itself"), _("If not, neither clock nor money makes it settle")),
    "cycle": (_("Cycle"), _("Crontab, for example 30 22 * * * for every day at 22:30")),
    "time_zone": (_("Time zone"), _("IANA name, for example Europe/Berlin; empty for each store's own")),
    "calendar": (_("Business calendar"), _("On a day that is closed the cycle does not come due")),
    "cut_off": (_("Cut-off"), _("Local time, for example 23:00: what settles later belongs to the next business day")),
    "amount_limits": (_("At an amount"), _("Settle at this unsettled amount, for example 150.00 EUR; 160.00 USD")),
    "count_limit": (_("At a number"), _("Settle after this many transactions")),
    "by_hand": (_("By hand"), _("Operators may ask it to settle")),
    "jitter_seconds": (_("Jitter (seconds)"), _("Spread the terminals of a cycle over this time")),
    "window_minutes": (_("Window (minutes)"), _("For so long after it was due a settlement is tried")),
    "expiry_minutes": (_("Expiry (minutes)"), _("A terminal that is offline may still do it within this time")),
    "retries": (_("Retries"), _("How often it is tried again after a failure")),
    "retry_minutes": (_("First pause (minutes)"), _("Before the first retry; each pause is twice the one before")),
    "when_missed": (
        _("When missed"),
        _("The server was away for longer than the window: once as soon as possible, not at all, or a failed run"),
    ),
    "host_totals": (
        _("The host's totals"),
        _("Where its answer has them: de63, unionpay, or written out; empty: they are not compared"),
    ),
    "credit_days": (
        _("Credited within (business days)"),
        _("What is not credited by then opens a case; empty: credits are not watched"),
    ),
    "warn_minutes": (_("Look ahead (minutes)"), _("So long before it is due, readiness is looked at")),
    **{
        f"check_{name}": (lazy_word(f"check_{name}"), _("What stands in the way blocks it, is told, or is ignored"))
        for name in CHECKS
    },
}
YES_NO = [("true", _("yes")), ("false", _("no"))]
CHOICES: dict[str, list[tuple[str, Any]]] = {
    "enabled": YES_NO,
    "by_hand": YES_NO,
    "when_missed": [(one, lazy_word(one)) for one in WHEN_MISSED],
    **{f"check_{name}": [(one, lazy_word(one)) for one in SEVERITIES] for name in CHECKS},
}
NUMBERS = {
    name
    for name, setting in SETTINGS.items()
    if isinstance(setting.default, int) and setting.default not in (True, False)
}
NUMBERS |= {"count_limit", "jitter_seconds", "credit_days"}
NONE = "-"  # typed where a level wants none of what it would inherit


def typed(name: str, value: Any) -> str:
    """Return a setting's value as people type it."""
    if value is None or value in ("", {}):
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if name == "amount_limits":
        return "; ".join(format_minor(amount, currency) for currency, amount in value.items())
    return str(value)


def in_words(name: str, value: Any) -> str:
    """Return a setting's value as people read it."""
    if value is None or value in ("", {}):
        return word("none")
    if name == "calendar":
        return str(BusinessCalendar.objects.filter(pk=value).first() or value)
    return str(dict(CHOICES.get(name, [])).get(typed(name, value), typed(name, value)))


class SettingsForm(forms.Form):
    """One field for each setting; `settings` are those that were typed. An empty field says nothing, `-` says none."""

    def __init__(self, *args: Any, settings: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= setting_fields(settings or {})


def setting_fields(settings: Mapping[str, Any]) -> dict[str, forms.Field]:
    """Return a form's field for each setting, with what is set."""
    fields: dict[str, forms.Field] = {}
    calendars = [(str(pk), name) for pk, name in BusinessCalendar.objects.values_list("pk", "name")]
    for name, (label, help_text) in LABELS.items():
        said: dict[str, Any] = {"required": False, "label": label, "help_text": help_text}
        if name in settings:
            said["initial"] = typed(name, settings[name])
        if name in CHOICES or name == "calendar":
            offered = [("", "---"), *(CHOICES.get(name) or [(NONE, word("none")), *calendars])]
            fields[name] = forms.ChoiceField(choices=offered, widget=UnfoldAdminSelectWidget, **said)
        else:
            fields[name] = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, **said)
    return fields


def typed_settings(form: forms.BaseForm) -> dict[str, Any]:
    """Return the settings that were typed into a form, checked; errors stand at their fields."""
    found: dict[str, Any] = {}
    for name in SETTINGS:
        text = str(form.cleaned_data.get(name) or "").strip()
        if not text:
            continue
        try:
            found[name] = SETTINGS[name].check(_value(name, text))
        except Refusal as refusal:
            form.add_error(name, sentence(refusal))
    return found


def _value(name: str, text: str) -> Any:
    if text == NONE:
        return (
            SETTINGS[name].default
            if name in ("cycle", "time_zone", "cut_off", "amount_limits", "host_totals")
            else None
        )
    if text in ("true", "false"):
        return text == "true"
    if name == "amount_limits":
        return {currency: minor for minor, currency in map(parse_major, filter(None, map(str.strip, text.split(";"))))}
    if name in NUMBERS or name == "calendar":
        return int(text) if text.isdecimal() and len(text) < 12 else text
    return text
