"""`manage.py up` as a person starts it: ready, alive, mended when a part dies, and gone without a trace."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.conftest import wait_until

ROOT = Path(__file__).parent.parent.parent
PARTS = {"database", "broker", "web", "link", "worker", "simulator"}
# What no run shall tell of, whatever dies in it: statements that PostgreSQL refuses, work and requests that fail by themselves.
FAILURES = re.compile(r"database +\| .* ERROR: (?! *could not obtain lock)|raised unexpected|Internal Server Error")
LINES_OF_A_FAILURE = 14  # PostgreSQL tells which statements met in a deadlock


def start(state_dir: Path, *, output: Any = subprocess.PIPE, **environment: str) -> "subprocess.Popen[str]":
    """Start `manage.py up` with nothing of this test run in its environment; a pipe that nobody reads would stop it one day."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "STATE_DIR": str(state_dir), **environment},
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"  # a zombie lives no more


class Up:
    """A running installation."""

    def __init__(self, state_dir: Path, **environment: str) -> None:
        self.state_dir = state_dir
        self.port = services.free_port_pair()
        ports = {"PORT": str(self.port), "MQTT_PORT": str(services.free_port_pair())}
        self.log = services.STATE_DIR / f"{state_dir.name}.log"
        with self.log.open("w") as output:
            self.process = start(state_dir, output=output, **{"TERMINALS": "3", **ports, **environment})

    def end(self) -> None:
        """End it at once; what it started ends with it."""
        self.process.kill()
        self.process.wait()

    def ready(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status == 200)
        except OSError:
            return False

    def failures(self) -> list[str]:
        """Return what its log tells of mistakes of ours, each with the lines that follow."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [
            "\n".join(lines[at : at + LINES_OF_A_FAILURE]) for at, line in enumerate(lines) if FAILURES.search(line)
        ]

    def processes(self) -> dict[str, int]:
        return dict(json.loads((self.state_dir / "processes.json").read_text()))

    def api(self, path: str, body: dict[str, Any] | None = None) -> Any:
        operator = json.loads((self.state_dir / "operator.json").read_text())
        headers = {"Authorization": f"Bearer {operator['token']}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{operator['url']}/api/v1/{path}", json.dumps(body).encode() if body else None, headers
        )
        return json.load(urllib.request.urlopen(request, timeout=10))

    def terminals(self) -> list[dict[str, Any]]:
        return list(self.api("terminals/?online=true")["results"])

    def simulate(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "manage.py", "simulate", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "STATE_DIR": str(self.state_dir)},
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    # Not below pytest's own folder, which PostgreSQL's user may not enter.
    state_dir = services.STATE_DIR / "up"
    running = Up(state_dir)
    yield running
    running.end()
    assert running.failures() == []


def test_a_person_starts_it_a_part_dies_and_the_person_ends_it(up: Up) -> None:
    wait_until(up.ready, "readyz is 200", 240)
    assert set(up.processes()) >= PARTS
    for private in ("operator.json", "secrets/vault_master_key", "secrets/command_signing.key.pem", "environment"):
        assert (up.state_dir / private).stat().st_mode & 0o077 == 0, private
    wait_until(lambda: len(up.terminals()) == 3, "three terminals online")
    wait_until(
        lambda: all(t["software_version"] == "2.1.0" and t["confirmed_keys"] == 1 for t in up.terminals()),
        "software and keys",
        60,
    )

    store, model = (up.api(f"{kind}/")["results"][0]["id"] for kind in ("stores", "terminal-models"))
    mine = up.api("terminals/", {"serial": "MY-OWN-1", "store": store, "model": model})
    wrong = up.simulate("--serial", "MY-OWN-1", "--code", "AAAAA-BBBBB")
    assert "unknown_code" in wrong.communicate(timeout=30)[1]
    assert wrong.returncode == 1
    one = up.simulate("--serial", "MY-OWN-1", "--code", mine["activation_code"])
    wait_until(lambda: "MY-OWN-1" in {terminal["serial"] for terminal in up.terminals()}, "the registered one online")
    one.terminate()
    one.communicate(timeout=10)

    before = up.processes()
    killed = ("link", "worker", "web", "beat")
    for part in killed:
        os.kill(before[part], signal.SIGKILL)
    wait_until(lambda: all(up.processes().get(p) not in (None, before[p]) for p in killed), "new ones")
    wait_until(up.ready, "readyz is 200 again", 240)
    settle_at_the_next_sale(up)

    everybody = list(up.processes().values())
    up.process.send_signal(signal.SIGINT)
    up.process.wait(timeout=90)
    output = up.log.read_text()
    assert "link was killed by signal 9; starting it again" in output
    assert output.rstrip().endswith("stopped")
    assert [pid for pid in everybody if alive(pid)] == []
    assert not (up.state_dir / "processes.json").exists()


def settle_at_the_next_sale(up: Up) -> None:
    """Let every terminal be due at its next sale: the new beat ticks, the new worker asks, each terminal settles once a time."""
    before = {run["id"] for run in up.api("settlement/runs/")["results"]}
    (organisation,) = {one["id"] for one in up.api("organisations/")["results"] if one["parent"] is None}
    up.api("settlement/levels/", {"organisation": organisation, "settings": {"count_limit": 1}})

    def settled() -> list[dict[str, Any]]:
        runs = [run for run in up.api("settlement/runs/")["results"] if run["id"] not in before]
        return [run for run in runs if run["trigger"] == "count" and run["batch_number"] is not None]

    wait_until(lambda: len({run["terminal"] for run in settled()}) >= 3, "three terminals settled by themselves", 240)
    batches = [(run["terminal"], run["batch_number"]) for run in settled()]
    assert len(batches) == len(set(batches))


def refusal(state_dir: Path, **environment: str) -> str:
    """Return what it says when it cannot start; it must be one line, and a failure."""
    process = start(state_dir, **environment)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.count("\n") == 1, output
    return output


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is not free" in refusal(tmp_path / "run", PORT=str(port))


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"PORT": "99999"}, "PORT needs a port from 1 to 65535; 99999 is none"),
        ({"MQTT_PORT": "65535"}, "MQTT_PORT needs a port from 1 to 65534"),
        ({"PORT": "8101", "MQTT_PORT": "8100"}, "PORT 8101 is one of the broker's"),
        ({"TERMINALS": "-4"}, "TERMINALS is '-4'; write a whole number"),
    ],
)
def test_a_number_that_cannot_be_is_named(tmp_path: Path, environment: dict[str, str], told: str) -> None:
    assert told in refusal(tmp_path / "run", **environment)


@pytest.mark.parametrize("folder", ["/proc/tillwarden", "/dev/null/run"])
def test_an_unwritable_folder_is_named(folder: str) -> None:
    assert f"cannot write to {folder}" in refusal(Path(folder))


def test_a_wrong_number_is_named(tmp_path: Path) -> None:
    assert "PORT" in refusal(tmp_path / "run", PORT="eighty")


def test_an_old_python_is_told_so(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text(
        "#!/bin/sh\nexec python3 -c \"import sys; sys.version_info = (3, 9); sys.argv = ['-c']; exec('''$2''')\"\n"
    )
    old.chmod(0o755)
    run = subprocess.run(
        ["make", "run", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "Tillwarden needs Python 3.11 or newer" in run.stderr + run.stdout


@pytest.mark.parametrize("missing", ["SECRET_KEY", "VAULT_MASTER_KEY_FILE", "DATABASE_URL", "MQTT_URL"])
def test_without_a_secret_or_an_address_nothing_starts(tmp_path: Path, missing: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != missing} | {"STATE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert missing in run.stderr
    assert run.stderr.count("\n") == 1


def test_one_key_for_two_purposes_is_refused_at_the_start(tmp_path: Path) -> None:
    shared = os.environ["COMMAND_SIGNING_KEY_FILE"]
    environment = os.environ | {"STATE_DIR": str(tmp_path), "RELEASE_SIGNING_KEY_FILE": shared}
    run = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "RELEASE_SIGNING_KEY_FILE and COMMAND_SIGNING_KEY_FILE hold the same key" in run.stderr
