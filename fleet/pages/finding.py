"""One box for everything: `/` on any page leads here."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from fleet.pages.guards import staff_with
from fleet.pages.selectors import PARTS, VIEW
from terminals.common.scope import within
from terminals.estate.models import Merchant, Store, Terminal
from terminals.estate.selectors import containing, find_terminals
from terminals.settlement.models import Batch

MOST = 10  # of each kind
LONGEST = 100


@staff_with(VIEW)
@require_GET
def find_page(request: HttpRequest) -> HttpResponse:
    """Terminals by serial, TID or store, merchants by name or MID, stores by name or city, batches by number."""
    text = request.GET.get("q", "").strip()[:LONGEST]
    context = admin.site.each_context(request) | {
        "title": _("Find"),
        "text": text,
        "most": MOST,
        "kinds": [kind for kind in _found(request.user, text) if kind[1]] if text else [],
    }
    return render(request, "pages/find_page.html", context)


def _found(user: Any, text: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return (kind, rows of address, name and what tells it from others)."""
    terminals = find_terminals(within(Terminal.objects.select_related("store__merchant"), user, VIEW), text)
    merchants = within(Merchant.objects.all(), user, "terminals.view_merchant")
    merchants = merchants.filter(Q(name__icontains=text) | Q(mid__istartswith=text))
    stores = within(Store.objects.select_related("merchant"), user, "terminals.view_store")
    stores = containing(stores, "name", text) | stores.filter(city__istartswith=text)
    return [
        (
            _("Terminals"),
            [
                (
                    reverse("terminal-page", args=[one.pk]),
                    one.serial,
                    " · ".join(filter(None, (str(one.store), one.tid))),
                )
                for one in terminals.order_by("serial")[:MOST]
            ],
        ),
        (
            _("Merchants"),
            [(_list(f'merchant = "{one.name}"'), one.name, one.mid) for one in merchants.order_by("name")[:MOST]],
        ),
        (
            _("Stores"),
            [(_list(f'store = "{one.name}"'), str(one), one.city) for one in stores.order_by("name")[:MOST]],
        ),
        (_("Batches"), [_batch(one) for one in _batches(user, text)]),
    ]


def _list(text: str) -> str:
    return reverse("admin:terminals_terminal_changelist", query={"filter": text})


def _batches(user: Any, text: str) -> QuerySet[Batch]:
    rows = within(Batch.objects.select_related("terminal"), user, PARTS["money"])
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None
    return rows.filter(batch_number=number).order_by("-id")[:MOST] if number else rows.none()


def _batch(batch: Batch) -> tuple[str, str, str]:
    address = reverse("admin:settlement_batch_change", args=[batch.pk])
    return address, _("batch %(number)s") % {"number": f"{batch.batch_number:06}"}, batch.terminal.serial
