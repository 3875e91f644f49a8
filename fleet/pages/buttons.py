"""What a button of an object's page does: its permission is asked where the object stands, its answer is told on the page."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from terminals.common.errors import Refusal
from terminals.common.fresh import require_fresh_login
from terminals.common.scope import holds
from terminals.common.words import sentence


class Button(NamedTuple):
    """What a press needs and does; `do` returns what is told. What only stops something asks nobody to log in once more."""

    permission: str
    do: Callable[[HttpRequest, Any], str]
    stops: bool = False


def press(request: HttpRequest, row: Model, buttons: Mapping[str, Button], page: str) -> HttpResponse:
    """Do what the button named by `action` does, and lead back to the object's page."""
    button = buttons.get(request.POST.get("action", ""))
    if button is None or not holds(request.user, button.permission, row):
        raise PermissionDenied
    if not button.stops:
        require_fresh_login(request, button.permission)
    try:
        messages.success(request, button.do(request, row))
    except Refusal as refusal:
        messages.error(request, sentence(refusal))
    return redirect(page, row.pk)
