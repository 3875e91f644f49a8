"""What a version may do to a simulated terminal, and what its link may: planted, so that guards have something to catch."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import time_machine
from django.utils import timezone

from firmware.models import Installation
from firmware.services import assign_release, install
from firmware.tuf import services as repository
from terminals.estate.models import Terminal
from terminals.link.protocol.messages.software import Conditions
from terminals.link.services import target_of
from terminals.settlement.models import SettlementRun
from terminals.simulator.device import Device
from terminals.simulator.faults import Faults, parse_shares
from terminals.simulator.updates import ResumingFetcher
from tests.conftest import deliver, obey, working_device
from tests.releases import ready

Register = Callable[[str], Terminal]


def installed(device: Device, terminal: Terminal) -> None:
    assign_release(release=ready("2.0.0"), terminals=[terminal], actor="ops")
    obey(device, "install")
    deliver(device.finish_install())
    device.boot()
    deliver(device.hello())


def test_one_that_crashes_falls_back_when_it_restarts(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal, Faults(of_releases=frozenset({"crashes@2.0.0"})))
    installed(device, terminal)
    assert device.memory.software["payment"] == "1.0.0"
    assert terminal.software.get(component="payment").version == "1.0.0"


def test_one_that_reboots_does_so_as_long_as_it_runs_the_version(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal, Faults(of_releases=frozenset({"reboots@2.0.0"})))
    assert not device.faults.has("reboots", device.memory.software["payment"])
    installed(device, terminal)
    assert device.faults.has("reboots", device.memory.software["payment"])


def test_one_that_says_later_takes_the_third(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal, Faults(says_later=True))
    release = ready("2.0.0")
    for state in ("failed", "failed", "accepted"):
        assign_release(release=release, terminals=[terminal], actor="ops")
        assert obey(device, "install").state == state
    assert device.pending_install is not None


def test_a_slow_link_takes_its_time_and_a_bad_one_is_cut_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("terminals.simulator.updates.time.sleep", slept.append)
    content = bytes(range(256)) * 256 * 10

    def answer(request: httpx.Request) -> httpx.Response:
        first = int(request.headers.get("Range", "bytes=0-")[6:-1])
        pieces = [content[at : at + 65536] for at in range(first, len(content), 65536)]
        status = 206 if first else 200
        return httpx.Response(status, content=iter(pieces), headers={"ETag": '"a"'})

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        slow = ResumingFetcher(http, random.Random(1), faults=Faults(slow_link=True))
        assert slow.download_bytes("http://tms.test/x", len(content)) == content
        assert sum(slept) == pytest.approx(len(content) / 65536)
        slept.clear()
        bad = ResumingFetcher(http, random.Random(3), faults=Faults(cut_downloads=True))
        assert bad.download_bytes("http://tms.test/x", len(content)) == content
        assert slept, "it was cut at least once"
        assert bad.received == len(content)


def test_shares_are_given_by_release() -> None:
    assert parse_shares("crashes@2.2.0=0.1,slow_link=0.2") == {"crashes@2.2.0": 0.1, "slow_link": 0.2}
    with pytest.raises(ValueError, match="with a version"):
        parse_shares("explodes=0.1")


def test_one_that_shall_settle_first_does_so_by_itself(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    device.memory.paper = 50
    assert device.sell()
    conditions = Conditions(settle_first=True)
    install([(target_of(terminal), ready("2.0.0"))], requested_by="ops", conditions=conditions)
    obey(device, "install")
    assert device.pending_install is not None
    assert not device.memory.batch
    assert SettlementRun.objects.get().state == "balanced"


def test_the_lock_of_an_installation_outlasts_a_restart(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    first, second = ready("2.0.0"), ready("2.1.0")
    assign_release(release=first, terminals=[terminal], actor="ops")
    mine = obey(device, "install")
    assert mine.state == "accepted"
    device.pending_install = None  # it lost power
    device.boot()
    Installation.objects.update(state="failed")
    assign_release(release=second, terminals=[terminal], actor="ops")
    other = obey(device, "install")
    assert (other.state, other.code) == ("failed", "later")
    deliver(*device.receive("", bytes(mine.payload)))
    deliver(device.finish_install())  # its own command it went on with
    assert device.memory.updating == ""


def test_the_lock_of_an_installation_that_never_ended_ends_with_its_command(register: Register) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    assign_release(release=ready("2.0.0"), terminals=[terminal], actor="ops")
    obey(device, "install")
    device.pending_install = None  # it lost power, and the server gave the order up
    Installation.objects.update(state="failed")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=4)):
        repository.renew(timezone.now())
        assign_release(release=ready("2.1.0"), terminals=[terminal], actor="ops")
        assert obey(device, "install").state == "accepted"
