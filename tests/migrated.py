"""A migrated database, of which each worker of a test run starts with a copy: migrating takes 40 s, copying less than one.

It is made once a day (migrations make partitions from the present day on) and for each set of migrations, and is kept beside
pytest's cache.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg

ROOT = Path(__file__).parent.parent
KEPT = ROOT / ".pytest_cache" / "migrated"
NAME = "tillwarden_migrated"  # the database in the folder


def copy_to(data_dir: Path, make: Callable[[], None]) -> None:
    """Put a folder of PostgreSQL's at `data_dir`, in which NAME is migrated; `make` it there where there is none of today."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait for whoever comes first
        kept = KEPT / _key()
        if not kept.exists():
            make()
            for earlier in KEPT.glob("of-*"):
                shutil.rmtree(earlier)
            _copy(data_dir, KEPT / "making")
            (KEPT / "making").rename(kept)
        else:
            _copy(kept, data_dir)


def migrate(address: Callable[[str], str]) -> None:
    """Make NAME on a server and migrate it; `address` tells the address of a database there."""
    with psycopg.connect(address("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {NAME}")
    argv = [sys.executable, "manage.py", "migrate", "--verbosity", "0", "--skip-checks"]
    subprocess.run(argv, cwd=ROOT, env=os.environ | {"DATABASE_URL": address(NAME)}, check=True)


def _key() -> str:
    parts = [ROOT / "requirements.txt", *sorted(ROOT.glob("*/**/migrations/*.py"))]
    told = hashlib.sha256(f"{datetime.now(UTC):%F}".encode())
    for path in parts:
        told.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return f"of-{told.hexdigest()[:16]}"


def _copy(source: Path, target: Path) -> None:
    """Copy with owners: as root the files are those of PostgreSQL's own user."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
