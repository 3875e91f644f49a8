"""The API's reference: what stands there can be tried as it is."""

from collections.abc import Callable
from typing import Any

from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from fleet.pages.reference import BODIES
from terminals.estate.models import Organisation, Terminal
from tests.terminals.campaigns.conftest import publish


def test_every_body_of_the_reference_is_accepted(
    api: APIClient, register: Callable[[str], Terminal], settings: Any
) -> None:
    settings.EMAIL_URL = "smtp://localhost"  # without a mail server no report can be scheduled
    terminal = register("SN-1")
    Terminal.objects.update(tags=["pilot"])
    rows: dict[str, Any] = {
        "merchant": terminal.store.merchant_id,
        "store": terminal.store_id,
        "model": terminal.model_id,
    }
    rows["organisation"] = Organisation.objects.create(name="Of the test").pk
    rows["arguments"] = {"release": publish("2.0.0").pk}  # of a campaign; a tag has others
    for path, body in BODIES.items():
        if "{id}" in path or "claim" in path:  # whose code is shown once
            continue
        ours = rows if path.startswith("campaigns/") else {**rows, "arguments": body.get("arguments")}
        wanted = {name: ours.get(name, value) for name, value in body.items()}
        answer = api.post(f"/api/v1/{path}", wanted, format="json")
        assert answer.status_code in (200, 201, 202), (path, answer.json())
    for verb in ("suspend", "resume", "retire"):
        answer = api.post(
            f"/api/v1/terminals/{terminal.pk}/{verb}/", BODIES[f"terminals/{{id}}/{verb}/"], format="json"
        )
        assert answer.status_code in (200, 409), answer.json()


def test_the_reference_shows_lines_to_try_and_none_that_gives_money_up(staff: Client) -> None:
    page = staff.get(reverse("api-reference")).content.decode()
    assert "SN-100200" in page
    assert "write_off" not in page
    assert "&quot;...&quot;" not in page
