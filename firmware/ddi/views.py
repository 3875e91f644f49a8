"""DDI's addresses: parsed here, done by services. https://eclipse.dev/hawkbit/apis/ddi_api/"""

import json
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from firmware.ddi import services
from firmware.downloads import AWAY_SECONDS
from firmware.models import DdiToken
from terminals.common.api.parsers import parse_json
from terminals.common.bodies import body_of
from terminals.common.errors import Refusal

logger = logging.getLogger(__name__)
MAX_BODY_BYTES = 64 * 1024
LARGEST_ACTION = 2**62
View = Callable[..., HttpResponse]
HAL = "application/hal+json"


def _device_view(*methods: str) -> Callable[[View], Any]:
    """Let a view answer a device that proved its name; where DDI is off, or for another tenant, there is nothing."""

    def wrap(view: View) -> Any:
        @csrf_exempt  # no session stands behind it: the token is the credential
        @require_http_methods(list(methods))
        @wraps(view)
        def answered(request: HttpRequest, tenant: str, name: str, **more: int) -> HttpResponse:
            if not settings.HAWKBIT_DDI or tenant != settings.HAWKBIT_TENANT:
                raise Http404
            if any(number > LARGEST_ACTION for number in more.values()):
                raise Http404
            header = settings.HAWKBIT_CERTIFICATE_HEADER
            certificate = request.headers.get(header, "") if header and settings.BEHIND_PROXY else ""
            try:
                device = services.device_of(name, request.headers.get("Authorization", ""), certificate)
                return view(request, device, **more)
            except Refusal as refusal:
                status = 401 if refusal.reason == "unauthorized" else 404 if refusal.reason == "unknown_action" else 400
                body = {"exceptionClass": refusal.reason, "errorCode": refusal.reason, "message": refusal.detail}
                return JsonResponse(body, status=status)
            except FileNotFoundError:
                raise  # an error of ours, and no reason to come back
            except OSError as error:  # of the storage, of which a digest is asked
                logger.warning("%s: the file of its release cannot be read now: %s", name, error)
                return JsonResponse({}, status=503, headers={"Retry-After": str(AWAY_SECONDS)})

        return answered

    return wrap


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        said = parse_json(body_of(request, MAX_BODY_BYTES).decode())
    except ValueError as error:
        raise Refusal("bad_request", "the body is no JSON: %(error)s", error=error) from None
    if not isinstance(said, dict):
        raise Refusal("bad_request", "the body is no JSON object")
    return said


def _link(request: HttpRequest, device: DdiToken, *parts: object) -> dict[str, str]:
    base = f"{settings.PUBLIC_URL}/{settings.HAWKBIT_TENANT}/controller/v1/{device.terminal.device_id}"
    return {"href": "/".join([base, *map(str, parts)])}


def _hal(body: dict[str, Any]) -> HttpResponse:
    return HttpResponse(json.dumps(body), content_type=HAL)


@_device_view("GET")
def base(request: HttpRequest, device: DdiToken) -> HttpResponse:
    """What there is to do, and when to ask again."""
    services.note_poll(device, timezone.now())
    links: dict[str, Any] = {"confirmationBase": _link(request, device, "confirmationBase")}
    if not services.is_described(device):
        links["configData"] = _link(request, device, "configData")
    if (cancelled := services.cancelled_action(device)) is not None:
        links["cancelAction"] = _link(request, device, "cancelAction", cancelled)
    elif (action := services.current_action(device)) is not None:
        links["deploymentBase"] = _link(request, device, "deploymentBase", action.pk)
    return _hal({"config": {"polling": {"sleep": services.sleep()}}, "_links": links})


@_device_view("GET")
def deployment(request: HttpRequest, device: DdiToken, action: int) -> HttpResponse:
    body = services.deployment(device, action)
    if body is None:
        raise Refusal("unknown_action", "there is no such action of this device")
    return _hal(body)


@_device_view("POST")
def feedback(request: HttpRequest, device: DdiToken, action: int) -> HttpResponse:
    status = _body(request).get("status")
    services.take_feedback(device, action, status if isinstance(status, dict) else {})
    return HttpResponse()


@_device_view("GET")
def cancel(request: HttpRequest, device: DdiToken, action: int) -> HttpResponse:
    if services.cancelled_action(device) != action:
        raise Refusal("unknown_action", "there is no such action of this device")
    return _hal({"id": str(action), "cancelAction": {"stopId": str(action)}})


@_device_view("POST")
def cancel_feedback(request: HttpRequest, device: DdiToken, action: int) -> HttpResponse:
    _body(request)
    services.confirm_cancel(device, action)
    return HttpResponse()


@_device_view("PUT")
def config_data(request: HttpRequest, device: DdiToken) -> HttpResponse:
    data = _body(request).get("data")
    services.take_attributes(device, data if isinstance(data, dict) else {})
    return HttpResponse()


@_device_view("GET")
def confirmation(request: HttpRequest, device: DdiToken) -> HttpResponse:
    """Operators have agreed to what is sent: nobody at the device is asked."""
    return _hal({"autoConfirm": {"active": True}, "_links": {}})


@_device_view("POST")
def confirmation_feedback(request: HttpRequest, device: DdiToken, action: int) -> HttpResponse:
    """A device that says no does not get it."""
    said = _body(request)
    if said.get("confirmation") == "denied":
        services.take_feedback(device, action, {"execution": "rejected", "details": said.get("details")})
    return HttpResponse()


AT = "<str:tenant>/controller/v1/<str:name>"
urlpatterns = [
    path(AT, base, name="ddi-base"),
    path(f"{AT}/deploymentBase/<int:action>", deployment, name="ddi-deployment"),
    path(f"{AT}/deploymentBase/<int:action>/feedback", feedback, name="ddi-feedback"),
    path(f"{AT}/cancelAction/<int:action>", cancel, name="ddi-cancel"),
    path(f"{AT}/cancelAction/<int:action>/feedback", cancel_feedback, name="ddi-cancel-feedback"),
    path(f"{AT}/configData", config_data, name="ddi-config"),
    path(f"{AT}/confirmationBase", confirmation, name="ddi-confirmation"),
    path(f"{AT}/confirmationBase/<int:action>/feedback", confirmation_feedback, name="ddi-confirmation-feedback"),
]
