"""A credit profile as people type it: a field for each setting, fees in percent, methods a line each."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from terminals.common.errors import Refusal
from terminals.common.words import lazy_word, sentence
from terminals.settlement.credits import rules
from terminals.settlement.credits.models import CreditProfile
from terminals.settlement.credits.services import refuse_moved_profile

COLUMN_LABELS = {
    "tid": _("Column of the TID"),
    "mid": _("Column of the MID"),
    "batch": _("Column of the batch number"),
    "reference": _("Column of a reference"),
    "net": _("Column of the net amount"),
    "gross": _("Column of the gross amount"),
    "fee": _("Column of the fee"),
    "currency": _("Column of the currency"),
    "value_date": _("Column of the value date"),
    "account": _("Column of the account"),
    "method": _("Column of the method"),
    "entry_id": _("Column of the entry's own id"),
}
CHOICES: dict[str, list[tuple[str, Any]]] = {
    "delimiter": [(name, lazy_word(name)) for name in rules.DELIMITERS],
    "encoding": [(name, name) for name in rules.ENCODINGS],
    "decimal_mark": [(name, lazy_word(name)) for name in rules.DECIMAL_MARKS],
    "amounts": [("major", _("major units, 12.34")), ("minor", _("minor units, 1234"))],
    "date_format": [(name, name) for name in rules.DATE_FORMATS],
}
LABELS = {
    "delimiter": _("Delimiter"),
    "encoding": _("Encoding"),
    "decimal_mark": _("Decimal mark"),
    "amounts": _("Amounts in"),
    "date_format": _("Days"),
}
OF_CSV = [*LABELS, "currency", *(f"column_{name}" for name in rules.COLUMNS), "methods"]


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    """How files of one sender are read."""

    reference = forms.CharField(
        max_length=rules.LONGEST_TEXT,
        required=False,
        label=_("Form of the reference"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_(
            "Where a text names terminal and batch, for example TID {tid} BATCH {batch}; {mid} may stand there"
        ),
    )
    fee_percent = forms.CharField(
        max_length=6,
        required=False,
        label=_("Fee that is not told (%)"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("So much less may arrive where the file does not say the fee, for example 1.25; empty for nothing"),
    )
    currency = forms.CharField(
        max_length=3,
        required=False,
        label=_("Currency"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("Where no column tells it"),
    )
    methods = forms.CharField(
        max_length=4000,
        required=False,
        label=_("Methods"),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text=_("What the file says and what is meant, a line each: VISA = card/visa"),
    )

    class Meta:
        model = CreditProfile
        fields = ["organisation", "name", "format"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        said = self.instance.settings
        for name, label in LABELS.items():
            self.fields[name] = forms.ChoiceField(choices=CHOICES[name], label=label, widget=UnfoldAdminSelectWidget)
            self.initial[name] = said.get(name, rules.SETTINGS[name].default)
        for name, column_label in COLUMN_LABELS.items():
            self.fields[f"column_{name}"] = forms.CharField(
                max_length=rules.LONGEST_TEXT, required=False, label=column_label, widget=UnfoldAdminTextInputWidget
            )
            self.initial[f"column_{name}"] = said.get("columns", {}).get(name, "")
        self.initial["reference"], self.initial["currency"] = said.get("reference", ""), said.get("currency", "")
        self.initial["methods"] = "\n".join(f"{told} = {meant}" for told, meant in said.get("methods", {}).items())
        self.initial["fee_percent"] = f"{said['fee_most_bp'] / 100:g}" if said.get("fee_most_bp") else ""

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        organisation = values.get("organisation")
        try:
            if self.instance.pk:
                present = CreditProfile.objects.get(pk=self.instance.pk)
                moved = {"organisation_id": organisation.pk if organisation else None}
                refuse_moved_profile(present, **moved, file_format=values.get("format", present.format))
            settings = {
                **{name: values.get(name, "") for name in ("reference", "currency", *LABELS)},
                "columns": {name: values.get(f"column_{name}") or "" for name in rules.COLUMNS},
                "methods": _methods(values.get("methods", "")),
                "fee_most_bp": _basis_points(values.get("fee_percent", "")),
            }
            self.instance.settings = rules.checked(values.get("format", ""), settings)
        except Refusal as refusal:
            self.add_error(None, sentence(refusal))
        return values


def _methods(text: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    return {said.strip(): meant.strip() for said, _equals, meant in pairs}


def _basis_points(text: str) -> int:
    if not text.strip():
        return 0
    try:
        points = Decimal(text.strip().rstrip("%").strip()) * 100
        whole = int(points)
    except (InvalidOperation, ValueError, OverflowError):
        raise Refusal(
            "bad_profile", "%(text)s is no percentage; write for example 1.25", text=repr(text[:20])
        ) from None
    if whole != points:
        raise Refusal("bad_profile", "a percentage has at most two decimals")
    return whole
