"""What a campaign's page says in words: its rules, why a guard does not hold, what happens next or must be pressed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from terminals.campaigns import selectors
from terminals.campaigns.models import Campaign
from terminals.campaigns.planning import follows
from terminals.campaigns.rules import CampaignState, MemberState, WaveState
from terminals.campaigns.settings import filters_of
from terminals.common.words import word

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # as the form names them
CONDITIONS = {
    "idle": gettext_noop("no payment is under way"),
    "no_open_batch": gettext_noop("no batch is open"),
    "settle_first": gettext_noop("it has settled its open batch: it does so itself, before it begins"),
    "charging": gettext_noop("it is charging"),
}


def clock(instant: datetime) -> str:
    """Return an instant in the reader's zone and form, which names the zone."""
    return date_format(timezone.localtime(instant), "DATETIME_FORMAT")


def rules_of(settings: Mapping[str, Any]) -> list[str]:
    """Return what a campaign keeps to, for whoever agrees to it: whom it follows, who comes first, windows, conditions, guard,
    rate, retries, deadline."""
    told = []
    if settings.get("follows"):
        told.append(
            _(
                "It follows: terminals that come to pass the filter later are included when they say hello, in its last wave, "
                "and those that lose what was sent get it again; it goes on until it is cancelled or another one takes over"
            )
        )
        told.append(_("Whoever may change tags, groups or places of terminals changes who that is"))
    for number, first in enumerate(filters_of(settings), start=1):
        told.append(_("Wave %(number)s: those that pass %(filter)s") % {"number": number, "filter": first})
    if window := settings["window"]:
        days = ", ".join(_(DAYS[day - 1]) for day in window["days"])
        said = {"days": days, "opens": window["opens"], "closes": window["closes"]}
        told.append(_("Only %(days)s, %(opens)s to %(closes)s by each terminal's own clock") % said)
        if settings.get("download_ahead"):
            told.append(_("Downloaded before, as soon as it is a terminal's turn"))
    else:
        told.append(_("At any time of day"))
    if conditions := _conditions(settings["conditions"]):
        told.append(_("Only while %(conditions)s") % {"conditions": ", ".join(conditions)})
    said = {name: settings[name] for name in ("sample_percent", "success_percent", "soak_minutes", "worse_percent")}
    told.append(
        _(
            "The next wave begins when %(sample_percent)s per cent of a wave have an outcome, %(success_percent)s per cent "
            "succeeded, and after %(soak_minutes)s minutes no fault grew by more than %(worse_percent)s per cent"
        )
        % said
    )
    told.append(_("At most %(per_minute)s a minute, %(at_once)s at once") % settings)
    told.append(_("Must be back within %(timeout_minutes)s minutes; tried again %(retries)s times") % settings)
    if not settings.get("follows"):
        told.append(_("Those switched off are waited for %(deadline_days)s days; then it is over") % settings)
    return told


def _conditions(conditions: Mapping[str, Any]) -> list[str]:
    told = [_(CONDITIONS[name]) for name in CONDITIONS if conditions.get(name)]
    if conditions.get("networks"):
        networks = ", ".join(word(one) for one in conditions["networks"])
        told.append(_("it is on %(networks)s") % {"networks": networks})
    if conditions.get("battery_percent"):
        told.append(_("the battery has %(battery_percent)s per cent") % conditions)
    if conditions.get("storage_mb"):
        told.append(_("%(storage_mb)s MB are free") % conditions)
    return told


def why(unmet: Mapping[str, Any]) -> str:
    """Say why a guard does not hold."""
    said = {"found": unmet["found"], "limit": unmet["limit"], "about": word(unmet["about"])}
    if unmet["why"] == "failures":
        return _("%(found)s per cent failed; at most %(limit)s may") % said
    if unmet["why"] == "sample":
        return _("%(found)s terminals have an outcome, at least %(limit)s are wanted: nobody tried it") % said
    if unmet["why"] == "code":
        return _("%(found)s per cent failed with %(about)s; at most %(limit)s may") % said
    return _("%(about)s: faults grew by %(found)s per cent of the wave; at most %(limit)s may") % said


def next_of(campaign: Campaign, waves: Sequence[selectors.WaveSeen]) -> str:
    """Say what happens next by itself, or what somebody must press."""
    if campaign.state == CampaignState.PROPOSED:
        if campaign.needs_approval and campaign.approved_by_id is None:
            return _("Somebody other than %(who)s must agree to it.") % {"who": campaign.proposed_by.get_username()}
        return _("It begins when somebody presses Start.")
    if campaign.state == CampaignState.PAUSED:
        back = campaign.rolled_back_by.exclude(state=CampaignState.CANCELLED).order_by("pk").first()
        if back is not None:
            said = {"name": back.name, "state": word(back.state)}
            return _("It does not go on: its roll back %(name)s is %(state)s. Cancel that one first to go on.") % said
        return _paused(waves)
    return _running(campaign, waves) if campaign.state == CampaignState.RUNNING else ""


def _paused(waves: Sequence[selectors.WaveSeen]) -> str:
    for wave in waves:
        if wave.state == WaveState.STOPPED:
            said = {
                "number": wave.number,
                "when": clock(wave.judged_at) if wave.judged_at else "",
                "why": "; ".join(why(one) for one in wave.unmet),
                "have": wave.states.get(MemberState.SUCCEEDED, 0),
                "next": sum(later.total for later in waves if later.state == WaveState.PLANNED),
            }
            return (
                _(
                    "Wave %(number)s stopped at %(when)s: %(why)s. %(have)s of it have what was sent, %(next)s in later waves "
                    "wait. Roll back, or find the cause and have the guard look again: it watches the wave anew, and goes on "
                    "where it holds."
                )
                % said
            )
    return _("Nobody is asked any more until somebody lets it go on; those that were asked go on by themselves.")


def _running(campaign: Campaign, waves: Sequence[selectors.WaveSeen]) -> str:
    for wave in waves:
        if wave.state == WaveState.PLANNED:
            return _("Wave %(number)s begins within seconds.") % {"number": wave.number}
        if wave.state == WaveState.RUNNING:
            due = selectors.next_turn(campaign, wave.number)
            if due is not None and due > timezone.now() and not wave.states.get(MemberState.ORDERED):
                return _("The next terminal is asked at %(when)s.") % {"when": clock(due)}
            said = {"number": wave.number, "percent": wave.guard["sample_percent"]}
            return _("Wave %(number)s is watched when %(percent)s per cent of it have an outcome.") % said
        if wave.state == WaveState.SOAKING and wave.soaks_until is not None:
            said = {"number": wave.number, "when": clock(wave.soaks_until)}
            return _("Wave %(number)s is watched until %(when)s; then its guard is judged.") % said
    if follows(campaign):
        return _("All waves hold; it goes on with terminals that come later or lose it.")
    return _("All waves hold; those that are switched off are waited for.")
