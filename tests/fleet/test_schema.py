"""Whatever the OpenAPI document allows, and more, is thrown at the API: it may refuse, it must not fail."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import schemathesis
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient
from schemathesis.core import NOT_SET

from terminals.estate.models import Terminal

generator: Any = SchemaGenerator
described: Any = schemathesis.openapi.from_dict(generator().get_schema(request=None, public=True))
operations: dict[str, Any] = {result.ok().label: result.ok() for result in described.get_all_operations()}


@pytest.mark.parametrize("label", operations)
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_makes_the_server_fail(
    api: APIClient, register: Callable[[str], Terminal], label: str, data: st.DataObject
) -> None:
    case: Any = data.draw(operations[label].as_strategy())
    terminal = Terminal.objects.first() or register("SN-1")
    path = case.operation.full_path
    for name, value in (case.path_parameters or {}).items():
        there = terminal.pk if data.draw(st.booleans()) else value
        path = path.replace(f"{{{name}}}", quote(str(there), safe=""))
    query = urlencode(case.query or {}, doseq=True, errors="replace")
    body = "" if case.body is NOT_SET else json.dumps(case.body, default=str)
    answer = api.generic(case.method, f"{path}?{query}", body, content_type="application/json")
    assert answer.status_code < 500
    if answer.status_code >= 400 and "json" in answer["Content-Type"]:
        assert answer["Content-Type"] == "application/problem+json"
