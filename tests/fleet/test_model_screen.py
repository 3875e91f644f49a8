"""A terminal model's screen: platform, software, keys and parameters in one form."""

import time
from typing import Any

from django.test import Client
from django.urls import reverse

from terminals.common.audit.models import AuditEntry
from terminals.estate.models import Store, TerminalModel
from terminals.estate.registering import register_terminal
from terminals.keys.models import KeyRequirement
from terminals.link.models import Command
from terminals.parameters.sending import run_due
from terminals.parameters.services import publish_template
from tests.conftest import TEMPLATE, deliver, enrolled_device, working_device


def rows(prefix: str, *values: dict[str, Any]) -> dict[str, Any]:
    """Return a formset as a browser sends it."""
    form: dict[str, Any] = {f"{prefix}-TOTAL_FORMS": len(values), f"{prefix}-INITIAL_FORMS": 0}
    for n, row in enumerate(values):
        form |= {f"{prefix}-{n}-{name}": value for name, value in row.items()}
    return form


def test_a_model_is_set_up_on_one_screen_and_its_terminals_get_what_it_names(
    staff: Client, shop: dict[str, int]
) -> None:
    template = publish_template(name="till", schema=TEMPLATE, actor="ops").template
    form = {
        "vendor": "Acme",
        "name": "Two",
        "platform": "linux-arm64",
        "capabilities": "",
        **rows("key_requirements", {"usage": "P0"}),
        **rows("parameter_template", {"template": template.pk}),
    }
    answer = staff.post(reverse("admin:terminals_terminalmodel_add"), form)
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    made = TerminalModel.objects.get(name="Two")
    assert set(AuditEntry.objects.filter(actor="ops").values_list("action", flat=True)) >= {
        "terminalmodel.create",
        "keyrequirement.create",
        "modeltemplate.create",
    }
    terminal = register_terminal(serial="SN-1", model=made, store=Store.objects.get(pk=shop["store"]), actor="ops")
    device = working_device(terminal)
    run_due(time.monotonic() + 20)
    assert set(Command.objects.values_list("type", flat=True)) == {"deliver_key", "configure"}
    deliver(device.hello())
    run_due(time.monotonic() + 20)
    assert Command.objects.count() == 2, "nothing is sent by itself twice"
    deliver(enrolled_device(terminal).hello())
    run_due(time.monotonic() + 20)
    assert Command.objects.filter(type="configure").count() == 2, "but to the device that takes its place"


def test_what_goes_with_a_model_is_audited(staff: Client, shop: dict[str, int]) -> None:
    model = TerminalModel.objects.get(pk=shop["model"])
    KeyRequirement.objects.create(model=model, usage="P0")
    staff.post(reverse("admin:terminals_terminalmodel_delete", args=[model.pk]), {"post": "yes"})
    assert not KeyRequirement.objects.exists()
    entry = AuditEntry.objects.get(action="keyrequirement.delete")
    assert (entry.actor, entry.detail["old"]["usage"]) == ("ops", "P0")
    assert AuditEntry.objects.filter(action="terminalmodel.delete").count() == 1
