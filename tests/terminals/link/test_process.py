"""The link as a process: both ways over the real broker, bad traffic among good, and two links side by side."""

from collections import Counter
from collections.abc import Callable

from terminals.estate.models import Terminal
from terminals.health.models import HealthSample
from terminals.link.models import Command, DeadLetter, DeviceSession, Lane
from terminals.link.services import send_plain_command
from terminals.settlement.models import Transaction
from terminals.simulator.device import Device, Outgoing
from tests.broker import TerminalSide
from tests.conftest import Links, enrolled_device, wait_until

Register = Callable[[str], Terminal]


def answer_commands(side: TerminalSide, device: Device) -> None:
    """Wait for one message from the server and send what the terminal answers."""
    topic, payload = side.received.get(timeout=90)
    side.send(device.receive(topic, payload))


def test_a_command_goes_down_and_its_outcome_comes_up(links: Links, register: Register) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    terminal.refresh_from_db()
    links.start("one")
    with TerminalSide("SN-1") as side:
        side.send([device.hello()])
        wait_until(lambda: DeviceSession.objects.filter(online=True).exists(), "the terminal online")
        command = send_plain_command(terminal=terminal, command_type="ping", actor="ops")
        answer_commands(side, device)
        wait_until(lambda: Command.objects.get().state == "succeeded", "the command succeeded")
    command.refresh_from_db()
    assert (command.attempts, command.next_attempt_at) == (1, None)
    assert command.sent_at is not None


def test_an_open_command_is_offered_again_on_hello(links: Links, register: Register) -> None:
    terminal = register("SN-1")
    device = enrolled_device(terminal)
    terminal.refresh_from_db()
    links.start("one")
    with TerminalSide() as nobody:
        nobody.send([device.hello()])
        wait_until(lambda: DeviceSession.objects.exists(), "the terminal known")
        send_plain_command(terminal=terminal, command_type="ping", actor="ops")
        wait_until(lambda: Command.objects.get().state == "sent", "the broker has it")  # and nobody hears it
    with TerminalSide("SN-1") as side:
        side.send([device.hello()])
        answer_commands(side, device)
        wait_until(lambda: Command.objects.get().state == "succeeded", "the command succeeded")
    assert Command.objects.get().attempts == 2


def test_bad_traffic_becomes_dead_letters_and_the_good_around_it_goes_on(links: Links, register: Register) -> None:
    device, other = enrolled_device(register("SN-1")), enrolled_device(register("SN-2"))
    links.start("one")
    good = [device.health() for _ in range(50)]
    hello = device.hello()
    bad = {
        "malformed": Outgoing("tw/v1/13/SN-1/up/health", b"{"),
        "oversize": Outgoing("tw/v1/13/SN-1/up/health", b'"' + b"x" * 70_000 + b'"'),
        "unknown_type": Outgoing(
            "tw/v1/13/SN-1/up/health", good[0].payload.replace(b'"type":"health"', b'"type":"weather"')
        ),
        "wrong_channel": Outgoing("tw/v1/13/SN-1/up/event", good[0].payload),
        "bad_signature": Outgoing(hello.topic, other.hello().payload),  # another terminal's word on this one's topic
        "unknown_terminal": Outgoing("tw/v1/a6/NOBODY/up/health", good[0].payload),
        "wrong_topic": Outgoing("tw/v1/13/SN-1/up/gossip", good[0].payload),
    }
    with TerminalSide() as side:
        side.send([*good[:25], *bad.values(), hello, *good[25:]])
        wait_until(lambda: HealthSample.objects.count() == 50, "all good reports in")
        wait_until(lambda: DeadLetter.objects.count() == len(bad), "all bad ones buried")
    assert set(DeadLetter.objects.values_list("reason", flat=True)) == set(bad)
    assert DeviceSession.objects.get(terminal__serial="SN-1").boot_id == device.boot_id


def test_two_links_side_by_side_take_each_event_and_send_each_command_once(links: Links, register: Register) -> None:
    terminals = [register(f"SN-{n}") for n in range(4)]
    devices = {terminal.serial: enrolled_device(terminal) for terminal in terminals}
    links.start("one")
    links.start("two")
    with TerminalSide(*devices) as side:
        side.send(device.hello() for device in devices.values())
        wait_until(lambda: DeviceSession.objects.count() == 4, "four terminals online")
        events = []
        for _ in range(100):
            for device in devices.values():
                device.memory.paper = 100
                device.sell()
                events += device.upload_transactions()
        side.send(events)
        wait_until(lambda: Transaction.objects.count() == 400, "400 transactions")
        for terminal in terminals:
            terminal.refresh_from_db()
            for _ in range(25):
                send_plain_command(terminal=terminal, command_type="ping", actor="ops")
        wait_until(lambda: not Command.objects.filter(state="queued").exists(), "all commands out")
    assert Transaction.objects.count() == 400
    assert set(Command.objects.values_list("state", "attempts")) == {("sent", 1)}
    assert DeadLetter.objects.count() == 0


def test_the_lanes_of_a_link_that_dies_go_on_with_the_others_and_no_message_is_lost(
    links: Links, register: Register
) -> None:
    devices = [enrolled_device(register(f"SN-{n}")) for n in range(24)]
    for name in ("one", "two", "three"):
        links.start(name)
    wait_until(lambda: held_evenly(3), "three hold the lanes")
    with TerminalSide() as side:
        side.send(device.health() for device in devices)
        links.kill("two")
        side.send(device.health() for _ in range(10) for device in devices)
        wait_until(lambda: HealthSample.objects.count() == 11 * len(devices), "nothing is lost")
        wait_until(lambda: held_evenly(2), "two hold the lanes")
        links.start("two")
        side.send(device.health() for device in devices)
        wait_until(lambda: HealthSample.objects.count() == 12 * len(devices), "nothing is lost on its return")
        wait_until(lambda: held_evenly(3), "three hold the lanes again")
    assert DeadLetter.objects.count() == 0
    for device in devices:
        said = HealthSample.objects.filter(boot_id=device.boot_id).order_by("seq").values_list("received_at", flat=True)
        assert list(said) == sorted(said), "each terminal's in their order"


def held_evenly(processes: int) -> bool:
    """Whether all lanes are held, by so many, as evenly as can be."""
    counts = Counter(Lane.objects.values_list("holder", flat=True))
    return "" not in counts and len(counts) == processes and max(counts.values()) - min(counts.values()) <= 1
