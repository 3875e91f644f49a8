"""A campaign as people type it: what is moved, to whom, how carefully, and when terminals may be touched."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from firmware.selectors import sendable
from terminals.campaigns.settings import SETTINGS
from terminals.common.admin_base import InteroperableJSONField
from terminals.common.errors import Refusal
from terminals.common.scope import within
from terminals.common.words import word
from terminals.keys.models import USAGES
from terminals.link.services import PLAIN_COMMANDS

MOST_CHOICES = 500
DAYS = [
    (1, gettext_lazy("Mon")),
    (2, gettext_lazy("Tue")),
    (3, gettext_lazy("Wed")),
    (4, gettext_lazy("Thu")),
    (5, gettext_lazy("Fri")),
    (6, gettext_lazy("Sat")),
    (7, gettext_lazy("Sun")),
]


CONDITIONS = [
    ("idle", gettext_lazy("no payment is under way")),
    ("no_open_batch", gettext_lazy("no batch is open")),
    ("settle_first", gettext_lazy("it has settled its open batch: it does so itself, before it begins")),
    ("charging", gettext_lazy("it is charging")),
    ("wifi", gettext_lazy("it is on Wi-Fi or a cable")),
]


# A kind, and the field that says what it moves.
KINDS = (("install", "release"), ("command", "command"), ("deliver_key", "usage"), ("configure", "values"))


class ValuesField(InteroperableJSONField):
    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


class CampaignForm(forms.Form):
    """What is moved, to whom, and how carefully."""

    name = forms.CharField(max_length=80, label=gettext_lazy("Name"))
    release = forms.TypedChoiceField(
        coerce=int, empty_value=None, required=False, label=gettext_lazy("Release, or none:")
    )
    then = forms.TypedChoiceField(
        coerce=int, empty_value=None, required=False, label=gettext_lazy("when it runs, this release after it")
    )
    then_last = forms.TypedChoiceField(
        coerce=int, empty_value=None, required=False, label=gettext_lazy("and this one at last")
    )
    downgrade = forms.BooleanField(required=False, label=gettext_lazy("It may replace a newer version"))
    command = forms.ChoiceField(required=False, label=gettext_lazy("a command instead"))
    usage = forms.ChoiceField(required=False, label=gettext_lazy("or a new key of this usage"))
    values = ValuesField(
        required=False,
        label=gettext_lazy("or parameters to set (JSON)"),
        widget=forms.Textarea({"rows": 2, "placeholder": '{"tip_enabled": true}'}),
    )
    filter = forms.CharField(max_length=2000, label=gettext_lazy("Terminals"), widget=forms.Textarea({"rows": 2}))
    follows = forms.BooleanField(
        required=False,
        label=gettext_lazy("Also those that come to pass this later, or lose it: it goes on until cancelled"),
    )
    first = forms.CharField(
        max_length=4000,
        required=False,
        label=gettext_lazy("These first (a filter a line, a wave each)"),
        widget=forms.Textarea({"rows": 2, "placeholder": "tag = pilot"}),
    )
    waves = forms.CharField(max_length=200, initial="1, 10, 100", label=gettext_lazy("Waves, per cent in all"))
    success_percent = forms.IntegerField(
        min_value=0, max_value=100, initial=95, label=gettext_lazy("Must succeed, per cent")
    )
    sample_percent = forms.IntegerField(
        min_value=1, max_value=100, initial=80, label=gettext_lazy("Outcomes that are waited for, per cent of a wave")
    )
    soak_minutes = forms.IntegerField(
        min_value=0, max_value=43_200, initial=60, label=gettext_lazy("Then watched for, minutes")
    )
    worse_percent = forms.IntegerField(
        min_value=0, max_value=100, initial=2, label=gettext_lazy("Faults may grow by, per cent of a wave")
    )
    days = forms.TypedMultipleChoiceField(
        coerce=int, choices=DAYS, required=False, label=gettext_lazy("Only on"), widget=forms.CheckboxSelectMultiple
    )
    opens = forms.CharField(
        max_length=5,
        required=False,
        label=gettext_lazy("from (each terminal's own clock)"),
        widget=forms.TimeInput({"type": "time"}),
    )
    closes = forms.CharField(
        max_length=5, required=False, label=gettext_lazy("to"), widget=forms.TimeInput({"type": "time"})
    )
    download_ahead = forms.BooleanField(required=False, label=gettext_lazy("Download before, change within that time"))
    conditions = forms.MultipleChoiceField(
        choices=CONDITIONS, required=False, label=gettext_lazy("Only while"), widget=forms.CheckboxSelectMultiple
    )
    battery_percent = forms.IntegerField(
        min_value=0, max_value=100, initial=0, label=gettext_lazy("and the battery has at least, per cent")
    )
    per_minute = forms.IntegerField(
        min_value=1, max_value=100_000, initial=600, label=gettext_lazy("Asked, at most a minute")
    )
    retries = forms.IntegerField(min_value=0, max_value=20, initial=2, label=gettext_lazy("Tried again, times"))
    timeout_minutes = forms.IntegerField(
        min_value=1, max_value=4320, initial=120, label=gettext_lazy("Must be back within, minutes")
    )
    deadline_days = forms.IntegerField(
        min_value=1, max_value=180, initial=14, label=gettext_lazy("Those switched off are waited for, days")
    )

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        releases = within(sendable(), user, "firmware.view_release")
        fields: Any = self.fields
        choices = [("", "---"), *((row.pk, str(row)) for row in releases[:MOST_CHOICES])]
        for name in ("release", "then", "then_last"):
            fields[name].choices = choices
        fields["usage"].choices = [("", "---"), *USAGES]
        fields["command"].choices = [("", "---"), *((name, word(name)) for name in PLAIN_COMMANDS)]

    @property
    def wanted(self) -> dict[str, Any]:
        """What the services are asked for. Raises Refusal for waves that are no numbers."""
        said = self.cleaned_data
        window = {name: said[name] for name in ("days", "opens", "closes")} if said["opens"] or said["closes"] else None
        if window is None and said["days"]:  # whole days
            window = {"days": said["days"], "opens": "00:00", "closes": "23:59"}
        if window is not None and not window["days"]:
            window["days"] = [day for day, _name in DAYS]
        settings: dict[str, Any] = {name: said[name] for name in SETTINGS if name in said}
        chosen = set(said["conditions"])
        settings["conditions"] = {
            **dict.fromkeys(sorted(chosen - {"wifi"}), True),
            "battery_percent": said["battery_percent"] or 0,
            "networks": ["ethernet", "wifi"] if "wifi" in chosen else [],
        }
        first = [{"filter": line.strip()} for line in said["first"].splitlines() if line.strip()]
        settings |= {"waves": [*first, *_waves(said["waves"])], "window": window}
        kind, arguments = self._moved()
        return {"kind": kind, "arguments": arguments, "text": said["filter"], "settings": settings}

    def _moved(self) -> tuple[str, dict[str, Any]]:
        """Return the kind that was chosen, and its arguments. Raises Refusal where it is not just one."""
        said = self.cleaned_data
        chosen = [(kind, {name: said[name]}) for kind, name in KINDS if said[name]]
        if len(chosen) != 1:
            raise Refusal("bad_campaign", "choose a release, a command, a key or parameters: one of them")
        kind, arguments = chosen[0]
        then = [said[name] for name in ("then", "then_last") if said[name]]
        if kind == "install":
            arguments |= {"downgrade": said["downgrade"], "then": then}
        elif then:
            raise Refusal("bad_campaign", "a release that goes after another needs that other one")
        return kind, arguments


WAVE = re.compile(r"([0-9]{1,7})\s*(%|terminals?|台)?")


def _waves(text: str) -> list[dict[str, Any]]:
    """Read waves as people write them: `20 terminals, 10 %, 100 %`, or plain numbers, which are per cent."""
    found = [WAVE.fullmatch(part.strip()) for part in text.split(",")]
    if not all(found):
        raise Refusal("bad_campaign", "write the waves as percentages, for example 1, 10, 100; or 20 terminals, 100")
    return [{"percent" if match[2] in (None, "%") else "number": int(match[1])} for match in found if match]
