"""The worker that runs a campaign dies at any instant (kill -9): nobody is asked twice, no wave begins before its time."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection

from terminals.campaigns.models import Campaign, Member
from terminals.common.facts.models import Fact
from terminals.estate.models import Terminal
from terminals.link.models import Command
from tests import services
from tests.conftest import deliver, obey
from tests.terminals.campaigns.conftest import asked, at_work, publish, started, states

pytestmark = pytest.mark.django_db(transaction=True)
TERMINALS = 18
WORKER = """
import django; django.setup()
import time
from terminals.campaigns import engine
engine.CHUNK = 3
print("up", flush=True)
while True:
    engine.run_campaigns(time.monotonic() + 1); time.sleep(0.01)
"""


def worker(**environment: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "DATABASE_URL": services.address(connection.settings_dict["NAME"]), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_a_worker_that_is_killed_again_and_again_asks_each_terminal_once(register: Callable[[str], Terminal]) -> None:
    ann, bob = (User.objects.create_superuser(name) for name in ("ann", "bob"))
    devices = at_work(register(f"SN-{n}") for n in range(TERMINALS))
    campaign = started(publish("2.0.0"), ann, bob, waves=[20, 60, 100], sample_percent=100)
    dice = random.Random(9)
    for attempt in range(40):
        process = worker()
        until = time.monotonic() + (dice.uniform(0.02, 0.25) if attempt < 8 else 3)
        while time.monotonic() < until and Campaign.objects.get().state != "done":
            for device in asked(devices)[:4]:
                obey(device, "install")
                deliver(device.finish_install())
                deliver(device.hello())
        process.kill()
        process.wait()
        if Campaign.objects.get().state == "done":
            break
    assert attempt > 1, "it was killed in the midst"
    assert states(campaign) == {"succeeded": TERMINALS}
    assert Command.objects.filter(type="install").count() == TERMINALS
    assert set(Member.objects.values_list("attempt", flat=True)) == {1}
    assert Fact.objects.filter(kind="campaign.ended").count() == TERMINALS
    began = list(campaign.waves.order_by("number").values_list("begun_at", "judged_at"))
    for (_begun, judged), (begun, _judged) in pairwise(began):
        assert judged is not None
        assert begun is not None
        assert judged <= begun
