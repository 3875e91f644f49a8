"""An operator's own language and time zone: kept in a row, remembered in the session so that no page asks for them."""

from typing import Any, NamedTuple
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.decorators import staff_member_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fleet.pages.models import Preferences
from terminals.common.audit.services import record_change, values_of

SESSION_KEY = "preferences"


class Chosen(NamedTuple):
    """What an operator chose; empty means the browser's language and the server's zone."""

    language: str = ""
    time_zone: str = ""


def preferences_of(request: HttpRequest) -> Chosen:
    """Return what the logged-in operator chose; one query a session."""
    if not request.user.is_authenticated:
        return Chosen()
    known = request.session.get(SESSION_KEY)
    if known is None or known[0] != request.user.pk:
        row = Preferences.objects.filter(user=request.user.pk).first()
        known = [request.user.pk, row.language if row else "", row.time_zone if row else ""]
        request.session[SESSION_KEY] = known
    return Chosen(*known[1:])


class PreferencesForm(forms.Form):
    language = forms.ChoiceField(required=False, label=gettext_lazy("Language"))
    time_zone = forms.ChoiceField(required=False, label=gettext_lazy("Time zone"))

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["language"].choices = [("", _("the browser's language")), *settings.LANGUAGES]  # type: ignore[attr-defined]
        zones = [(name, name) for name in sorted(available_timezones()) if "/" in name or name == "UTC"]
        own = _("the server's zone, %(zone)s") % {"zone": settings.TIME_ZONE}
        self.fields["time_zone"].choices = [("", own), *zones]  # type: ignore[attr-defined]


@transaction.atomic
def _keep(user: Any, chosen: Chosen) -> None:
    before = Preferences.objects.filter(user=user).first()
    old = values_of(before) if before else {}
    kept, _created = Preferences.objects.update_or_create(user=user, defaults=chosen._asdict())
    record_change(actor=user.get_username(), action="preferences.update", instance=kept, old=old, new=values_of(kept))


@staff_member_required
def preferences_page(request: HttpRequest) -> HttpResponse:
    """Choose language and time zone for oneself."""
    form = PreferencesForm(request.POST or None, initial=preferences_of(request)._asdict())
    if request.method == "POST" and form.is_valid():
        chosen = Chosen(**form.cleaned_data)
        _keep(request.user, chosen)
        request.session[SESSION_KEY] = [request.user.pk, *chosen]
        with translation.override(chosen.language or translation.get_language_from_request(request)):
            messages.success(request, _("Your pages are in this language and time zone from now on."))
        return redirect("preferences")
    context = admin.site.each_context(request) | {
        "title": _("Language and time zone"),
        "form": form,
        "now": timezone.now(),
    }
    return render(request, "pages/preferences_page.html", context)
