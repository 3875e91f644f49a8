"""A campaign over the real broker while worker, link and web die in its midst (kill -9): one outcome each, no wave twice."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from queue import Empty

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection

from firmware.models import Installation
from firmware.tuf import services as repository
from terminals.campaigns.models import Campaign, Member
from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from terminals.simulator import updates
from terminals.simulator.device import Device
from tests import services
from tests.broker import TerminalSide
from tests.conftest import Links, wait_until
from tests.faults.test_campaign_killed import worker
from tests.faults.test_slow_readers import answers
from tests.releases import ready
from tests.terminals.campaigns.conftest import at_work, started, states

pytestmark = pytest.mark.django_db(transaction=True)
TERMINALS = 12


class Web:
    """The web process, which may be killed and started again on its port."""

    def __init__(self) -> None:
        self.port = services.free_port_pair()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        gunicorn = [str(Path(sys.executable).parent / "gunicorn"), "fleet.wsgi", "--bind", f"127.0.0.1:{self.port}"]
        database = services.address(connection.settings_dict["NAME"])
        self._process = subprocess.Popen(
            [*gunicorn, "--worker-class", "gthread", "--workers", "1", "--threads", "4", "--no-control-socket"],
            cwd=Path(__file__).parent.parent.parent,
            env={**os.environ, "DATABASE_URL": database, "PUBLIC_URL": self.url},
            stderr=subprocess.DEVNULL,
            process_group=0 if sys.version_info >= (3, 11) else None,
        )

    def wait(self) -> None:
        wait_until(lambda: answers(self.port), "the web process answers")

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    made.start()
    made.wait()
    yield made
    made.kill()


class Fleet:
    """Terminals at the broker: they obey, fetch by HTTP as TUF has it, restart, and say hello."""

    def __init__(self, side: TerminalSide, devices: dict[int, Device], folder: Path) -> None:
        self._side, self._folder = side, folder
        self._devices = {device.memory.device_id: device for device in devices.values()}
        self._http = httpx.Client(timeout=5)

    def go_on(self) -> None:
        """Do what the next message asks for."""
        try:
            topic, payload = self._side.received.get(timeout=0.2)
        except Empty:
            return
        device = self._devices[topic.split("/")[3]]
        self._side.send(device.receive(topic, payload))
        if device.pending_install is not None:
            self._install(device)

    def _install(self, device: Device) -> None:
        assert device.pending_install is not None
        assignment, body = device.pending_install.assignment, device.pending_install.body
        fetcher = updates.ResumingFetcher(self._http, random.Random(1))
        for _ in range(40):  # the server may be away for a while
            try:
                updates.fetch(
                    assignment,
                    root=repository.root_document(),
                    metadata_url=body.metadata_url,
                    url=body.url,
                    folder=self._folder / device.memory.serial,
                    fetcher=fetcher,
                )
                break
            except updates.NotFetched:
                time.sleep(0.3)
        self._side.send([device.finish_install()])
        device.boot()
        self._side.send([device.hello()])


def test_worker_link_and_web_die_and_each_terminal_has_one_outcome(
    register: Callable[[str], Terminal], links: Links, web: Web, tmp_path: Path
) -> None:
    ann, bob = (User.objects.create_superuser(name) for name in ("ann", "bob"))
    devices = at_work(register(f"SN-{n}") for n in range(TERMINALS))
    release = ready("2.0.0", random.Random(1).randbytes(300_000))
    campaign = started(release, ann, bob, waves=[25, 60, 100], sample_percent=100)
    links.start("a")
    working = worker(PUBLIC_URL=web.url)
    killed: list[str] = []
    with TerminalSide(*(device.memory.device_id for device in devices.values())) as side:
        fleet = Fleet(side, devices, tmp_path)
        deadline = time.monotonic() + 90
        while Campaign.objects.get().state == "running" and time.monotonic() < deadline:
            fleet.go_on()
            done = Member.objects.filter(state="succeeded").count()
            if done >= 1 and "web" not in killed:
                web.kill()
                web.start()
                killed.append("web")
            if done >= 3 and "link" not in killed:
                links.kill("a")
                links.start("a")
                killed.append("link")
            if done >= 6 and "worker" not in killed:
                working.kill()
                working.wait()
                working = worker(PUBLIC_URL=web.url)
                killed.append("worker")
    working.kill()
    working.wait()
    assert killed == ["web", "link", "worker"]
    check_outcomes(campaign)


def check_outcomes(campaign: Campaign) -> None:
    """Each terminal has one outcome, after one order; no wave began before the one before was judged."""
    campaign.refresh_from_db()
    assert (campaign.state, states(campaign)) == ("done", {"succeeded": TERMINALS})
    assert set(Member.objects.values_list("attempt", flat=True)) == {1}
    assert Installation.objects.filter(state="installed").count() == Installation.objects.count() == TERMINALS
    assert Fact.objects.filter(kind="campaign.ended").count() == TERMINALS
    began = list(campaign.waves.order_by("number").values_list("begun_at", "judged_at"))
    for (_begun, judged), (begun, _judged) in pairwise(began):
        assert judged is not None
        assert begun is not None
        assert judged <= begun
