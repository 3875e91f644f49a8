"""A plan as people read it, in their language."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from terminals.common.words import format_minor, word
from terminals.settlement.plans.cycles import Occurrence, Skipped
from terminals.settlement.plans.rules import settles_by_itself

# What plans mostly say; another crontab is shown as it is.
_DAILY = re.compile(r"(?P<minute>[0-9]{1,2}) (?P<hour>[0-9]{1,2}) \* \* (?P<days>\*|[0-9,-]+)")
_HOURLY = re.compile(r"(?P<minute>[0-9]{1,2}) \* \* \* \*")


def in_short(settings: Mapping[str, Any]) -> str:
    """Return whole settings for example as `every day at 22:30 Europe/Berlin, at 150.00 EUR, after 50 transactions`."""
    if not settles_by_itself(settings):
        return _("never by itself")
    told = []
    if settings["cycle"]:
        told.append(f"{crontab_words(settings['cycle'])} {settings['time_zone'] or _('by the clock of each store')}")
    told += [
        _("at %(amount)s") % {"amount": format_minor(amount, currency)}
        for currency, amount in settings["amount_limits"].items()
    ]
    if count := settings["count_limit"]:
        told.append(ngettext("after %(n)s transaction", "after %(n)s transactions", count) % {"n": count})
    return ", ".join(told)


def crontab_words(crontab: str) -> str:
    """Return a crontab in words where it is one that plans mostly have: `every day at 22:30`, `Monday to Friday at 22:30`."""
    if crontab == "* * * * *":
        return _("every minute")
    if hourly := _HOURLY.fullmatch(crontab):
        return _("every hour at minute %(minute)s") % {"minute": hourly["minute"].zfill(2)}
    if not (daily := _DAILY.fullmatch(crontab)):
        return crontab
    said = {"time": f"{daily['hour'].zfill(2)}:{daily['minute'].zfill(2)}"}
    if daily["days"] == "*":
        return _("every day at %(time)s") % said
    if daily["days"] == "1-5":
        return _("Monday to Friday at %(time)s") % said
    if daily["days"] == "1-6":
        return _("Monday to Saturday at %(time)s") % said
    return crontab


def day_words(instant: datetime) -> str:
    """Return a local instant for example as `Fri 22:30`."""
    return formats.date_format(instant, "D H:i")


def skipped_words(skipped: Skipped) -> str:
    """Return for example `Sat 26.12. closed: Christmas Day`."""
    why = word(skipped.why) if skipped.why in ("weekend", "closed") else skipped.why
    return _("%(day)s: %(why)s") % {"day": formats.date_format(skipped.day, "D j M"), "why": why}


def zone_words(settings: Mapping[str, Any]) -> str:
    """Return the zone of a cycle, or that each store has its own."""
    return settings["time_zone"] or _("by the clock of each store")


def explained(coming: list[Occurrence], settings: Mapping[str, Any]) -> str:
    """Return when a cycle is due next and after that: `Fri 22:30 Europe/Madrid, cut-off 23:00, then Mon 22:30 (Sat 26 Dec:
    Christmas Day; Sun 27 Dec: weekend)`; nothing where it never comes due."""
    if not coming:
        return ""
    zone = ZoneInfo(settings["time_zone"] or "UTC")
    told = f"{day_words(coming[0].at.astimezone(zone))} {zone_words(settings)}"
    if settings["cut_off"]:
        told += ", " + _("cut-off %(time)s") % {"time": settings["cut_off"]}
    for after in coming[1:2]:
        told += ", " + _("then %(instant)s") % {"instant": day_words(after.at.astimezone(zone))}
        if after.skipped:
            told += f" ({'; '.join(map(skipped_words, after.skipped))})"
    return told
