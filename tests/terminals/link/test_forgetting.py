"""Commands that ended long ago go; what they were for stays, and so does whatever is open."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from terminals.common.partitions import month_after
from terminals.estate.models import Terminal
from terminals.keys.models import TerminalKey
from terminals.keys.services import deliver_keys
from terminals.link.models import Command
from terminals.link.outcomes import cancel_commands, forget_commands
from terminals.link.services import send_plain_command, target_of
from terminals.link.tasks import prune_link
from tests.conftest import obey, working_device

pytestmark = pytest.mark.django_db


def later(months: int) -> datetime:
    """A day in a month to come: ids are of the true time, wherever a test travels."""
    first = month_after(datetime.now(UTC).date(), months)
    return datetime(first.year, first.month, 20, tzinfo=UTC)


def test_what_ended_goes_after_thirteen_months_and_its_key_stays(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    terminal.refresh_from_db()
    deliver_keys([(target_of(terminal), "P0")], requested_by="ops")
    delivered = obey(device, "deliver_key")
    still_open = send_plain_command(terminal=terminal, command_type="reboot", actor="ops")
    key = TerminalKey.objects.get(command=delivered)

    with time_machine.travel(later(13), tick=False):
        prune_link()
    assert Command.objects.filter(pk=delivered.pk).exists()
    with time_machine.travel(later(14), tick=False):
        prune_link()
    assert [command.pk for command in Command.objects.all()] == [still_open.pk]
    key.refresh_from_db()
    assert (key.state, key.command) == ("confirmed", None)


def test_many_cost_as_many_statements_as_few(register: Callable[[str], Terminal]) -> None:
    def forget(count: int) -> int:
        terminal = register(f"SN-{count}")
        working_device(terminal)
        terminal.refresh_from_db()
        for _ in range(count):
            send_plain_command(terminal=terminal, command_type="ping", actor="ops")
        cancel_commands([terminal.pk])
        with CaptureQueriesContext(connection) as queries:
            assert forget_commands(later(1)) >= count
        return len(queries)

    assert forget(90) == forget(2)
