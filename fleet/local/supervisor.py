"""Runs a family of processes: starts them, prefixes their output, starts the dead again, and ends them all.

Every child leads a process group of its own. So Ctrl-C reaches only the supervisor, which ends the children in order,
and whatever a dead child left behind dies with its group. On Linux children also end when the supervisor is killed.
"""

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fleet.local.embedded import Child

logger = logging.getLogger(__name__)
LONGEST_PAUSE_SECONDS = 15.0
STEADY_SECONDS = 60.0  # a child that lived this long starts again without a long pause
PROBE_SECONDS = 5.0
PROBES_TO_FAIL = 3
_COLOURS = (36, 32, 33, 35, 34, 96, 92)
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass
class Part:
    """One process of the family."""

    name: str
    child: Child
    stop_signal: signal.Signals = signal.SIGTERM
    probe: Callable[[], bool] | None = None  # false three times in a row: it hangs and is started again
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    restart_at: float = 0.0
    pause: float = 1.0
    failed_probes: int = field(default=0)


class Supervisor:
    """Owns the parts; `processes_file` always names their present process ids."""

    def __init__(self, processes_file: Path) -> None:
        self.parts: list[Part] = []
        self._processes_file = processes_file
        self._stopping = threading.Event()

    def start(self, part: Part) -> None:
        """Start a part and watch over it from now on."""
        self.parts.append(part)
        self._spawn(part)

    def watch(self) -> None:
        """Start dead parts again until told to stop."""
        threading.Thread(target=self._probe_parts, daemon=True).start()
        while not self._stopping.wait(0.2):
            self.revive_dead()

    def revive_dead(self) -> None:
        """Look at every part once, and start again what has died."""
        for part in self.parts:
            self._revive(part)

    def stop_all(self, seconds: float = 4.0) -> None:
        """End the parts, those started last first; what does not leave in time is killed."""
        self._stopping.set()
        foundations = {"database", "broker"}
        for group in (
            [part for part in self.parts if part.name not in foundations],
            [part for part in self.parts if part.name in foundations],
        ):
            for part in reversed(group):
                _signal_group(part, part.stop_signal, whole=False)
            deadline = time.monotonic() + seconds
            for part in group:
                _wait(part, deadline)
                _signal_group(part, signal.SIGKILL, whole=True)
        self._processes_file.unlink(missing_ok=True)

    def alive(self, name: str) -> bool:
        return any(p.name == name and p.process is not None and p.process.poll() is None for p in self.parts)

    def _spawn(self, part: Part) -> None:
        stop_signal = part.stop_signal
        part.process = subprocess.Popen(
            part.child.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=part.child.full_environment(),
            user=part.child.user,
            group=part.child.user,
            extra_groups=[] if part.child.user else None,
            start_new_session=True,
            preexec_fn=(lambda: _libc.prctl(1, stop_signal)) if _libc else None,
        )
        part.started_at = time.monotonic()
        part.restart_at = 0.0
        threading.Thread(target=self._pump, args=(part, part.process), daemon=True).start()
        self._write_processes()

    def _revive(self, part: Part) -> None:
        """Notice a death, say so, and start the part again after a pause that grows."""
        if part.process is not None and (code := part.process.poll()) is not None:
            _signal_group(part, signal.SIGKILL, whole=True)
            if time.monotonic() - part.started_at > STEADY_SECONDS:
                part.pause = 1.0
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            say("up", f"{part.name} {how}; starting it again in {part.pause:.0f} s")
            part.restart_at = time.monotonic() + part.pause
            part.pause = min(part.pause * 2, LONGEST_PAUSE_SECONDS)
            part.process = None
        if part.process is None and time.monotonic() >= part.restart_at:
            self._spawn(part)

    def _probe_parts(self) -> None:
        """Kill what lives but no longer answers; `watch` then starts it again."""
        while not self._stopping.wait(PROBE_SECONDS):
            for part in self.parts:
                if part.probe is None or part.process is None:
                    continue
                part.failed_probes = 0 if part.probe() else part.failed_probes + 1
                if part.failed_probes >= PROBES_TO_FAIL:
                    part.failed_probes = 0
                    say("up", f"{part.name} does not answer; ending it")
                    _signal_group(part, signal.SIGKILL, whole=True)

    def _pump(self, part: Part, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None  # noqa: S101 - asked for in _spawn
        for line in process.stdout:
            with suppress(OSError, ValueError):  # our own output may be gone; the child's must be read on, or it stops
                say(part.name, line.decode("utf-8", "replace").rstrip())

    def _write_processes(self) -> None:
        ids = {part.name: part.process.pid for part in self.parts if part.process is not None}
        partial = self._processes_file.with_suffix(".part")
        partial.write_text(json.dumps(ids, indent=1) + "\n")
        partial.replace(self._processes_file)


def say(name: str, line: str) -> None:
    """Print a line under the name of the part that it comes from."""
    colour = _COLOURS[sum(name.encode()) % len(_COLOURS)]
    label = f"\033[{colour}m{name:<10}|\033[0m" if sys.stdout.isatty() else f"{name:<10}|"
    sys.stdout.write(f"{label} {line}\n")
    sys.stdout.flush()


def _signal_group(part: Part, signum: signal.Signals, *, whole: bool) -> None:
    """Signal a part's leader, or all of its group; one that is gone already is fine."""
    if part.process is None:
        return
    try:
        (os.killpg if whole else os.kill)(part.process.pid, signum)
    except (ProcessLookupError, PermissionError):
        return


def _wait(part: Part, deadline: float) -> None:
    if part.process is not None:
        try:
            part.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("%s does not end by itself; killing it", part.name)
