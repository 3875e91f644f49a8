"""Parameter documents: versions are never edited, mistakes are found before they reach a shop."""

from collections.abc import Callable
from typing import Any

import pytest

from terminals.common.audit.models import AuditEntry
from terminals.common.errors import Refusal
from terminals.estate.models import Terminal
from terminals.link.models import Command
from terminals.parameters.models import ParameterVersion, TerminalParameters
from terminals.parameters.services import configure_terminals, publish_parameters
from tests.conftest import deliver, enrolled_device, obey, working_device


def test_a_document_is_published_in_versions_and_arrives(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    terminal.refresh_from_db()
    publish_parameters(name="shop", parameters={"currency": "EUR"}, actor="ops")
    second = publish_parameters(name="shop", parameters={"currency": "CHF", "tip_enabled": True}, actor="ops")
    assert second.version == 2
    assert configure_terminals(terminals=[terminal], version=second, actor="ops") == 1
    assert obey(device, "configure").state == "succeeded"
    assert device.memory.parameters == {"currency": "CHF", "tip_enabled": True}
    assert TerminalParameters.objects.get().state == "applied"


@pytest.mark.parametrize(
    "document",
    [
        {"currencyy": "EUR"},
        {"currency": "euro"},
        {"health_interval_seconds": 1},
        {"tip_enabled": "yes"},
        {"contactless_limit_minor": 25.5},
        [],
        None,
        "EUR",
    ],
)
@pytest.mark.django_db
def test_a_document_that_does_not_fit_is_refused(document: Any) -> None:
    with pytest.raises(Refusal, match="known members: currency, language"):
        publish_parameters(name="shop", parameters=document, actor="ops")
    assert ParameterVersion.objects.count() == AuditEntry.objects.count() == 0


def test_a_terminal_out_of_service_gets_nothing_and_neither_do_the_others(register: Callable[[str], Terminal]) -> None:
    there = register("SN-1")
    deliver(enrolled_device(there).hello())
    there.refresh_from_db()
    version = publish_parameters(name="shop", parameters={"currency": "EUR"}, actor="ops")
    with pytest.raises(Refusal, match="SN-2 is registered"):
        configure_terminals(terminals=[there, register("SN-2")], version=version, actor="ops")
    assert not Command.objects.filter(type="configure").exists()
    assert TerminalParameters.objects.count() == 0


def test_a_newer_document_takes_the_place_of_one_still_on_its_way(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    deliver(enrolled_device(terminal).hello())
    terminal.refresh_from_db()
    for currency in ("EUR", "CHF"):
        version = publish_parameters(name="shop", parameters={"currency": currency}, actor="ops")
        configure_terminals(terminals=[terminal], version=version, actor="ops")
    assert list(Command.objects.order_by("id").values_list("state", flat=True)) == ["cancelled", "queued"]
    assert TerminalParameters.objects.get().state == "pending"
