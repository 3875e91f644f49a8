"""The operator's API to read: every operation of the OpenAPI document with what it needs and a curl line to try."""

import json
import re
from collections import defaultdict
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from drf_spectacular.generators import SchemaGenerator

from fleet.api import router

_METHODS = ("get", "post", "put", "patch", "delete")
_SIMPLE: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
# Bodies to start from: tried as it is, a line makes something that an operator can read. What is not here is the least
# that the schema wants.
BODIES: dict[str, dict[str, Any]] = {
    "organisations/": {"name": "Acme acquiring", "kind": "acquirer"},
    "groups/": {"name": "Pilots", "filter": "tag = pilot and online"},
    "bulk/": {"verb": "tag", "filter": "state in (registered, active)", "arguments": {"tag": "pilot"}},
    "bulk/preview/": {"verb": "lock", "filter": "not online and last_seen > 2d"},
    "campaigns/": {
        "name": "Payment 2.1",
        "kind": "install",
        "filter": "state in (registered, active)",
        "arguments": {"release": 1},
        "settings": {"waves": [{"filter": "tag = pilot"}, 1, 10, 100], "soak_minutes": 60},
    },
    "campaigns/preview/": {"kind": "install", "filter": "state = active", "arguments": {"release": 1}},
    "campaigns/{id}/approve/": {"digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    "campaigns/{id}/force/": {"reason": "one broken unit, seen on site"},
    "releases/{id}/approve/": {"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    "releases/{id}/deprecate/": {"reason": "2.2.0 is better"},
    "releases/{id}/withdraw/": {"reason": "it breaks printers"},
    "releases/{id}/bill-of-materials/": {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "components": [{"type": "library", "name": "openssl", "version": "3.0.7", "bom-ref": "openssl"}],
        "vulnerabilities": [
            {"id": "CVE-2026-1234", "ratings": [{"severity": "high"}], "affects": [{"ref": "openssl"}]}
        ],
    },
    "merchants/": {"name": "Corner bakery", "mid": "000000012345678"},
    "packages/": {"name": "acme-pay", "description": "Payment application"},
    "parameters/templates/": {
        "name": "till",
        "schema": {"properties": {"tip_enabled": {"type": "boolean"}, "receipt_header": {"type": "string"}}},
    },
    "parameters/values/": {"template": "till", "store": 1, "values": {"receipt_header": "Corner bakery"}},
    "parameters/values/preview/": {"template": "till", "store": 1, "values": {"tip_enabled": True}},
    "settlement/plans/": {"name": "Every night", "settings": {"cycle": "30 22 * * *", "amount_limits": {"EUR": 50000}}},
    "settlement/calendars/": {
        "name": "Portugal",
        "country": "PT",
        "weekend": [6, 7],
        "closed_days": {"2026-12-24": "Eve"},
    },
    "settlement/cases/{id}/close/": {"resolution": "host_error", "note": "the host was down"},
    "settlement/cases/{id}/write/": {"note": "asked the merchant for the voucher"},
    "settlement/cases/{id}/send_back/": {"note": "show me the voucher"},
    "settlement/cases/{id}/reopen/": {"note": "the merchant wrote again"},
    "settlement/risk-rules/": {"signal": "velocity", "settings": {"count": 12}, "enabled": True},
    "settlement/risk-rules/trial/": {
        "signal": "off_hours",
        "settings": {"from_hour": 0, "to_hour": 5, "count": 3},
        "days": 30,
    },
    "settlement/reports/": {"level": "merchant", "period": "last_month", "by_day": True, "format": "xlsx"},
    "settlement/reports/figures/": {"level": "store", "period": "yesterday"},
    "settlement/closes/": {"organisation": 1, "day": "2026-11-25"},
    "settlement/report-schedules/": {
        "name": "Every morning",
        "spec": {"level": "merchant", "period": "yesterday"},
        "format": "pdf",
        "recipients": ["finance@example.com"],
        "crontab": "0 6 * * 1-5",
        "time_zone": "Europe/Lisbon",
    },
    "settlement/credit-profiles/": {
        "organisation": 1,
        "name": "House bank",
        "format": "camt",
        "settings": {"reference": "TID {tid} BATCH {batch}"},
    },
    "settlement/levels/": {"store": 1, "settings": {"cut_off": "23:00"}},
    "settlement/accounts/": {"merchant": 1, "holder": "Corner bakery", "number": "PT50000201231234567890154"},
    "stores/": {"merchant": 1, "name": "Ribeira", "city": "Porto", "time_zone": "Europe/Lisbon"},
    "terminal-models/": {"vendor": "Acme", "name": "Counter 500", "platform": "linux-arm64"},
    "terminals/": {"serial": "SN-100200", "model": 1, "store": 1, "tid": "00000001"},
    "terminals/register/": {"terminals": [{"serial": "SN-100201", "model": 1, "store": 1}]},
    "terminals/{id}/replace/": {"serial": "SN-100300"},
    "terminals/claim/": {"serial": "SN-100200", "code": "K7QX2-..."},
    "enrolment-requests/{id}/approve/": {"store": 1, "model": 1, "tid": "00000001"},
    "terminals/{id}/commands/": {"type": "ping"},
    "terminals/{id}/resume/": {"reason": "found again"},
    "terminals/{id}/retire/": {"reason": "broken"},
    "terminals/{id}/suspend/": {"reason": "lost"},
}
_FORM = {"version": "2.1.0", "platform": "linux-arm64", "artifact": "@file", "file": "@shops.csv"}


class Operation(NamedTuple):
    """One operation as the page shows it."""

    method: str
    path: str
    told: str
    parameters: list[dict[str, Any]]
    curl: str


@staff_member_required
def api_reference(request: HttpRequest) -> HttpResponse:
    """Show the API's operations by resource."""
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    groups: dict[str, list[Operation]] = defaultdict(list)
    resources = {prefix: (view.__doc__ or "").strip() for prefix, view, _name in router.registry}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                groups[path.removeprefix("/api/v1/").split("{")[0].strip("/")].append(
                    _operation(document, path, method, methods[method])
                )
    context = admin.site.each_context(request) | {
        "title": _("API reference"),
        "groups": [
            (
                name,
                resources.get(name, ""),
                [one._replace(told="") if one.told == resources.get(name) else one for one in operations],
            )
            for name, operations in groups.items()
        ],
        "address": settings.PUBLIC_URL,
    }
    return render(request, "pages/reference_page.html", context)


def _operation(document: dict[str, Any], path: str, method: str, described: dict[str, Any]) -> Operation:
    parts = ["curl" if method == "get" else f"curl -X {method.upper()}", '-H "Authorization: Bearer $TOKEN"']
    content = described.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        at = path.removeprefix("/api/v1/")
        body = BODIES.get(at if method == "post" else at.removesuffix("{id}/"))
        body = body or _example(document, content["application/json"]["schema"])
        parts += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body)}'"]
    elif "multipart/form-data" in content:
        body = _example(document, content["multipart/form-data"]["schema"])
        parts += [f"-F {name}={_FORM.get(name, value)}" for name, value in body.items()]
    parts.append(settings.PUBLIC_URL + re.sub(r"\{(\w+)\}", lambda name: f"${name[1].upper()}", path))
    told = described.get("description", "").strip()
    curl = " \\\n  ".join(parts)
    return Operation(method.upper(), path, told, described.get("parameters", []), curl)


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Return the smallest body that a schema wants, to start from."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for choice in ("allOf", "oneOf", "anyOf"):
        if choice in schema:
            return _example(document, schema[choice][0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "")
    kind = kind[0] if isinstance(kind, list) else kind  # ["string", "null"]
    if kind == "object":
        members = schema.get("properties", {})
        wanted = [name for name in schema.get("required", members) if not members.get(name, {}).get("readOnly")]
        known = [name for name in wanted if name in members]
        return {name: _example(document, members[name]) for name in known}
    if kind == "array":
        return [_example(document, schema["items"])]
    return _SIMPLE.get(kind, "...")
