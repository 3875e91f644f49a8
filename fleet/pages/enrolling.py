"""From the office to the shop: sheets of activation codes, claiming a device on a phone, letting in devices that wait."""

from typing import Any

import qrcode
import qrcode.image.svg
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from fleet.pages.guards import staff_with
from fleet.pages.views import MOST_CHOICES
from terminals.common.errors import Refusal
from terminals.common.scope import holds, within
from terminals.common.words import sentence
from terminals.enrolment import queue
from terminals.enrolment.codes import CLAIM, CODE_LIFETIME, ISSUE_CODE, OtherSerial, claim, issue_codes
from terminals.enrolment.models import EnrolmentRequest
from terminals.enrolment.rules import RequestState
from terminals.estate.models import Store, Terminal, TerminalModel
from terminals.estate.rules import TerminalState
from terminals.estate.services import REGISTER
from terminals.estate.targets.choosing import matching

MOST_ON_A_SHEET = 200
AT_ONCE = gettext_lazy("Somebody else, or the terminal itself, did the same at this moment. Look again.")


class SheetForm(forms.Form):
    filter = forms.CharField(max_length=2000, label=gettext_lazy("Terminals"), widget=forms.Textarea({"rows": 2}))


@staff_with(ISSUE_CODE)
def code_sheet(request: HttpRequest) -> HttpResponse:
    """Say for how many registered terminals a filter would issue codes; then issue them, on a sheet to print, shown once."""
    form = SheetForm(request.POST or None, initial={"filter": request.GET.get("filter", "state = registered")})
    context: dict[str, Any] = {"title": _("Activation codes"), "form": form, "most": MOST_ON_A_SHEET}
    if request.method == "POST" and form.is_valid():
        try:
            chosen = _to_enrol(request, form.cleaned_data["filter"])
            if "issue" in request.POST:
                return _sheet(request, chosen)
            context |= {"number": len(chosen), "serials": [terminal.serial for terminal in chosen[:5]]}
        except Refusal as refusal:
            form.add_error("filter", sentence(refusal))
    return render(request, "pages/code_sheet_form.html", admin.site.each_context(request) | context)


def _to_enrol(request: HttpRequest, text: str) -> list[Terminal]:
    """Return the terminals of a filter that never enrolled, where the operator may issue codes; at most a sheet of them."""
    fit = within(Terminal.objects.filter(state=TerminalState.REGISTERED), request.user, ISSUE_CODE)
    rows = matching(fit, text, request.user).select_related("store__merchant", "model")
    chosen = list(rows.order_by("store__merchant__name", "store__name", "serial")[: MOST_ON_A_SHEET + 1])
    if len(chosen) > MOST_ON_A_SHEET:
        raise Refusal("too_many", "a sheet has at most %(most)s codes; narrow the filter", most=MOST_ON_A_SHEET)
    if not chosen:
        raise Refusal("no_terminal", "no terminal that has not enrolled yet passes the filter")
    return chosen


def _sheet(request: HttpRequest, terminals: list[Terminal]) -> HttpResponse:
    codes = issue_codes(terminal_ids=[one.pk for one in terminals], actor=request.user.get_username())
    slips = [(terminal, codes[terminal.pk], qr_code(terminal.serial, codes[terminal.pk])) for terminal in terminals]
    context = {"title": _("Activation codes"), "slips": slips, "expires_at": timezone.now() + CODE_LIFETIME}
    response = render(request, "pages/code_sheet.html", admin.site.each_context(request) | context)
    response["Cache-Control"] = "no-store"
    return response


def qr_code(serial: str, code: str) -> SafeString:
    """Return a QR code as SVG: the claim page's address. What stands behind the # no browser sends to a server."""
    text = f"{settings.PUBLIC_URL}/admin/claim/#{serial}/{code}"
    code_image = qrcode.QRCode(image_factory=qrcode.image.svg.SvgPathImage, border=2)
    code_image.add_data(text)
    drawing: str = code_image.make_image().to_string().decode()
    return mark_safe(drawing)  # noqa: S308 - squares


class ClaimForm(forms.Form):
    serial = forms.CharField(
        max_length=32,
        label=gettext_lazy("Serial on the device"),
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}),
    )
    code = forms.CharField(
        max_length=60,
        label=gettext_lazy("Activation code on the slip"),
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}),
    )


@staff_with(CLAIM)
def claim_page(request: HttpRequest) -> HttpResponse:
    """On a phone, at the device: its serial and the code of the slip; told is which terminal that makes it."""
    form = ClaimForm(request.POST or None)
    context: dict[str, Any] = {"title": _("Install a terminal"), "form": form}
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        serial = said["serial"].strip()
        try:
            context["claimed"] = claim(
                code=said["code"], serial=serial, in_place="in_place" in request.POST, user=request.user
            )
        except OtherSerial as refusal:
            context |= {"other": refusal.values, "told": sentence(refusal)}
        except Refusal as refusal:
            form.add_error(None, sentence(refusal))
        except IntegrityError:
            form.add_error(None, AT_ONCE)
    response = render(request, "pages/claim_page.html", admin.site.each_context(request) | context)
    response["Cache-Control"] = "no-store"
    return response


@staff_with(CLAIM)
@require_GET
def claim_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """Whether the device that was just claimed has enrolled and is heard."""
    seen = within(Terminal.objects.select_related("session"), request.user, CLAIM)
    return render(request, "pages/claim_progress.html", {"claimed": get_object_or_404(seen, pk=pk)})


class PlaceForm(forms.Form):
    store = forms.TypedChoiceField(coerce=int, label=gettext_lazy("Store"))
    model = forms.ModelChoiceField(TerminalModel.objects.all(), label=gettext_lazy("Model"))
    tid = forms.CharField(max_length=8, required=False, label="TID")

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stores = within(Store.objects.select_related("merchant"), user, REGISTER)
        fields: Any = self.fields
        fields["store"].choices = [("", "---------"), *((store.pk, str(store)) for store in stores[:MOST_CHOICES])]


@staff_with(queue.DECIDE)
def waiting_page(request: HttpRequest, pk: int) -> HttpResponse:
    """One device that waits: let it in at a store, or send it away."""
    waiting = get_object_or_404(within(EnrolmentRequest.objects.all(), request.user, queue.DECIDE), pk=pk)
    form = PlaceForm(request.user, request.POST if "approve" in request.POST else None)
    actor = request.user.get_username()
    try:
        if "reject" in request.POST:
            queue.reject(request=waiting, actor=actor)
            messages.success(request, _("%(device)s was sent away.") % {"device": waiting})
            return redirect("admin:enrolment_enrolmentrequest_changelist")
        if "approve" in request.POST and form.is_valid():
            said = form.cleaned_data
            store = Store.objects.get(pk=said["store"])
            terminal = queue.approve(
                request=waiting, store=store, model=said["model"], tid=said["tid"], user=request.user
            )
            messages.success(request, _("It is let in, and enrols when it asks again."))
            return redirect("terminal-page", pk=terminal.pk)
    except Refusal as refusal:
        form.add_error(None, sentence(refusal)) if form.is_bound else messages.error(request, sentence(refusal))
    except IntegrityError:
        form.add_error(None, AT_ONCE)
    same = EnrolmentRequest.objects.filter(serial=waiting.serial).exclude(pk=waiting.pk).count()
    context = {
        "title": str(waiting),
        "waiting": waiting,
        "form": form,
        "same": same,
        "open": waiting.state == RequestState.WAITING and holds(request.user, REGISTER),
    }
    return render(request, "pages/waiting_page.html", admin.site.each_context(request) | context)
