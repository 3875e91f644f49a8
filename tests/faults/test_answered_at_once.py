"""A terminal that answers before the relay has noted that the command was sent: what it says counts all the same."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection, transaction
from django.utils import timezone

from terminals.estate.models import Terminal
from terminals.link import relay
from terminals.link.models import Command
from terminals.link.services import send_plain_command
from tests.conftest import deliver, enrolled_device, in_thread, wait_until

WAITS = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.datname = current_database() WHERE NOT l.granted"


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(WAITS)
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_meets_the_note_that_its_command_was_sent_is_not_lost(
    register: Callable[[str], Terminal],
) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    terminal.refresh_from_db()
    command = send_plain_command(terminal=terminal, command_type="ping", actor="ops")
    relay.claim(10, timezone.now())
    answers = list(device.receive("", bytes(Command.objects.get().payload)))
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            relay.mark_sent([command.pk], timezone.now())
            heard = pool.submit(in_thread, partial(deliver, *answers))
            wait_until(somebody_waits, "the answer waits for the relay")
        heard.result(30)
    command.refresh_from_db()
    assert (command.state, command.next_attempt_at) == ("succeeded", None)


@pytest.mark.django_db(transaction=True)
def test_the_relay_waits_for_no_inbox_that_holds_a_command(register: Callable[[str], Terminal]) -> None:
    terminals = [register(serial) for serial in ("SN-1", "SN-2")]
    for one in terminals:
        enrolled_device(one)
        one.refresh_from_db()
    held, free = (send_plain_command(terminal=one, command_type="ping", actor="ops").pk for one in terminals)
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Command.objects.select_for_update().get(pk=held)
        noted = pool.submit(in_thread, partial(relay.mark_sent, [held, free], timezone.now()))
        assert noted.result(30) == [held], "to be noted later"
    assert dict(Command.objects.values_list("pk", "state")) == {held: "queued", free: "sent"}
    assert relay.mark_sent([held], timezone.now()) == []
    assert Command.objects.get(pk=held).state == "sent"
